"""What a data contract asks of the files and the arrays: one row a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from msa2net_lib.data.contract.scheme_detection import listed
from msa2net_lib.data.contract.survey import CaseSurvey, Survey
from msa2net_lib.data.splits import SYNAPSE_SLICES, SYNAPSE_TEST_CASES, SYNAPSE_TRAIN_CASES
from msa2net_lib.data.volumes import WINDOW_HU

Verdict = Literal["ok", "warning", "wrong", "not checked"]

_USED = (0.1, 0.7)
"""Air is 0 and bone 1 in any abdominal scan; noise and a resized image leave some room."""


@dataclass(frozen=True)
class Row:
    """One question of the contract: what was expected, what was found, and what to do if that is not well."""

    what: str
    expected: str
    found: str
    verdict: Verdict = "ok"
    remedy: str = ""
    details: tuple[str, ...] = ()


def file_rows(survey: Survey, published: bool) -> list[Row]:
    """Judge number and names of the files, and whether they can be read."""
    rows = [_training_slices(survey, published), _test_volumes(survey, published)]
    if published:
        rows.append(_split(survey))
    return [*rows, _slices_per_case(survey.of("train"), published), _lists(survey), _readable(survey)]


def array_rows(survey: Survey, published: bool) -> list[Row]:
    """Judge shapes, dtypes and gray values."""
    cases = [case for case in survey.cases if case.slices]
    if not cases:
        return []
    return [_sizes(cases, published), _dtypes(cases), _range(cases), _contrast(cases)]


def _training_slices(survey: Survey, published: bool) -> Row:
    train = survey.of("train")
    found = f"{count(len(survey.prepared.train_slices), 'slice')} in {count(len(train), 'case')}"
    if not published:
        return Row("training slices", "any number", found)
    expected = f"{sum(SYNAPSE_SLICES.values())} slices in {len(SYNAPSE_SLICES)} cases"
    return _same("training slices", expected, found, "get the missing cases, or say that scores are of a part")


def _test_volumes(survey: Survey, published: bool) -> Row:
    found = count(len(survey.of("test")), "volume")
    if not published:
        return Row("test volumes", "any number", found)
    expected = count(len(SYNAPSE_TEST_CASES), "volume")
    return _same("test volumes", expected, found, "get the missing volumes, or say that scores are of a part")


def _split(survey: Survey) -> Row:
    wrong = [case.name for case in survey.of("train") if case.name[4:] not in SYNAPSE_TRAIN_CASES]
    wrong += [case.name for case in survey.of("test") if case.name[4:] not in SYNAPSE_TEST_CASES]
    if not wrong:
        return Row("split", "the published 18 + 12", "no case on the other side")
    found = f"{listed(wrong)} on the other side"
    return Row("split", "the published 18 + 12", found, "warning", "scores are not comparable with published ones")


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
    expected = "every file in one list, once"
    prepared = survey.prepared
    ids = [*prepared.train_slices, *prepared.test_cases]
    both = {case.name for case in survey.of("train")} & {case.name for case in survey.of("test")}
    if both:
        found = f"{listed(sorted(both))} both to train and to test on"
        return Row(
            "lists", expected, found, "wrong", "take the case out of one list: its score would be of training data"
        )
    if repeated := sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []:
        return Row("lists", expected, f"{listed(repeated)} listed twice", "wrong", "list each id once")
    if prepared.lists is None:
        return Row("lists", expected, "no lists: all files are taken, in the order of their names")
    if survey.unlisted:
        names = listed([path.name for path in survey.unlisted])
        return Row(
            "lists", expected, f"not listed: {names}", "warning", "they are not used; list them, or move them away"
        )
    return Row("lists", expected, f"{count(len(ids), 'id')}, {count(len(ids), 'file')}")


def _readable(survey: Survey) -> Row:
    expected = "whole, with arrays image and label"
    if not survey.problems:
        return Row("files", expected, f"all {survey.files.count} are")
    found = f"{len(survey.problems)} of {survey.files.count} not; the first: {survey.problems[0]}"
    return Row("files", expected, found, "wrong", "get or prepare these files again", tuple(survey.problems[1:4]))


def _sizes(cases: Sequence[CaseSurvey], published: bool) -> Row:
    expected = "512 x 512" if published else "one size in a case"
    found = _listed_sizes({size for case in cases for size in case.sizes})
    if mixed := [case.name for case in cases if len(case.sizes) > 1]:
        return Row(
            "slice size", expected, found, "wrong", f"{listed(mixed)} have slices of several sizes: prepare them again"
        )
    if published and found != expected:
        return Row(
            "slice size", expected, found, "warning", "resized or cut: scores are not comparable with published ones"
        )
    return Row("slice size", expected, found)


def _dtypes(cases: Sequence[CaseSurvey]) -> Row:
    pairs = sorted({pair for case in cases for pair in case.dtypes})
    found = ", ".join(f"image {image} and label {label}" for image, label in pairs)
    if any(not image.startswith("float") for image, _ in pairs):
        return Row(
            "dtypes", "image float, label any", found, "warning", "an image of integers has no grays between 0 and 1"
        )
    return Row("dtypes", "image float, label any", found)


def _range(cases: Sequence[CaseSurvey]) -> Row:
    low, high = np.min([case.low for case in cases]), np.max([case.high for case in cases])
    found = f"{low:.4g} to {high:.4g}"
    if low >= 0 and high <= 1:
        return Row("gray values", "0 to 1 before resizing", found)
    looks = (
        "not finite"
        if not np.isfinite(high - low)
        else "HU"
        if low < -50
        else "0 to 255"
        if high > 1.5 and low >= 0
        else ""
    )
    looks = looks or ("normalized to -1 to 1" if high <= 1.01 and low >= -1.01 else "resized with overshoot")
    bad = [case.name for case in cases if not (case.low >= 0 and case.high <= 1)]
    remedy = f"window [{WINDOW_HU[0]:g}, {WINDOW_HU[1]:g}] HU to 0 to 1 first; outside are {listed(bad)}"
    return Row("gray values", "0 to 1 before resizing", f"{found}: looks like {looks}", "wrong", remedy)


def _contrast(cases: Sequence[CaseSurvey]) -> Row:
    expected = "most of 0 to 1 used in every case"
    if flat := [case.name for case in cases if case.flat]:
        found = f"labeled slices of a single gray in {listed(flat)}"
        return Row("contrast", expected, found, "wrong", "these slices have lost their image: prepare them again")
    narrow = [case for case in cases if not (case.low <= _USED[0] and case.high >= _USED[1])]
    if narrow:
        found = "; ".join(f"{case.name} {case.low:.3g} to {case.high:.3g}" for case in narrow[:3])
        return Row(
            "contrast", expected, found, "warning", "another window, or values scaled twice? look at the pictures"
        )
    return Row("contrast", expected, f"{count(len(cases), 'case')}, all do")


def _same(what: str, expected: str, found: str, remedy: str) -> Row:
    return Row(what, expected, found) if found == expected else Row(what, expected, found, "warning", remedy)


def count(number: int, noun: str) -> str:
    """Write 1 and "case" as "1 case", 2 as "2 cases"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def first_of(lines: Sequence[str]) -> str:
    """Write the first two of some findings, and how many more there are."""
    return "; ".join(lines[:2]) + (f"; {len(lines) - 2} more" if len(lines) > 2 else "")


def _listed_sizes(sizes: Iterable[tuple[int, int]]) -> str:
    return listed([f"{height} x {width}" for height, width in sorted(sizes)])
