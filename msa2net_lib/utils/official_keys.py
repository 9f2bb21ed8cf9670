"""State dicts of the original repositories, brought to the names of the networks here.

`tables/official_keys.toml` holds them by system: pairs of a regular expression on the official key and what
replaces it, all applied in their order. In what replaces, "{\\1-1}", "{\\1/3}" and "{\\1%3}" are computed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import floordiv, mod, sub

import torch
from torch import Tensor

Rules = Sequence[tuple[str, str]]
_OPERATIONS = {"-": sub, "/": floordiv, "%": mod}


def our_key(key: str, rules: Rules) -> str:
    """Our name of an official key; empty for one that has no counterpart.

    A name that ends in "#0", "#1", ... is a part of an entry: the parts are put together along their first axis.
    """
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
        key = re.sub(r"\{(\d+)([-/%])(\d+)\}", _computed, key)
    return key


def _computed(found: re.Match[str]) -> str:
    return str(_OPERATIONS[found[2]](int(found[1]), int(found[3])))


def to_our_keys(official: Mapping[str, Tensor], rules: Rules, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An official state dict with our keys.

    Of several official names of one tensor the last one counts. A tensor of the right number of values and another
    shape (a linear layer that is a 1x1 convolution here) takes the shape of the entry in ``ours``.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in official.items():
        name, _, part = our_key(key, rules).partition("#")
        if name:
            parts.setdefault(name, {})[part] = value
    state = {}
    for name, found in parts.items():
        value = torch.cat([found[part] for part in sorted(found)]) if len(found) > 1 else next(iter(found.values()))
        fits = name in ours and value.numel() == ours[name].numel()
        state[name] = value.reshape(ours[name].shape) if fits else value
    return state
