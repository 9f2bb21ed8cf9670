"""Plain values: what JSON and a weights-only reader of PyTorch can hold, made of what NumPy gives, and read bounded."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ConfigT = TypeVar("ConfigT", bound="DataclassInstance")

MOST_LETTERS = 1 << 20
"""Of a JSON text that comes with a file of weights."""
_DEEPEST = 20
_WIDEST = 64
"""Bits of a whole number, sign included: more fit neither NumPy nor torch."""

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "True or False"),
    "str": ((str,), "text"),
    "bool | str": ((bool, str), "True, False or a file"),
    "int | tuple[int, int]": ((int, list, tuple), "pixels, or (height, width)"),
    "dict[str, Any]": ((dict,), "a dictionary"),
    "dict[str, str]": ((dict,), "a dictionary"),
}
"""What a config's fields may be, by their annotations, and in words."""


def to_plain(value: Any, name: str, _depth: int = 0) -> Any:
    """Turn a value and all inside it into Python's own: numbers, text, None, tuples, lists and dictionaries.

    NumPy's numbers and arrays become numbers and lists, paths become text. ``name``: what the message calls it.
    Raises: `InputError` for anything else, numbers that are not finite or of more than 64 bits, keys that are no text,
    and what is nested more than 20 deep, as a dictionary that holds itself is.

    >>> import numpy as np
    >>> to_plain({"steps": np.int64(3), "rates": np.logspace(-2, -1, 2)}, "settings")
    {'steps': 3, 'rates': [0.01, 0.1]}
    """
    if _depth > _DEEPEST:
        raise InputError(f"{name}: is nested more than {_DEEPEST} deep, or holds itself; give plain values")
    numpy = sys.modules.get("numpy")  # nothing is of NumPy where nobody has loaded it
    if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if value.bit_length() >= _WIDEST:
            raise InputError(f"{name}: a whole number of {value.bit_length()} bits; give one of less than {_WIDEST}")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{name}={value}: give a finite number")
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple | list):
        plain = [to_plain(one, f"{name}[{index}]", _depth + 1) for index, one in enumerate(value)]
        return plain if isinstance(value, list) else tuple(plain)
    if isinstance(value, Mapping):
        if other := [key for key in value if not isinstance(key, str)]:
            raise InputError(f"{name}: has the key {other[0]!r}; give text as keys")
        return {str(key): to_plain(one, f"{name}[{key!r}]", _depth + 1) for key, one in value.items()}
    raise InputError(f"{name}: is of type {type(value).__name__}; give a number, text, or lists of them")


def take_plain(config: DataclassInstance) -> None:
    """Make a config's values Python's own (`to_plain`), so that it can be saved and read back.

    Raises: `InputError` for a value of another kind than the field's.
    """
    for field_ in dataclasses.fields(config):
        if (known := _KINDS.get(str(field_.type))) is None:  # names, which `require_choice` looks at, and levels
            if isinstance(named := getattr(config, field_.name), str):
                object.__setattr__(config, field_.name, str(named))
            continue
        name, (kinds, words) = field_.name, known
        value = to_plain(getattr(config, name), name)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InputError(f"{name}={value!r}: give {words}")
        object.__setattr__(config, name, value)


def require_choice(name: str, value: Any, choices: tuple) -> None:
    """Raise InputError, naming the choices, unless ``value`` is one of them."""
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise InputError(f"{name}={value!r} is unknown: use one of {known}")


def override(config: ConfigT, overrides: Mapping[str, Any]) -> ConfigT:
    """Return a config with the named fields changed. Raises: `InputError` for an unknown field."""
    if not isinstance(overrides, Mapping):
        raise InputError(f"{type(config).__name__} from a {type(overrides).__name__}: give a dictionary of its fields")
    known = {f.name for f in dataclasses.fields(config)}
    for name in overrides:
        require_choice(f"{type(config).__name__} field", name, tuple(sorted(known)))
    return dataclasses.replace(config, **overrides)


def parse_json(text: str, what: str) -> Any:
    """Read JSON that comes from elsewhere: of at most a million letters, finite numbers and 20 levels.

    ``what``: how the message begins. Raises: `InputError`.
    """
    try:
        if len(text) > MOST_LETTERS:
            raise ValueError(f"of {len(text)} letters")
        return to_plain(json.loads(text, parse_constant=_not_finite), what)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # no JSON, too deep, or a number of thousands of digits
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{what} is damaged ({reason}); copy the file again") from error


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} in it")
