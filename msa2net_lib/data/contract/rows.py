"""What a data contract asks of files, arrays and labels: one row a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from msa2net_lib.data.contract.anatomy import BTCV_VOXEL_MM3, ORGAN_FACTS
from msa2net_lib.data.contract.detection import Finding
from msa2net_lib.data.contract.survey import CaseSurvey, Survey
from msa2net_lib.data.splits import SYNAPSE_SLICES, SYNAPSE_TEST_CASES, SYNAPSE_TRAIN_CASES
from msa2net_lib.data.volumes import WINDOW_HU
from msa2net_lib.utils.names import listed

Result = Literal["ok", "warning", "wrong", "not checked"]

_USED = (0.1, 0.7)
"""Air is 0 and bone 1 in any abdominal scan; noise and a resized image leave some room."""

_LIVER_HU = (0.0, 200.0)
"""Between a fatty liver and a strongly enhanced one."""


@dataclass(frozen=True)
class Row:
    """One question of the contract: what was expected, what was found, and what to do if that is not well."""

    what: str
    expected: str
    found: str
    result: Result = "ok"
    remedy: str = ""
    details: tuple[str, ...] = ()

    @classmethod
    def judged(cls, what: str, expected: str, found: str, *faults: tuple[object, Result, str]) -> Row:
        """Answer by the first fault (condition, result, remedy) whose condition holds; all is well if none does."""
        for holds, result, remedy in faults:
            if holds:
                return cls(what, expected, found, result, remedy)
        return cls(what, expected, found)


def file_rows(survey: Survey, published: bool) -> list[Row]:
    """Judge number and names of the files, and whether they can be read."""
    train, test = survey.of("train"), survey.of("test")
    rows = []
    for what, found, number in (
        (
            "training slices",
            f"{count(len(survey.prepared.train_slices), 'slice')} in {count(len(train), 'case')}",
            f"{sum(SYNAPSE_SLICES.values())} slices in {len(SYNAPSE_SLICES)} cases",
        ),
        ("test volumes", count(len(test), "volume"), count(len(SYNAPSE_TEST_CASES), "volume")),
    ):
        noun = "cases" if what == "training slices" else "volumes"
        remedy = f"get the missing {noun}, or say that scores are of a part"
        expected = number if published else "any number"
        rows.append(Row.judged(what, expected, found, (published and found != number, "warning", remedy)))
    if published:
        wrong = [case.name for case in train if case.name[4:] not in SYNAPSE_TRAIN_CASES]
        wrong += [case.name for case in test if case.name[4:] not in SYNAPSE_TEST_CASES]
        found = f"{listed(wrong) if wrong else 'no case'} on the other side"
        fault = (wrong, "warning", "scores are not comparable with published ones")
        rows.append(Row.judged("split", "the published 18 + 12", found, fault))
    return [*rows, _slices_per_case(train, published), _lists(survey), _once(survey), _readable(survey)]


def array_rows(survey: Survey, published: bool) -> list[Row]:
    """Judge shapes, dtypes and gray values."""
    cases = [case for case in survey.cases if case.slices]
    return [_sizes(cases, published), _dtypes(cases), _range(cases), _contrast(cases)] if cases else []


def organ_rows(survey: Survey, organs: Mapping[int, str], published: bool, hounsfield: bool) -> list[Row]:
    """Judge the organs, once it is known which label is which; ``hounsfield``: whether the window is the field's."""
    cases = [case for case in survey.cases if case.slices]
    rows = [_presence(cases, organs), _volumes(cases, organs, published)]
    liver = next((label for label, organ in organs.items() if organ == "liver"), None)
    return [*rows, _liver_gray(cases, liver)] if hounsfield and liver is not None else rows


def label_row(survey: Survey, highest: int, meaning: str) -> Row:
    """Judge the label values: 0 to ``highest`` and nothing else."""
    values = sorted({label for case in survey.cases for label in case.labels})
    above = [case.name for case in survey.cases if case.labels and case.labels[-1] > highest]
    return Row.judged(
        "label values",
        f"0 to {highest}: {meaning}",
        _runs([0, *values]) if values else "0 only: no organ anywhere",
        (above, "wrong", f"renumber the labels of {listed(above)}"),
        (not values, "wrong", "look for labels that were lost in preparation"),
    )


