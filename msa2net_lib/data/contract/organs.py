"""What a data contract asks of the labels: numbering, orientation, and whether the organs are those of adults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from msa2net_lib.data.contract.anatomy import BTCV_VOXEL_MM3, ORGAN_FACTS
from msa2net_lib.data.contract.orientation import OrientationFinding
from msa2net_lib.data.contract.rows import Row, count, first_of
from msa2net_lib.data.contract.scheme_detection import SchemeFinding, listed
from msa2net_lib.data.contract.survey import CaseSurvey, Survey
from msa2net_lib.data.volumes import WINDOW_HU

_LIVER_HU = (0.0, 200.0)
"""Between a fatty liver and a strongly enhanced one."""


def organ_rows(survey: Survey, organs: Mapping[int, str], published: bool, hounsfield: bool) -> list[Row]:
    """Judge the organs, once it is known which label is which; ``hounsfield``: whether the window is the field's."""
    cases = [case for case in survey.cases if case.slices]
    rows = [_presence(cases, organs), _volumes(cases, organs, published)]
    liver = next((label for label, organ in organs.items() if organ == "liver"), None)
    if hounsfield and liver is not None:
        rows.append(_liver_gray(cases, liver))
    return rows


def label_row(survey: Survey, highest: int, meaning: str) -> Row:
    """Judge the label values: 0 to ``highest`` and nothing else."""
    values = sorted({label for case in survey.cases for label in case.labels})
    found = _runs([0, *values]) if values else "0 only: no organ anywhere"
    expected = f"0 to {highest}: {meaning}"
    if values and values[-1] <= highest:
        return Row("label values", expected, found)
    above = [case.name for case in survey.cases if case.labels and case.labels[-1] > highest]
    remedy = f"renumber the labels of {listed(above)}" if above else "look for labels that were lost in preparation"
    return Row("label values", expected, found, "wrong", remedy)


def judge_scheme(finding: SchemeFinding, given: str | None, again: str) -> tuple[Row, str | None, str]:
    """Return the row, the scheme to read by (None: stop) and where it is known from."""
    what, expected = "label scheme", f"{given}, as given" if given else "A, B, C or raw, seen from the organs"
    if given is None and finding.scheme is None:
        remedy = f"find out where the data come from, and {again.removesuffix('`')} --label-scheme A` (or B, C, raw)"
        return Row(what, expected, finding.reason, "wrong", remedy), None, ""
    if given is None or given == finding.scheme:
        source = "seen from the organs" if given is None else "given, and seen from the organs"
        return Row(what, expected, finding.reason, details=finding.evidence), finding.scheme, source
    if finding.scheme is not None:
        found = f"the organs say {finding.scheme}: {finding.reason}"
        return Row(what, expected, found, "wrong", f"give {finding.scheme}, or nothing", finding.evidence), None, ""
    if against := finding.against(given):
        return Row(what, expected, against, "wrong", "these labels are not of that scheme: look at them"), None, ""
    found = f"not contradicted, but {finding.reason}"
    return (
        Row(what, expected, found, "warning", "make sure: nothing else was to be learnt from the organs"),
        given,
        "given",
    )


def judge_flip(finding: OrientationFinding, given: str | None, again: str) -> tuple[Row, str | None, str]:
    """Return the row, the flip to read with (None: stop) and where it is known from."""
    what, expected = "orientation", f"flip {given}, as given" if given else "z up, y to the back, x to the left"
    look = "look at the orientation panel (viz.orientation.plot_orientation), and "
    if finding.flip is not None and finding.flip == (given or "none"):
        source = "seen from the organs" if given is None else "given, and seen from the organs"
        return Row(what, expected, finding.reason, details=finding.evidence), finding.flip, source
    if finding.flip is not None:
        return Row(what, expected, finding.reason, "wrong", f"{again}{finding.flip}`", finding.evidence), None, ""
    if (
        given is not None
        and finding.against(given) is None
        and finding.in_plane in (None, given.replace("z", "") or "none")
    ):
        return (
            Row(what, expected, f"not contradicted, but {finding.reason}", "warning", f"{look}be sure"),
            given,
            "given",
        )
    likely = finding.in_plane or "VALUE"
    remedy = f"{look}{again}{likely}`" + (" (or with z)" if finding.in_plane else "")
    return Row(what, expected, finding.reason, "wrong", remedy, finding.evidence), None, ""


