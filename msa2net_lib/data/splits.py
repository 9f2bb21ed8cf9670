"""Who is trained on, validated on and tested on: the published Synapse split, and validation cases out of its 18.

The paper names no validation set and gives no rule for choosing a checkpoint; the released trainer scores the 12
test cases every 20 epochs, from half time on, and keeps a checkpoint each time. Here three of the 18 training cases
are set aside to choose by, and the test cases are left alone.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import check_ids

PARTS: tuple[str, ...] = ("train", "validation", "test")

# fmt: off
SYNAPSE_SLICES: dict[str, int] = {
    "0005": 117, "0006": 131, "0007": 163, "0009": 149, "0010": 148, "0021": 143, "0023": 96, "0024": 124,
    "0026": 131, "0027": 88, "0028": 89, "0030": 153, "0031": 93, "0033": 104, "0034": 98, "0037": 99,
    "0039": 90, "0040": 195,
}
"""Training case -> its number of slices: 2211 in all, where papers say 2212."""

SYNAPSE_TEST_CASES: tuple[str, ...] = (
    "0008", "0022", "0038", "0036", "0032", "0002", "0029", "0003", "0001", "0004", "0025", "0035",
)
"""The 12 test cases of that split, in list order."""
# fmt: on

SYNAPSE_TRAIN_CASES: tuple[str, ...] = tuple(SYNAPSE_SLICES)
"""The 18 training cases of the split everyone uses (TransUNet's), in list order."""

SYNAPSE_VALIDATION_CASES: tuple[str, ...] = ("0039", "0005", "0009")
"""The 3 cases set aside by the rule of ``choose_validation``: 90, 117 and 149 slices."""

SYNAPSE_TRAIN_15: tuple[str, ...] = tuple(case for case in SYNAPSE_SLICES if case not in SYNAPSE_VALIDATION_CASES)
"""The 15 cases left to train on, in list order: 1855 slices."""

SYNAPSE_CASES: frozenset[str] = frozenset((*SYNAPSE_TRAIN_CASES, *SYNAPSE_TEST_CASES))
"""The 30 cases of the published split."""

_EVERY = 6


def choose_validation(slices: Mapping[str, int]) -> list[str]:
    """Choose validation cases among training cases (name -> number of slices): one in six, short to long.

    The rule: order the cases by their number of slices (equal ones by name) and take the 3rd, the 9th, the 15th and
    so on, so that short, middle and long scans are among them. Raises InputError for fewer than 3 cases.
    """
    ordered = sorted(slices, key=lambda case: (slices[case], case))
    chosen = ordered[2::_EVERY]
    if not chosen:
        raise InputError(f"{len(ordered)} training cases are too few to choose from: name one in hold_out")
    return chosen


def read_split(path: str | Path, shares: Sequence[float] = (0.7, 0.1, 0.2)) -> dict[str, list[str]]:
    """Read who is trained on, validated on and tested on from a table: part -> ids.

    The file is CSV (comma, semicolon or tab), and its first line names the columns: ``id``, and ``part``, ``patient``
    or both. Without ``part``, whole patients are taken by shares of the ids, in the order of their names. Raises
    InputError, naming the file, for other columns or parts, an id that is there twice, and a patient in two parts.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text; give a CSV file in UTF-8") from error
    delimiter = next((mark for mark in ";\t" if lines and mark in lines[0]), ",")
    try:
        rows = [
            {str(key).strip().lower(): str(value or "").strip() for key, value in row.items()}
            for row in csv.DictReader(lines, delimiter=delimiter)
        ]
    except csv.Error as error:
        raise InputError(f"{path}: is no table ({error}); give a CSV file in UTF-8") from error
    if not rows or "id" not in rows[0] or not {"part", "patient"} & rows[0].keys():
        raise InputError(f"{path}: should begin with a line of columns: id,part or id,patient or id,part,patient")
    check_ids([row["id"] for row in rows], path)
    if "part" not in rows[0]:
        if nobody := [row["id"] for row in rows if not row["patient"]]:
            raise InputError(f"{path}: {nobody[0]} has no patient ({len(nobody)} such); name one for each id")
        rows = _by_patient(rows, shares)
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    patients: dict[str, str] = {}
    for row in rows:
        part = row["part"].lower()
        if part not in PARTS:
            raise InputError(f"{path}: {row['id']} is in part {row['part']!r}; the parts are {', '.join(PARTS)}")
        if row.get("patient") and (other := patients.setdefault(row["patient"], part)) != part:
            raise InputError(f"{path}: patient {row['patient']} is in {other} and in {part}; keep each in one part")
        found[part].append(row["id"])
    return found


def _by_patient(rows: Sequence[dict[str, str]], shares: Sequence[float]) -> list[dict[str, str]]:
    """Give each row a part: that in which its patient's first row falls when all are cut by shares."""
    ordered = sorted(rows, key=lambda row: (row["patient"], row["id"]))
    cuts = [share * len(rows) for share in (shares[0], shares[0] + shares[1])]
    first: dict[str, int] = {}
    for number, row in enumerate(ordered):
        first.setdefault(row["patient"], number)
    return [{**row, "part": PARTS[sum(first[row["patient"]] >= cut for cut in cuts)]} for row in ordered]