def judge_scheme(finding: Finding, given: str | None, again: str) -> tuple[Row, str | None, str]:
    """Return the row, the scheme to read by (None: stop) and where it is known from."""
    what, expected = "label scheme", f"{given}, as given" if given else "A, B, C or raw, seen from the organs"
    if finding.best is not None and given in (None, finding.best):
        return Row(what, expected, finding.reason, details=finding.evidence), finding.best, _source(given)
    if given is None:
        found = finding.reason
        remedy = f"find out where the data come from, and {again.removesuffix('`')} --label-scheme A` (or B, C, raw)"
    elif finding.best is not None:
        found, remedy = f"the organs say {finding.best}: {finding.reason}", f"give {finding.best}, or nothing"
    elif against := finding.against(given):
        found, remedy = against, "these labels are not of that scheme: look at them"
    else:
        found, remedy = f"not contradicted, but {finding.reason}", "make sure: nothing else was to be learnt from them"
        return Row(what, expected, found, "warning", remedy), given, "given"
    return Row(what, expected, found, "wrong", remedy, finding.evidence), None, ""


def judge_flip(finding: Finding, given: str | None, again: str) -> tuple[Row, str | None, str]:
    """Return the row, the flip to read with (None: stop) and where it is known from."""
    what, expected = "orientation", f"flip {given}, as given" if given else "z up, y to the back, x to the left"
    look = "look at the orientation panel (viz.orientation.plot_orientation), and "
    if finding.best is not None and finding.best == (given or "none"):
        return Row(what, expected, finding.reason, details=finding.evidence), finding.best, _source(given)
    if finding.best is not None:
        remedy = f"{again}{finding.best}`"
    elif given and not finding.against(given) and finding.in_plane in (None, given.replace("z", "") or "none"):
        found = f"not contradicted, but {finding.reason}"
        return Row(what, expected, found, "warning", f"{look}be sure"), given, "given"
    else:
        remedy = f"{look}{again}{finding.in_plane}` (or with z)" if finding.in_plane else f"{look}{again}VALUE`"
    return Row(what, expected, finding.reason, "wrong", remedy, finding.evidence), None, ""


def _source(given: str | None) -> str:
    return "given, and seen from the organs" if given else "seen from the organs"


def _slices_per_case(train: Sequence[CaseSurvey], published: bool) -> Row:
    what, expected = "slices per case", "as in the published data" if published else "numbered from 0 without gaps"
    lacking, more = [], []
    for case in train:
        length = SYNAPSE_SLICES.get(case.name[4:], 0) if published else 0
        missing = sorted(set(range(max(length, *case.numbers))) - {*case.numbers})
        if missing:
            lacking.append(f"{case.name} has {len(case.numbers)} and lacks {listed(missing)}")
        elif len(case.numbers) > length > 0:
            more.append(f"{case.name} has {len(case.numbers)} instead of {length}")
    if lacking:
        return Row(what, expected, first_of(lacking), "wrong", "get the missing slices, or leave these cases out")
    if more:
        return Row(what, expected, first_of(more), "warning", "another preparation: scores are not comparable")
    return Row(what, expected, f"all {count(len(train), 'case')} are" if train else "no training case")


def _lists(survey: Survey) -> Row:
    prepared = survey.prepared
    ids = [*prepared.train_slices, *prepared.test_cases]
    both = sorted({case.name for case in survey.of("train")} & {case.name for case in survey.of("test")})
    repeated = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    found, remedy = f"{count(len(ids), 'id')}, {count(len(ids), 'file')}", ""
    result: Result = "ok"
    if both:
        found, result = f"{listed(both)} both to train and to test on", "wrong"
        remedy = "take the case out of one list: its score would be of training data"
    elif repeated:
        found, result, remedy = f"{listed(repeated)} listed twice", "wrong", "list each id once"
    elif prepared.lists is None:
        found = "no lists: all files are taken, in the order of their names"
    elif survey.unlisted:
        found, result = f"not listed: {listed([path.name for path in survey.unlisted])}", "warning"
        remedy = "they are not used; list them, or move them away"
    return Row("lists", "every file in one list, once", found, result, remedy)


