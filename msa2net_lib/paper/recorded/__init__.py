"""What was recorded from the authors' source and ships: keys and shapes of the networks it builds, untrained."""

from __future__ import annotations

import json
from importlib.resources import files
from math import prod

from msa2net_lib.errors import InputError

FORMS = ("published", "released")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def recorded_shapes(form: str) -> dict[str, tuple[int, ...]]:
    """Return key and shape of every entry of a state dict of the authors' source, in order; statistics included.

    form: "released" (the source as it runs) or "published" (with the second of the deep level's two definitions
    taken out, which gives Table 1's network). Raises: `InputError` for another form. Source:
    github.com/xmindflow/MSA-2Net, commit 209ca72, run once with PyTorch 2.15.
    """
    if form not in FORMS:
        raise InputError(f"form={form!r} is unknown: use one of {', '.join(FORMS)}")
    shapes = json.loads((files(__name__) / f"{form}.json").read_text(encoding="utf-8"))
    return {key: tuple(shape) for key, shape in shapes.items()}


def recorded_count(form: str, prefix: str = "", without: tuple[str, ...] = ()) -> int:
    """Return the number of parameters under ``prefix``, those under the prefixes ``without`` left out."""
    return sum(
        prod(shape)
        for key, shape in recorded_shapes(form).items()
        if key.startswith(prefix) and not key.startswith(without or ("\0",)) and not key.endswith(_BUFFERS)
    )
