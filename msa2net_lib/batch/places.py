"""Where the jobs of a batch run keep what they make, and the data that they open."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from msa2net_lib.batch.plan import TRAINING, Job, Plan
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.registry import RECORD
from msa2net_lib.utils.files import write_text

OF_RUN = "of_run.txt"
"""In the folder of a training's job: where the training lies, and what it is a function of."""


def training_folder(plan: Plan, seed: int, results: Path = Path()) -> Path:
    """Where a main training of the batch lies; the first seed's is lesson 10's own, which shows it."""
    return results / TRAINING / "run" if seed == plan.seeds[0] else results / "runs" / "msa2net" / f"seed_{seed}"


def job_folder(name: str, results: Path = Path()) -> Path:
    """Where a job keeps its record and log."""
    return results / "jobs" / name


def scores_file(seed: int, selection: str) -> Path:
    """Where the scores of a training lie, by what its weights were chosen (`SELECTION_FILES`)."""
    return job_folder(f"evaluate-{seed}") / f"scores_{selection}.csv"


def make_room(folder: Path, job: Job, digest: str) -> None:
    """Make a training's folder ready for a job on data of this digest: empty, or with what the job did there so far.

    What another run left is renamed, not lost, and the job that made it is no longer done. Which run a folder is of
    lies in the job's own folder: who deletes that has the training done anew.
    """
    mark, of = job_folder(job.name) / OF_RUN, f"{folder.as_posix()} {job.key} {digest}"
    if folder.is_dir() and not (mark.is_file() and mark.read_text(encoding="utf-8") == of):
        for other in Path("jobs").glob(f"*/{OF_RUN}"):
            if other.read_text(encoding="utf-8").startswith(f"{folder.as_posix()} "):
                for name in ("done", RECORD, OF_RUN):
                    (other.parent / name).unlink(missing_ok=True)
        number = next(n for n in itertools.count(1) if not folder.with_name(f"{folder.name}_before_{n}").exists())
        aside = folder.rename(folder.with_name(f"{folder.name}_before_{number}"))
        print(f"{folder}: held another run, which lies in {aside} now")
    write_text(mark, of)


def open_scans(plan: Plan, name: str, checkout: Path) -> Any:
    """Open a data set of scans by the plan's folder. Raises: `InputError` where it is not there or has no test case."""
    from msa2net_lib.data.catalog import open_dataset

    dataset = open_dataset(name, checkout / plan.data_dir, progress=False)
    if not dataset.test_cases:
        raise InputError(f"{dataset.root}: lists no test case; prepare it with test cases")
    return dataset
