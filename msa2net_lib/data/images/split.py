"""Which images are for training, which for choosing, and which for testing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from msa2net_lib.data.splits import PARTS, read_split
from msa2net_lib.errors import InputError

Split = Sequence[float] | Mapping[str, Sequence[str]]
"""Shares of train, validation and test, or the ids of each."""


def parse_split(text: str) -> Split:
    """Return what ``--split`` says: one part for all images, three shares, or the file of a table (`read_split`)."""
    if text in PARTS:
        return tuple(float(part == text) for part in PARTS)
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        return read_split(text)


def split_ids(ids: Sequence[str], split: Split) -> dict[str, list[str]]:
    """Return the ids of each part: by shares of ``ids`` in the order given, or as listed.

    Shares are of train, validation and test; the first two are rounded down, the rest is for testing.
    Raises InputError for shares that do not sum to 1, and for ids that are unknown or listed twice.
    """
    parts = _as_listed(split) if isinstance(split, Mapping) else _by_shares(ids, split)
    listed = Counter(name for part in parts.values() for name in part)
    if not listed:
        raise InputError("split: lists no image; name at least one")
    if missing := sorted(listed.keys() - set(ids)):
        raise InputError(f"split: {missing[0]} is not among the images ({len(missing)} such); correct the list")
    if twice := [name for name, times in listed.items() if times > 1]:
        raise InputError(f"split: {twice[0]} is listed twice; list it once")
    return parts


def _as_listed(split: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    if unknown := split.keys() - set(PARTS):
        raise InputError(f"split: {min(unknown)!r} is no part; the parts are {', '.join(PARTS)}")
    return {part: list(split.get(part, ())) for part in PARTS}


def _by_shares(ids: Sequence[str], shares: Sequence[float]) -> dict[str, list[str]]:
    if len(shares) != 3 or not all(share >= 0 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise InputError(f"split={shares!r}: give three shares that sum to 1, such as (0.7, 0.1, 0.2)")
    # A product such as 0.29 * 100 falls short of the whole number that it means.
    train, validation = (math.floor(share * len(ids) + 1e-6) for share in shares[:2])
    cuts = (0, train, train + validation, len(ids))
    return {part: list(ids[cuts[n] : cuts[n + 1]]) for n, part in enumerate(PARTS)}