def _presence(cases: Sequence[CaseSurvey], organs: Mapping[int, str]) -> Row:
    expected = f"all {len(organs)} in every case"
    lacking = []
    for case in cases:
        missing = [organ for label, organ in organs.items() if label not in case.shapes.organs]
        if missing:
            lacking.append(f"{case.name} lacks {', '.join(missing)}")
    if not lacking:
        return Row("organs", expected, f"{count(len(cases), 'case')}, all have them")
    remedy = "right after an operation or where the scan ends, else labels were lost: look at these cases"
    return Row("organs", expected, first_of(lacking), "warning", remedy, tuple(lacking[2:8]))


def _volumes(cases: Sequence[CaseSurvey], organs: Mapping[int, str], published: bool) -> Row:
    """Judge the volumes of organs that lie wholly in the scan; without spacing, whatever BTCV's voxels allow."""
    known = {label: organ for label, organ in organs.items() if organ in ORGAN_FACTS}
    expected = "those of adults, by wide limits of ours"
    judged, cut, odd = 0, 0, []
    for case in cases:
        voxel = _voxel_mm3(case, published)
        for label, organ in known.items() if voxel else ():
            shape = case.shapes.organs.get(label)
            if shape is None or shape.cut:
                cut += shape is not None
                continue
            judged += 1
            low, high = (shape.voxels * mm3 / 1000 for mm3 in voxel or ())
            lowest, highest = ORGAN_FACTS[organ].plausible_ml
            if high < lowest or low > highest:
                size = f"{low:.3g} ml" if low == high else f"{low:.3g} to {high:.3g} ml"
                odd.append(f"{case.name} {organ} {size}")
    if not judged:
        why = "no spacing is stored" if not any(_voxel_mm3(case, published) for case in cases) else "all are cut off"
        return Row("organ volumes", expected, why, "not checked", "" if known else "no organ with known limits")
    aside = f" ({cut} cut off by the scan's ends, not judged)" if cut else ""
    if odd:
        return Row("organ volumes", expected, first_of(odd) + aside, "warning", "look at these cases", tuple(odd[2:8]))
    return Row("organ volumes", expected, f"{judged} plausible{aside}")


def _voxel_mm3(case: CaseSurvey, published: bool) -> tuple[float, float] | None:
    if case.spacing is not None:
        size = float(np.prod(case.spacing))
        return size, size
    return BTCV_VOXEL_MM3 if published else None


def _liver_gray(cases: Sequence[CaseSurvey], liver: int) -> Row:
    """Judge the window by the one organ whose gray hardly varies: the liver's mean in HU, had it been the field's."""
    low, high = WINDOW_HU
    expected = f"{_LIVER_HU[0]:g} to {_LIVER_HU[1]:g} HU if the window is [{low:g}, {high:g}]"
    means = {
        case.name: low + (high - low) * case.gray[liver] / case.shapes.organs[liver].voxels
        for case in cases
        if liver in case.shapes.organs
    }
    if not means:
        return Row("liver's gray", expected, "no liver", "not checked")
    found = f"{min(means.values()):.0f} to {max(means.values()):.0f} HU"
    if odd := [name for name, mean in means.items() if not _LIVER_HU[0] <= mean <= _LIVER_HU[1]]:
        return Row(
            "liver's gray", expected, found, "warning", f"another window in {listed(odd)}? networks expect the field's"
        )
    return Row("liver's gray", expected, found)


def _runs(values: Sequence[int]) -> str:
    """Write 1, 2, 3, 5 as "1 to 3, 5"."""
    groups = np.split(np.asarray(values), np.flatnonzero(np.diff(values) != 1) + 1)
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in groups)
