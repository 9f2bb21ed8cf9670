"""Organ names and the label numberings ("schemes") in circulation for the Synapse data.

The raw BTCV release numbers 13 structures. The field scores 8 of them and has renumbered those 8 in three
ways. A network trained under one scheme and scored under another looks broken, so every conversion goes
through this module.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msa2net_lib.errors import InputError
from msa2net_lib.utils.tables import read_table

_TABLE = read_table("labels")
BTCV_IDS: dict[str, int] = _TABLE["btcv_ids"]
"""The 13 structures of the raw BTCV release and their label ids; 0 is background."""

ORGANS: tuple[str, ...] = _TABLE["schemes"]["A"]
"""The 8 scored organs in the order of scheme A: the label id is the index plus one."""

SCHEMES: dict[str, dict[str, int]] = {
    scheme: {organ: index + 1 for index, organ in enumerate(order)} for scheme, order in _TABLE["schemes"].items()
}
"""Scheme name -> organ name -> label id (1 to 8)."""


def scheme_ids(scheme: str) -> dict[str, int]:
    """Return the organ -> id table of ``scheme`` ("A", "B" or "C"); InputError for any other name."""
    if scheme not in SCHEMES:
        raise InputError(f"unknown label scheme {scheme!r}: choose one of {', '.join(SCHEMES)}")
    return SCHEMES[scheme]


def raw_to_scheme(raw_labels: ArrayLike, scheme: str = "A") -> NDArray[np.uint8]:
    """Renumber raw BTCV labels into one of the 8-organ schemes.

    ``raw_labels`` has any shape and any real dtype, with whole values 0 to 13. The result has the same shape,
    dtype uint8 and values 0 to 8; the five structures that are not scored become background. Raises
    InputError, naming the ids, if a value is negative, above 13 or not whole.
    """
    table = np.zeros(max(BTCV_IDS.values()) + 1, dtype=np.uint8)
    for organ, target in scheme_ids(scheme).items():
        table[BTCV_IDS[organ]] = target
    return table[whole_labels(raw_labels, highest=len(table) - 1, meaning="raw BTCV ids")]


def convert_scheme(labels: ArrayLike, source: str, target: str) -> NDArray[np.uint8]:
    """Renumber labels of scheme ``source`` into scheme ``target``; any shape, values 0 to 8, result uint8.

    Raises InputError for an unknown scheme and for values outside 0 to 8.
    """
    source_ids, target_ids = scheme_ids(source), scheme_ids(target)
    table = np.zeros(len(ORGANS) + 1, dtype=np.uint8)
    for organ, label in source_ids.items():
        table[label] = target_ids[organ]
    return table[whole_labels(labels, highest=len(ORGANS), meaning=f"ids of scheme {source}")]


def whole_labels(labels: ArrayLike, highest: int, meaning: str) -> NDArray[np.uint8]:
    """Return ``labels`` (any shape, any real dtype) as uint8, or raise InputError naming the bad values.

    Good values are the whole numbers 0 to ``highest`` (at most 255). ``meaning`` completes the sentence
    "allowed are the ... 0 to N". Label files come as floats often enough that the dtype alone says nothing.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "buif":
        raise InputError(f"labels have dtype {labels.dtype}: store them as integers")
    bad = ~((labels >= 0) & (labels <= highest))  # written so that nan counts as bad
    if labels.dtype.kind == "f":
        bad |= labels != np.floor(labels)
    if bad.any():
        values = np.unique(labels[bad])
        shown = ", ".join(f"{value:g}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
        raise InputError(f"label values {shown} found: allowed are the {meaning} 0 to {highest}")
    return labels.astype(np.uint8)