def _once(survey: Survey) -> Row:
    what, expected = "scans", "each under one name"
    same: dict[str, list[CaseSurvey]] = {}
    for case in survey.cases:
        same.setdefault(case.content or case.name, []).append(case)
    twice = [cases for cases in same.values() if len({case.name for case in cases}) > 1]
    if not twice:
        return Row(what, expected, f"{count(len(survey.cases), 'case')}, all different")
    pairs = [" = ".join(f"{case.name} ({case.split})" for case in cases) for cases in twice]
    across = any(len({case.split for case in cases}) > 1 for cases in twice)
    remedy = "take one out of its list" + (": its score would be of training data" if across else "")
    return Row(what, expected, f"one scan under two names: {pairs[0]}", "warning", remedy, tuple(pairs[1:4]))


def _readable(survey: Survey) -> Row:
    what, expected = "files", "whole, with arrays image and label"
    if not survey.problems:
        return Row(what, expected, f"all {survey.files.count} are")
    found = f"{len(survey.problems)} of {survey.files.count} not; the first: {survey.problems[0]}"
    return Row(what, expected, found, "wrong", "get or prepare these files again", tuple(survey.problems[1:4]))


def _sizes(cases: Sequence[CaseSurvey], published: bool) -> Row:
    expected = "512 x 512" if published else "one size in a case"
    sizes = sorted({size for case in cases for size in case.sizes})
    found = listed([f"{height} x {width}" for height, width in sizes])
    mixed = [case.name for case in cases if len(case.sizes) > 1]
    other = published and found != expected
    return Row.judged(
        "slice size",
        expected,
        found,
        (mixed, "wrong", f"{listed(mixed)} have slices of several sizes: prepare them again"),
        (other, "warning", "resized or cut: scores are not comparable with published ones"),
    )


def _dtypes(cases: Sequence[CaseSurvey]) -> Row:
    pairs = sorted({pair for case in cases for pair in case.dtypes})
    found = ", ".join(f"image {image} and label {label}" for image, label in pairs)
    integers = any(not image.startswith("float") for image, _ in pairs)
    fault = (integers, "warning", "an image of integers has no grays between 0 and 1")
    return Row.judged("dtypes", "image float, label any", found, fault)


def _range(cases: Sequence[CaseSurvey]) -> Row:
    low, high = np.min([case.low for case in cases]), np.max([case.high for case in cases])
    found, bad = f"{low:.4g} to {high:.4g}", [case.name for case in cases if not (case.low >= 0 and case.high <= 1)]
    looks_like = (
        (not bad, ""),
        (not np.isfinite(high - low), "not finite"),
        (low < -50, "HU"),
        (high > 1.5 and low >= 0, "0 to 255"),
        (high <= 1.01 and low >= -1.01, "normalized to -1 to 1"),
        (True, "resized with overshoot"),
    )
    looks = next(words for holds, words in looks_like if holds)
    remedy = f"window [{WINDOW_HU[0]:g}, {WINDOW_HU[1]:g}] HU to 0 to 1 first; outside are {listed(bad)}"
    found += f": looks like {looks}" if looks else ""
    return Row.judged("gray values", "0 to 1 before resizing", found, (bad, "wrong", remedy))


def _contrast(cases: Sequence[CaseSurvey]) -> Row:
    what, expected = "contrast", "most of 0 to 1 used in every case"
    if flat := [case.name for case in cases if case.flat]:
        found = f"labeled slices of a single gray in {listed(flat)}"
        return Row(what, expected, found, "wrong", "these slices have lost their image: prepare them again")
    if narrow := [case for case in cases if is_narrow(case.low, case.high)]:
        found = "; ".join(f"{case.name} {case.low:.3g} to {case.high:.3g}" for case in narrow[:3])
        return Row(what, expected, found, "warning", "another window, or values scaled twice? look at the images")
    return Row(what, expected, f"{count(len(cases), 'case')}, all do")


