"""Cohorts of virtual patients in the BTCV layout: small ones to learn with, or ones of Synapse's own size.

A record beside the scans, ``cohort.json``, holds all that decides them and their checksums, so a stopped run
goes on where it was and altered files are made again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msa2net_lib.data.made import MadeFiles
from msa2net_lib.data.parallel import in_processes
from msa2net_lib.data.prepare import locked
from msa2net_lib.data.virtual.patient import PHASES, UPTAKE_HU, VirtualRecipe, make_virtual_patient
from msa2net_lib.data.virtual.scan import ScanSize, scan_recipe
from msa2net_lib.data.volumes import Volume, read_pair, write_volume
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import sha256
from msa2net_lib.utils.progress import progress_bar

TRAIN_IDS: tuple[int, ...] = (*range(1001, 2000), *range(3001, 6000))
TEST_IDS: tuple[int, ...] = (*range(2001, 3000), *range(6001, 10_000))
"""Case ids in the order in which they are given out: four digits as in BTCV, none of BTCV's own (0001 to 0080)."""


@dataclass(frozen=True)
class CohortSize:
    """How large scans are: the number of slices of each, patient by patient, and their pixels a side.

    A group with more patients than numbers starts over with the first.
    """

    train_slices: tuple[int, ...]
    test_slices: tuple[int, ...]
    pixels: int = 512

    def __post_init__(self) -> None:
        for slices in (*self.train_slices, *self.test_slices):
            ScanSize(slices, self.pixels)  # refuses what is none

    def scan(self, group: str, index: int) -> ScanSize:
        """Return the size of a group's patient ("train" or "held out"), counted from 0."""
        slices = self.train_slices if group == "train" else self.test_slices
        if not slices:
            raise InputError(f"size gives no number of slices for patients of the group {group!r}; give at least one")
        return ScanSize(slices[index % len(slices)], self.pixels)


# fmt: off
SYNAPSE_SIZE = CohortSize(
    train_slices=(117, 131, 163, 149, 148, 143, 96, 124, 131, 88, 89, 153, 93, 104, 98, 99, 90, 195),
    test_slices=(124, 98, 148, 85, 170, 133, 110, 198, 90, 156, 117, 139),
)
"""18 + 12 scans of 512 x 512 as in the published Synapse split.

Training: the 18 cases' own numbers in list order, 2211 slices. Held out: made up, so that as in TransUNet's
description of the data all 30 have 85 to 198 slices and 3779 together.
"""
# fmt: on


_Job = tuple[Volume, Volume, dict[str, Path], str, dict[str, Any]]
"""One patient to make, sent to the process that makes it: image, label, files, case id, what decides it."""


def _make(job: _Job) -> str:
    """Write the patient and return its case id."""
    image, label, files, case, wanted = job
    size = ScanSize(wanted["slices"], wanted["pixels"]) if "slices" in wanted else None
    made = make_virtual_patient(image, label, wanted["seed"], phase=wanted["phase"], size=size)
    for path, volume in zip(files.values(), made, strict=True):
        write_volume(volume, path)
    return case


def write_virtual_cohort(
    source: str | Path,
    destination: str | Path,
    *,
    patient: str = "0001",
    train: int | None = None,
    test: int | None = None,
    seed: int = 2024,
    size: CohortSize | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[list[str], list[str]]:
    """Write virtual patients in the BTCV layout and return their case ids (training, held out).

    ``source`` is a BTCV folder holding ``patient``; ``destination`` gets ``img/img1001.nii.gz`` with
    ``label/label1001.nii.gz`` and so on: training patients from "1001", held-out ones from "2001"
    (``TRAIN_IDS``, ``TEST_IDS``), with disjoint seeds and the contrast phases in turn. ``size`` lays them on the
    grid of clinical scans, ``SYNAPSE_SIZE`` on that of the Synapse data; without it they keep the source's voxels.
    ``train`` and ``test`` are numbers of patients: by default 6 and 4, or those that ``size`` lists. ``workers``
    processes run at once (default: one a core or patient). ``cohort.json`` records source checksum, parameters,
    seeds and the checksum of each file; patients that match it are not made again. Raises InputError if the
    source patient is missing or unreadable, or the destination holds other scans.
    """
    source, destination = Path(source), Path(destination)
    ids = _case_ids(train, test, size)
    if seed < 0:
        raise InputError(f"seed={seed}: choose a seed of 0 or more")
    paths = source / "img" / f"img{patient}.nii.gz", source / "label" / f"label{patient}.nii.gz"
    image, label = read_pair(*paths)
    plan = {"format": 2, "source_sha256": {path.name: sha256(path) for path in paths}, "seed": seed}
    plan |= {"recipe": asdict(VirtualRecipe()), "uptake_hu": UPTAKE_HU}
    if size is not None:
        plan["scan"] = scan_recipe()
    patients: dict[str, dict[str, Any]] = {}
    for group, cases in zip(("train", "held out"), ids, strict=True):
        for index, case in enumerate(cases):
            # Case numbers differ between the groups, hence so do the seeds.
            patients[case] = {"group": group, "seed": seed * 10_000 + int(case), "phase": PHASES[index % len(PHASES)]}
            if size is not None:
                patients[case] |= asdict(size.scan(group, index))

    def files(case: str) -> dict[str, Path]:
        return {kind: destination / kind / f"{kind}{case}.nii.gz" for kind in ("img", "label")}

    if MadeFiles(destination / "cohort.json", plan, patients, files).is_complete:
        return ids
    with locked(destination):
        cohort = MadeFiles(destination / "cohort.json", plan, patients, files)
        cohort.clear()
        jobs = [(image, label, files(case), case, patients[case]) for case in cohort.missing]
        options = {"desc": "virtual patients", "unit": "patient", "enabled": progress and bool(jobs)}
        with progress_bar(total=len(patients), initial=len(cohort.made), **options) as bar:
            for case in in_processes(_make, jobs, workers):
                cohort.add(case)
                cohort.save()
                bar.update()
    return ids


def _case_ids(train: int | None, test: int | None, size: CohortSize | None) -> tuple[list[str], list[str]]:
    """Return the ids of the training and the held-out patients."""
    train = train if train is not None else len(size.train_slices) if size else 6
    test = test if test is not None else len(size.test_slices) if size else 4
    if not (0 <= train <= len(TRAIN_IDS) and 0 <= test <= len(TEST_IDS)):
        most = f"0 to {len(TRAIN_IDS)} to train on and 0 to {len(TEST_IDS)} held out"
        raise InputError(f"train={train}, test={test}: ask for {most}, the ids of four digits that there are")
    return [f"{case}" for case in TRAIN_IDS[:train]], [f"{case}" for case in TEST_IDS[:test]]
