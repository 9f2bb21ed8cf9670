"""Who is trained on, validated on and tested on: the published Synapse split, and validation cases out of its 18.

The paper names no validation set and gives no rule for choosing a checkpoint; the released trainer scores the 12
test cases every 20 epochs, from half time on, and keeps a checkpoint each time. Here three of the 18 training cases
are set aside to choose by, and the test cases are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from msa2net_lib.errors import InputError

# fmt: off
SYNAPSE_TRAIN_CASES: tuple[str, ...] = (
    "0005", "0006", "0007", "0009", "0010", "0021", "0023", "0024", "0026",
    "0027", "0028", "0030", "0031", "0033", "0034", "0037", "0039", "0040",
)
"""The 18 training cases of the split everyone uses (TransUNet's), in list order."""

SYNAPSE_TEST_CASES: tuple[str, ...] = (
    "0008", "0022", "0038", "0036", "0032", "0002", "0029", "0003", "0001", "0004", "0025", "0035",
)
"""The 12 test cases of that split, in list order."""

SYNAPSE_SLICES: dict[str, int] = {
    "0005": 117, "0006": 131, "0007": 163, "0009": 149, "0010": 148, "0021": 143, "0023": 96, "0024": 124,
    "0026": 131, "0027": 88, "0028": 89, "0030": 153, "0031": 93, "0033": 104, "0034": 98, "0037": 99,
    "0039": 90, "0040": 195,
}
"""Training case -> its number of slices: 2211 in all, where papers say 2212."""

SYNAPSE_TRAIN_15: tuple[str, ...] = (
    "0006", "0007", "0010", "0021", "0023", "0024", "0026", "0027",
    "0028", "0030", "0031", "0033", "0034", "0037", "0040",
)
"""The 15 cases left to train on, in list order: 1855 slices."""

SYNAPSE_VALIDATION_CASES: tuple[str, ...] = ("0039", "0005", "0009")
"""The 3 cases set aside by the rule of ``choose_validation``: 90, 117 and 149 slices."""
# fmt: on

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
