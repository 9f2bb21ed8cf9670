"""What each kind of job does; each returns the numbers and checksums for its record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.batch.networks import row_runs, train_network, try_networks
from msa2net_lib.batch.places import make_room, open_scans, scores_file, training_folder
from msa2net_lib.batch.plan import ABLATION_LESSON, Job, Plan
from msa2net_lib.utils.files import sha256, write_text

if TYPE_CHECKING:
    import pandas as pd

    from msa2net_lib.paper.ablation.runs import AblationPlan

Outcome = dict[str, Any]
"""What a job adds to its record: "numbers", "data_sha256", and what else it knows."""
MEASURED_ABLATION = Path("benchmarks", "results", "ablation.json")


def work(plan: Plan, job: Job, checkout: Path | None = None) -> Outcome:
    """Do a job; the working folder is the profile's results. Raises: `InputError`, and whatever else goes wrong.

    checkout: of the workbook, whose data and notebooks are used; by default the one around the working folder.
    """
    if checkout is None:
        from msa2net_lib.lessons.execute import find_checkout  # loads what runs notebooks

        checkout = find_checkout()
    return WORK[job.kind](plan, job, checkout)


def _data(plan: Plan, job: Job, checkout: Path) -> Outcome:
    dataset = open_scans(plan, job.parameters["dataset"], checkout)
    numbers = {"training slices": len(dataset.train_slices), "test cases": len(dataset.test_cases)}
    return {"numbers": numbers, "data_sha256": {job.parameters["dataset"]: dataset.digest()}}


def _train(plan: Plan, job: Job, checkout: Path) -> Outcome:
    from msa2net_lib.config import NetworkConfig
    from msa2net_lib.train_config import TrainConfig
    from msa2net_lib.training import train

    given, settings = job.parameters, plan.settings
    changes = {"seed": given["seed"], "selection": given.get("SELECTION", "last")}
    changes |= {name.lower(): given[name] for name in ("STEPS", "BATCH_SIZE") if given.get(name)}
    dataset = open_scans(plan, given["dataset"], checkout)
    classes = len(dataset.class_names) + 1
    network = NetworkConfig.from_preset(settings.preset, num_classes=classes, pretrained=settings.pretrained)
    config = TrainConfig.from_recipe(settings.recipe, **changes)
    folder = training_folder(plan, given["seed"])
    make_room(folder, job, dataset.digest())
    result = train(network, config, dataset, folder, device=plan.device, progress=False)
    last = result.history[-1]
    assert result.weights is not None
    return {
        "numbers": {"steps": int(last["step"]), "last loss": last["loss"]},
        "data_sha256": {given["dataset"]: dataset.digest(), result.weights.name: sha256(result.weights)},
        "folder": folder.as_posix(),
        "network": network.to_dict(),
        "training": config.to_dict(),
    }


def _evaluate(plan: Plan, job: Job, checkout: Path) -> Outcome:
    """Score all weights that the training left: the last step's, and the best by what it was asked to choose on."""
    from msa2net_lib.checkpoints import load_network
    from msa2net_lib.evaluation.selections import SELECTION_FILES, SELECTIONS
    from msa2net_lib.evaluation.volumes import evaluate
    from msa2net_lib.utils.devices import choose_device

    given = job.parameters
    dataset = open_scans(plan, given["dataset"], checkout)
    protocols = ("paper", "strict") if dataset.load_case(dataset.test_cases[0]).spacing else ("paper",)
    numbers, checksums = {}, {given["dataset"]: dataset.digest()}
    for selection, name in SELECTION_FILES.items():
        weights, path = training_folder(plan, given["seed"]) / name, scores_file(given["seed"], selection)
        path.unlink(missing_ok=True)
        if selection != "last" and not weights.is_file():
            continue
        network = load_network(weights).to(choose_device(plan.device))
        evaluation = evaluate(network, dataset, protocols=protocols, progress=False, keep_predictions=False)
        write_text(path, evaluation.scores.to_csv(index=False))
        dsc, hd95 = evaluation.mean("paper")
        numbers |= {f"mean DSC, {SELECTIONS[selection]}": dsc, f"mean HD95 in voxels, {SELECTIONS[selection]}": hd95}
        checksums |= {file.name: sha256(file) for file in (weights, path)}
    return {"numbers": numbers, "data_sha256": checksums, "protocol": "paper"}