def is_narrow(low: float, high: float) -> bool:
    """Whether an image that is said to be in [0, 1] uses little of it."""
    return not (low <= _USED[0] and high >= _USED[1])


def _presence(cases: Sequence[CaseSurvey], organs: Mapping[int, str]) -> Row:
    what, expected = "organs", f"all {len(organs)} in every case"
    lacking = []
    for case in cases:
        if missing := [organ for label, organ in organs.items() if label not in case.shapes.organs]:
            lacking.append(f"{case.name} lacks {', '.join(missing)}")
    if not lacking:
        return Row(what, expected, f"{count(len(cases), 'case')}, all have them")
    remedy = "right after an operation or where the scan ends, else labels were lost: look at these cases"
    return Row(what, expected, first_of(lacking), "warning", remedy, tuple(lacking[2:8]))


def _volumes(cases: Sequence[CaseSurvey], organs: Mapping[int, str], published: bool) -> Row:
    """Judge the volumes of organs that lie wholly in the scan; without spacing, whatever BTCV's voxels allow."""
    what, expected = "organ volumes", "those of adults, by wide limits of this workbook"
    known = {label: organ for label, organ in organs.items() if organ in ORGAN_FACTS}
    judged, cut, odd = 0, 0, []
    # The smallest and the largest voxel that a case may have, in mm³.
    voxels = [
        (case, (float(np.prod(case.spacing)),) * 2 if case.spacing else BTCV_VOXEL_MM3)
        for case in cases
        if case.spacing or published
    ]
    for case, voxel in voxels:
        for label, organ in known.items():
            shape = case.shapes.organs.get(label)
            if shape is None or shape.cut:
                cut += shape is not None
                continue
            judged += 1
            low, high = (shape.voxels * mm3 / 1000 for mm3 in voxel)
            lowest, highest = ORGAN_FACTS[organ].plausible_ml
            if high < lowest or low > highest:
                size = f"{low:.3g} ml" if low == high else f"{low:.3g} to {high:.3g} ml"
                odd.append(f"{case.name} {organ} {size}")
    if not judged:
        why = "all are cut off" if voxels else "no spacing is stored"
        return Row(what, expected, why, "not checked", "" if known else "no organ with known limits")
    aside = f" ({cut} cut off by the scan's ends, not judged)" if cut else ""
    if odd:
        return Row(what, expected, first_of(odd) + aside, "warning", "look at these cases", tuple(odd[2:8]))
    return Row(what, expected, f"{judged} plausible{aside}")


def _liver_gray(cases: Sequence[CaseSurvey], liver: int) -> Row:
    """Judge the window by the one organ whose gray hardly varies: the liver's mean in HU, had it been the field's."""
    low, high = WINDOW_HU
    what, expected = "liver's gray", f"{_LIVER_HU[0]:g} to {_LIVER_HU[1]:g} HU if the window is [{low:g}, {high:g}]"
    means = {
        case.name: low + (high - low) * case.gray[liver] / case.shapes.organs[liver].voxels
        for case in cases
        if liver in case.shapes.organs
    }
    if not means:
        return Row(what, expected, "no liver", "not checked")
    odd = [name for name, mean in means.items() if not _LIVER_HU[0] <= mean <= _LIVER_HU[1]]
    remedy = f"another window in {listed(odd)}? networks expect the field's"
    return Row.judged(
        what, expected, f"{min(means.values()):.0f} to {max(means.values()):.0f} HU", (odd, "warning", remedy)
    )


def count(number: int, noun: str) -> str:
    """Write 1 and "case" as "1 case", 2 as "2 cases"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def first_of(lines: Sequence[str]) -> str:
    """Write the first two of some findings, and how many more there are."""
    return "; ".join(lines[:2]) + (f"; {len(lines) - 2} more" if len(lines) > 2 else "")


def _runs(values: Sequence[int]) -> str:
    """Write 1, 2, 3, 5 as "1 to 3, 5"."""
    groups = np.split(np.asarray(values), np.flatnonzero(np.diff(values) != 1) + 1)
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in groups)
