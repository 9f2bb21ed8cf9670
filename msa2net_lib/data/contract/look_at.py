"""What is worth a look after a preparation: nothing here is wrong for certain, and nothing is refused.

Remarks are lines of text, made from what preparation recorded, so that no file is read again. ``scan_remarks`` makes
those of scans; data of another kind brings its own and shares what holds for both.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from msa2net_lib.data.contract.anatomy import ORGAN_FACTS, PAIRS
from msa2net_lib.data.contract.rows import is_narrow
from msa2net_lib.utils.names import listed

_FAR = 5.0
"""An amount that is so many times the others' median, or as small a part of it, is unusual."""
_FEWEST = 4
"""Of fewer cases none is unusual."""

Records = Mapping[str, Mapping[str, Any]]
"""Case -> its record, as in ``dataset.json``."""


def look_at(remarks: Iterable[str]) -> str:
    """Return the list with which a preparation ends, "" where there is nothing to look at."""
    lines = [f"- {line}" for line in remarks]
    return "\n".join(["look at these:", *lines]) if lines else ""


def equal_files(records: Records) -> list[str]:
    """Name the cases (with ``split`` and ``sources``) that were made from equal images, across parts first."""
    same: dict[str, list[str]] = defaultdict(list)
    for name, record in records.items():
        if digest := record.get("sources", {}).get("image", {}).get("sha256"):
            same[digest].append(name)
    remarks = {}
    for names in same.values():
        if len(names) > 1:
            parts = {records[name].get("split") for name in names}
            found = listed([f"{name} ({records[name].get('split')})" for name in names])
            across = "; a score of it is of training data" if len(parts) > 1 else ""
            remarks[f"one and the same image under several names: {found}{across}"] = len(parts) == 1
    return sorted(remarks, key=lambda line: remarks[line])


def unusual(amounts: Mapping[str, float], what: str, unit: str) -> list[str]:
    """Name the cases of which an amount is far from the others' median: case -> amount above 0."""
    if len(amounts) < _FEWEST:
        return []
    middle = float(np.median([*amounts.values()]))
    far = [name for name, amount in amounts.items() if abs(math.log(amount / middle)) > math.log(_FAR)]
    shown = listed([f"{name} {amounts[name]:.3g}" for name in far])
    return [f"{what} unlike the others' (median {middle:.3g} {unit}): {shown} {unit}"] if far else []


def dropped_ids(records: Records) -> list[str]:
    """Count the label ids that became background because no class names them (record: ``dropped``, id -> voxels)."""
    voxels, cases = Counter[str](), Counter[str]()
    for record in records.values():
        voxels.update(record.get("dropped", {}))
        cases.update(record.get("dropped", {}).keys())
    ids = sorted(voxels, key=float)
    shown = listed([f"{one} ({voxels[one]} in {cases[one]} of {len(records)})" for one in ids])
    return [f"label ids that became background: {shown}"] if ids else []


def scan_remarks(manifest: Mapping[str, Any]) -> list[str]:
    """Return the remarks on prepared scans from their ``dataset.json``."""
    records: Records = manifest.get("cases", {})
    remarks = [*equal_files(records), *dropped_ids(records)]
    noted: dict[str, list[str]] = defaultdict(list)
    for name, record in records.items():
        for note in record.get("notes", ()):
            noted[note].append(name)
    remarks += [f"{listed(names)}: {note}" for note, names in noted.items()]
    spaced = {name: record["spacing_mm"] for name, record in records.items() if record.get("spacing_mm")}
    remarks += unusual({name: math.prod(edges) for name, edges in spaced.items()}, "voxels", "mm\u00b3")
    for organ in manifest.get("organs", {}):
        amounts = {
            name: record["voxels"][organ] * math.prod(spaced[name]) / 1000
            for name, record in records.items()
            if name in spaced and record.get("voxels", {}).get(organ)
        }
        remarks += unusual(amounts, organ, "ml")
    shares = {name: sum(r["voxels"].values()) / math.prod(r["shape"]) for name, r in records.items() if "voxels" in r}
    if full := [f"{name} {share:.0%}" for name, share in shares.items() if share > 0.5]:
        remarks.append(f"more than half of the scan is labeled, is the label map inverted? {listed(full)}")
    narrow = {name: r["gray"] for name, r in records.items() if "gray" in r and is_narrow(*r["gray"])}
    if narrow:
        shown = listed([f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in narrow.items()])
        remarks.append(f"little of 0 to 1 is used, another window or values scaled twice? {shown}")
    return remarks + _wrong_sides(records)


def _wrong_sides(records: Records) -> list[str]:
    """Name the cases whose organs do not lie to each other as in any abdomen (record: ``organs``, class -> place)."""
    remarks = []
    for one, other, relation, axis in PAIRS:
        wrong = []
        for name, record in records.items():
            places = {_organ(known): place for known, place in record.get("organs", {}).items()}
            if one not in places or other not in places or record.get("grid", {}).get("axes", "LPS") != "LPS":
                continue
            if axis == "z" and max(places[one]["cut"], places[other]["cut"]) == 2:
                continue  # cut at both ends, it is the slab's middle that is measured
            here, there = (places[organ]["centroid"]["zyx".index(axis)] for organ in (one, other))
            if here <= there:  # up, back and left are all where the index grows
                wrong.append(name)
        if wrong:
            remarks.append(f"the {one} is not {relation} the {other}, a flip or swapped labels? {listed(wrong)}")
    return remarks


def _organ(name: str) -> str:
    """Return the organ that a class name means, however it joins its words ("kidney_left"), else the name."""
    words = set(re.split(r"[\W_]+", name.lower()))
    return next((organ for organ in ORGAN_FACTS if set(organ.split()) == words), name)
