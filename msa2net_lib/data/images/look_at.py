"""What is worth a look after a preparation of images: nothing here is wrong for certain, and nothing is refused."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from msa2net_lib.data.contract.look_at import equal_files
from msa2net_lib.utils.names import listed

_EDGE = 0.9
"""A mask of which so much of the border is lesion, and more than half of the rest, may be inverted."""
_FULL, _FAINT = 0.95, 0.02
"""Shares of lesion that are unusual: of the image, and of the median over the images."""


def image_remarks(manifest: Mapping[str, Any]) -> list[str]:
    """Return the remarks on prepared images from their ``dataset.json``."""
    entries: Mapping[str, Mapping[str, Any]] = manifest.get("images", {})
    # Equal rows come of equal files, and of files that differ in their compression or metadata only.
    rows = {
        name: {"split": entry["split"], "sources": {"image": {"sha256": f"{entry['shape']} {entry['crc32'][0]}"}}}
        for name, entry in entries.items()
    }
    remarks = equal_files(rows)
    shares = {name: entry["source_lesion_pixels"] / math.prod(entry["shape"]) for name, entry in entries.items()}
    edges = {name: entry.get("lesion_at_the_border", 0.0) for name, entry in entries.items()}
    inverted = [name for name in entries if edges[name] >= _EDGE and 0.5 < shares[name] < 1]
    if inverted:
        question = "their masks may be inverted: white is lesion"
        remarks.append(f"lesion all along the border of {_some(inverted, entries)}; {question}")
    filled = [share for share in shares.values() if share]
    faint = _FAINT * float(np.median(filled)) if filled else 0.0
    odd = [name for name, share in shares.items() if (0 < share < faint or share > _FULL) and name not in inverted]
    if odd:
        remarks.append(f"unusual shares of lesion: {listed([f'{name} {shares[name]:.2%}' for name in odd])}")
    if empty := [name for name, share in shares.items() if not share]:
        remarks.append(f"no pixel is lesion in {_some(empty, entries)}")
    noted: dict[str, list[str]] = defaultdict(list)
    for name, entry in entries.items():
        for note in entry.get("notes", ()):
            noted[note].append(name)
    remarks += [f"{note}: {_some(names, entries)}" for note, names in noted.items()]
    left_out: Mapping[str, Sequence[str]] = manifest.get("left_out", {})
    return remarks + [f"left out, {len(names)} {what}: {listed(names)}" for what, names in left_out.items() if names]


def _some(names: Sequence[str], of: Iterable[str]) -> str:
    return f"{len(names)} of {len([*of])} ({listed(names)})"