def _ablation(plan: Plan, job: Job, checkout: Path) -> Outcome:
    given = job.parameters
    _, runs = ablation_runs(plan, checkout, rows=[given["row"]], seeds=given["seeds"])
    return {
        "numbers": {"mean DSC": float(runs.dsc.mean()), "mean HD95, voxels": float(runs.hd95.mean())},
        "data_sha256": {given["dataset"]: open_scans(plan, given["dataset"], checkout).digest()},
        "folder": f"{ABLATION_LESSON}/runs",
    }


def ablation_runs(plan: Plan, checkout: Path, **chosen: Any) -> tuple[AblationPlan, pd.DataFrame]:
    """What the ablation of a plan trains, and its runs, all or the ``rows`` and ``seeds`` chosen.

    They lie where lesson 12 looks for them: those that are done are read back.
    """
    from msa2net_lib.paper.ablation.runs import ablation_plan, run_ablation, runs_folder

    options = {name.lower(): value for name, value in plan.shared_with(ABLATION_LESSON).items()}
    ablation = ablation_plan(
        plan.profile, seed=plan.seeds[0], seeds=plan.ablation_seeds, dataset=plan.dataset, **options
    )
    dataset, folder = open_scans(plan, plan.dataset, checkout), runs_folder(Path.cwd().parent, plan.profile)
    return ablation, run_ablation(ablation, dataset, folder, device=plan.device, **chosen)


def _tables(plan: Plan, job: Job, checkout: Path) -> Outcome:
    """Write Tables 1, 3 and A with the reproduced rows below to ``tables/``, and Tables 1 and 2 row by row.

    Table 2 is lesson 11's, which trains and scores on images. Table 3 has the batch's own ablation first, then the
    longer one that was measured once and lies in the checkout.
    """
    from msa2net_lib.evaluation.selections import SELECTION_FILES
    from msa2net_lib.paper.reproduced.runs import ReproducedRun
    from msa2net_lib.paper.reproduced.side_by_side import side_by_side
    from msa2net_lib.paper.reproduced.table_1 import reproduced_table_1
    from msa2net_lib.paper.reproduced.table_3 import measured_by, measured_once, reproduced_table_3
    from msa2net_lib.paper.reproduced.table_a import reproduced_table_a
    from msa2net_lib.training.files import RECORD_FILE

    named: dict[str, Any] = {"name": f"{plan.settings.preset}, recipe {plan.settings.recipe}", "data": plan.dataset}
    runs = [
        ReproducedRun.from_files(path, training_folder(plan, seed) / RECORD_FILE, selection=selection, **named)
        for seed in plan.seeds
        for selection in SELECTION_FILES
        if (path := scores_file(seed, selection)).is_file()
    ]
    ablation, found = ablation_runs(plan, checkout)
    blocks = [measured_by(ablation, found), measured_once(checkout / MEASURED_ABLATION, ablation.reading)]
    tables = {
        "table_1": reproduced_table_1(runs),
        "table_3": reproduced_table_3(blocks),
        "table_a": reproduced_table_a(),
    }
    rows = row_runs(plan, checkout)
    tables |= {f"table_{number}_rows": side_by_side(number, rows) for number in ("1", "2")}
    written = [write_text(Path("tables", f"{name}.csv"), table.to_csv()) for name, table in tables.items()]
    return {"numbers": {}, "data_sha256": {path.name: sha256(path) for path in written}}


def _lesson(plan: Plan, job: Job, checkout: Path) -> Outcome:
    from msa2net_lib.lessons.execute import notebook_path, run_lesson
    from msa2net_lib.lessons.records import read_record

    name, here = job.name.removeprefix("lesson-"), Path.cwd()
    error = run_lesson(notebook_path(checkout, name), plan.profile, here.parent, {**job.parameters})
    if error is not None:
        raise LessonFailedError(error)
    record = read_record(here.parent, plan.profile, name)
    if record is None:
        raise LessonFailedError("the notebook ran to its end without a record: its last cell has to call finish()")
    return {key: record[key] for key in ("numbers", "data_sha256", "seed")} | {"folder": name}


def _report(plan: Plan, job: Job, checkout: Path) -> Outcome:
    from msa2net_lib.batch.report import write_report

    here = Path.cwd()
    return {"numbers": {}, "data_sha256": {"index.html": sha256(write_report(here.parent, plan.profile))}}


class LessonFailedError(Exception):
    """A notebook stopped at an error; the message is its first line."""


WORK: dict[str, Callable[[Plan, Job, Path], Outcome]] = {
    "data": _data,
    "train": _train,
    "evaluate": _evaluate,
    "ablation": _ablation,
    "networks": try_networks,
    "network": train_network,
    "tables": _tables,
    "lesson": _lesson,
    "report": _report,
}
