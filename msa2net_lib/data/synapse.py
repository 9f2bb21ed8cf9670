"""Prepare the Synapse (BTCV) data in the field's format: 2-D slices to train on, whole volumes to score.

Recipe (TransUNet's, followed by the paper): window [-125, 275] HU to [0, 1], every slice, no resampling, no
crop, labels in scheme A. What happens to a case: see ``data.scans.prepare``; how a stopped run continues:
``data.prepare``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msa2net_lib.data.labels import BTCV_IDS, ORGANS
from msa2net_lib.data.placement import PlaneOption, check_plane
from msa2net_lib.data.scans.gray_values import check_values
from msa2net_lib.data.scans.prepare import ScanJob, prepare_scans
from msa2net_lib.data.scans.recipe import ScanRecipe, Window, case_flips
from msa2net_lib.data.splits import SYNAPSE_TEST_CASES, SYNAPSE_TRAIN_CASES
from msa2net_lib.data.volumes import WINDOW_HU
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset

SYNAPSE_RECIPE = ScanRecipe(
    modality="CT",
    window=Window(*WINDOW_HU, "HU"),
    classes={organ: [BTCV_IDS[organ]] for organ in ORGANS},
    background=sorted(number for organ, number in BTCV_IDS.items() if organ not in ORGANS),
    advice=f"allowed are the raw BTCV ids 0 to {max(BTCV_IDS.values())}; renumber them",
    allow_empty=True,  # a scan of a few slices, such as a shipped one, need not reach an organ
    facts={"label_scheme": "A", "window_hu": list(WINDOW_HU)},
)
"""The field's preparation of raw BTCV scans."""


def prepare_synapse(
    source: str | Path,
    destination: str | Path,
    *,
    train_cases: Sequence[str] | None = None,
    test_cases: Sequence[str] | None = None,
    values: str = "auto",
    plane: PlaneOption = "auto",
    flip: str | Mapping[str, str] = "none",
    workers: int | None = None,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare a folder in the BTCV layout for training and evaluation.

    ``destination`` gets ``train_npz/``, ``test_vol_h5/``, ``lists/``, ``dataset.json`` and the records in ``cases/``;
    what an earlier run with other cases left there is removed. Cases already finished stay and are not done again.

    Args:
        source: holds ``img/img0005.nii.gz`` with ``label/label0005.nii.gz`` (raw BTCV ids) and so on.
        destination: the folder to write.
        train_cases: four-digit ids. Without these and ``test_cases``, those of the published 18/12 split that are
            there; with either, exactly the given ones (the one not given is empty).
        test_cases: four-digit ids.
        values: what the gray values are: "auto" takes HU and refuses anything else; "hu" whatever they look like;
            "shifted" HU + 1024 where none is negative; "windowed" 0 to 1 or 0 to 255 as windowed already.
        plane: "auto" refuses a scan whose own slices are thick and not axial; "stored" prepares its own slices;
            "axial" cuts axial ones all the same.
        flip: how to turn scans whose headers lie, letters out of t, x, y and z; one for all, or case -> flip.
        workers: processes at once (default: one a core or case, 1 for none beside this one).
        progress: show a bar.

    Returns:
        The prepared data.

    Raises:
        InputError: anything wrong with the source, with the file's name; before any work for files that are missing.

    Example:
        >>> from msa2net_lib import prepare_synapse
        >>> options = {"train_cases": ["0005"], "test_cases": ["0008"]}
        >>> dataset = prepare_synapse("btcv", "again", workers=1, progress=False, **options)
        >>> dataset.test_cases, len(dataset.train_slices)
        (['case0008'], 2)

    Source: paper, section 4.1; TransUNet's preprocessing and split.
    """
    source, destination = Path(source), Path(destination)
    split = _split(source, train_cases, test_cases)
    flips = case_flips(flip, [case for cases in split.values() for case in cases])
    recipe = replace(SYNAPSE_RECIPE, values=check_values(values), plane=check_plane(plane), flips=flips)
    jobs = [
        ScanJob(
            destination=str(destination),
            case=case,
            split=part,
            image=source / "img" / f"img{case}.nii.gz",
            label=source / "label" / f"label{case}.nii.gz",
            prefix="case",
        )
        for part, cases in split.items()
        for case in cases
    ]
    return prepare_scans(jobs, destination, recipe, workers=workers, progress=progress)


def _split(source: Path, train_cases: Sequence[str] | None, test_cases: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the cases of each part, in list order."""
    for folder in ("img", "label"):
        if not (source / folder).is_dir():
            raise InputError(f"{source / folder}: no such folder; give the folder that holds img/ and label/")
    found = {
        match[1]
        for path in (*source.glob("img/img*"), *source.glob("label/label*"))
        if (match := re.fullmatch(r"(?:img|label)(\d{4})\.nii\.gz", path.name))
    }
    if not found:
        raise InputError(f"{source / 'img'}: holds no scan named img0001.nii.gz or alike; check the folder")
    if train_cases is None and test_cases is None:
        split = {
            "train": [case for case in SYNAPSE_TRAIN_CASES if case in found],
            "test": [case for case in SYNAPSE_TEST_CASES if case in found],
        }
        if not any(split.values()):
            raise InputError(
                f"{source}: no case of the published split among its {len(found)} (such as {min(found)}); "
                "name them in train_cases and test_cases"
            )
        return split
    split = {"train": list(train_cases or ()), "test": list(test_cases or ())}
    chosen = [*split["train"], *split["test"]]
    for case in chosen:
        if not re.fullmatch(r"\d{4}", str(case)):
            raise InputError(f"case id {case!r}: give four digits, such as '0005'")
    if repeated := {case for case in chosen if chosen.count(case) > 1}:
        raise InputError(f"case {min(repeated)}: listed twice in train_cases and test_cases; list it once")
    if not chosen:
        raise InputError("train_cases and test_cases are both empty: name at least one case")
    return split


def open_synapse(data_dir: Path, *, progress: bool = True) -> PreparedDataset:
    """Open the Synapse data where ``msa2net prepare synapse`` puts them; ``progress`` has nothing to show."""
    from msa2net_lib.data.datasets import PreparedDataset

    return PreparedDataset.open(data_dir / "synapse")
