"""Rows of Tables 1 and 2 in a batch: every network built and stepped once, and networks trained and scored alike."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.batch.places import make_room, open_scans, scores_file, training_folder
from msa2net_lib.batch.plan import Job, Plan
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import sha256, write_text

if TYPE_CHECKING:
    from msa2net_lib.paper.reproduced.side_by_side import RowRun

STEP_SIZE = 64
TOO_LARGE = {"dermosegdiff": "dermosegdiff_small"}
"""What stands for a network that no laptop trains: it is counted, and this one takes the step."""


def row_folder(table: str, network: str, seed: int) -> Path:
    """Where a row's training lies in the results of a profile, and what `found_runs` reads."""
    from msa2net_lib.paper.reproduced.side_by_side import RUNS

    return RUNS / table / network / f"seed_{seed}"


def try_networks(plan: Plan, job: Job, checkout: Path) -> dict[str, Any]:
    """Build every network of Tables 1 and 2, count it and take one step of the optimizer; numbers by network.

    Raises: `InputError` naming those that failed, after all were tried.
    """
    from msa2net_lib.baselines.table import NETWORKS

    numbers: dict[str, Any] = {}
    failed = []
    for name in (name for name, entry in NETWORKS.items() if entry.row):
        try:
            numbers |= {f"{name}: {what}": value for what, value in _tried(name).items()}
            print(f"{name}: built, counted, stepped", flush=True)
        except Exception as error:  # whatever one does, the others are tried
            failed.append(f"{name} ({type(error).__name__}: {(str(error) or 'no message').splitlines()[0]})")
            print(f"{name}: failed", flush=True)
    if failed:
        raise InputError(f"could not be built, counted and stepped: {'; '.join(failed)}")
    return {"numbers": numbers, "data_sha256": {}}


def _tried(name: str) -> dict[str, float]:
    import torch

    from msa2net_lib.baselines.registry import build_network
    from msa2net_lib.baselines.spec import has_own_loss
    from msa2net_lib.baselines.table import NETWORKS, tables_of
    from msa2net_lib.losses import build_loss
    from msa2net_lib.paper.reproduced.side_by_side import counted

    counts = counted(name, tables_of(name)[0])
    classes = NETWORKS[name].classes or 9
    torch.manual_seed(0)
    network = build_network(TOO_LARGE.get(name, name), classes, STEP_SIZE).train()
    images = torch.rand(2, 3, STEP_SIZE, STEP_SIZE)
    target = torch.randint(classes, (2, STEP_SIZE, STEP_SIZE))
    loss = (
        network(images, target)
        if has_own_loss(network)
        else build_loss("boundary_dou", classes)(network(images), target)
    )
    loss.backward()
    torch.optim.SGD(network.parameters(), lr=1e-3).step()
    if not torch.isfinite(loss):
        raise InputError(f"its loss is {loss.item()} after one step")
    return {"parameters, M": counts["counted_m"], "multiply-adds at 224, G": counts["counted_g"], "loss": loss.item()}


def train_network(plan: Plan, job: Job, checkout: Path) -> dict[str, Any]:
    """Train a row's network and score its last step's weights; a failure is left for the tables, and raised."""
    from msa2net_lib.paper.reproduced.side_by_side import ROW_FILE

    given = job.parameters
    home = row_folder(given["table"], given["network"], given["seed"])
    (home / ROW_FILE).unlink(missing_ok=True)
    with suppress(OSError):  # nothing else is in it where the data could not be opened
        home.rmdir()
    try:
        return _trained(plan, job, checkout, home)
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        write_text(home / ROW_FILE, json.dumps({"why": f"failed: {why}"}) + "\n")
        raise


def _trained(plan: Plan, job: Job, checkout: Path, home: Path) -> dict[str, Any]:
    from msa2net_lib.evaluation.images import evaluate_images
    from msa2net_lib.evaluation.volumes import evaluate
    from msa2net_lib.paper.reproduced.side_by_side import ROW_FILE, SCORES_FILE
    from msa2net_lib.train_config import TrainConfig
    from msa2net_lib.training import choose_device, train

    given = job.parameters
    dataset = _open(plan, given["dataset"], checkout)
    network = row_config(given, len(dataset.class_names) + 1)
    config = TrainConfig.from_recipe(given["recipe"], seed=given["seed"], **given["changes"])
    make_room(home, job, dataset.digest())
    result = train(network, config, dataset, home, device=plan.device, progress=False)
    trained = result.network.to(choose_device(plan.device))
    if hasattr(dataset, "test_cases"):
        evaluation: Any = evaluate(trained, dataset, protocols=("paper",), progress=False, keep_predictions=False)
        table, dsc = evaluation.scores.set_index("protocol"), evaluation.mean("paper")[0]
    else:
        evaluation = evaluate_images(trained, dataset, progress=False, keep_predictions=False)
        table, dsc = evaluation.by_image, float(evaluation.scores.loc["pooled", "dsc"])
    scores = write_text(home / SCORES_FILE, table.to_csv())
    write_text(home / ROW_FILE, json.dumps({"data": given["dataset"]}) + "\n")
    assert result.weights is not None
    return {
        "numbers": {"steps": int(result.history[-1]["step"]), "mean DSC, last step": dsc},
        "data_sha256": {given["dataset"]: dataset.digest()}
        | {file.name: sha256(file) for file in (result.weights, scores)},
        "folder": home.as_posix(),
        "network": network.to_dict(),
        "training": config.to_dict(),
    }


def row_config(given: Any, num_classes: int) -> Any:
    """What to build for a row's job. Raises: `InputError` for a size or classes that the network does not take."""
    from msa2net_lib.baselines.registry import find_network
    from msa2net_lib.baselines.spec import NetworkSpec
    from msa2net_lib.config import NetworkConfig

    name, size = given["network"], given["image_size"]
    pretrained = given["pretrained"] and bool(find_network(name).weights)
    spec = NetworkSpec(name, num_classes, size, {}, pretrained)
    find_network(name).check(spec)
    if name.startswith("msa2net"):
        preset = name.partition("_")[2] or "paper"
        return NetworkConfig.from_preset(preset, num_classes=num_classes, image_size=size, pretrained=pretrained)
    return spec


def _open(plan: Plan, name: str, checkout: Path) -> Any:
    from msa2net_lib.data.catalog import DATASETS
    from msa2net_lib.lessons.l11_evaluation.study import skin_plan

    if name in DATASETS and DATASETS[name].kind == "images":
        return skin_plan(plan.profile).open(checkout / plan.data_dir, progress=False)
    return open_scans(plan, name, checkout)


def row_runs(plan: Plan, checkout: Path) -> list[RowRun]:
    """All that the rows of Tables 1 and 2 have: this batch's trainings, the main one's, and what was measured once."""
    from msa2net_lib.paper.reproduced.side_by_side import found_runs, measured_once, read_run
    from msa2net_lib.training.files import RECORD_FILE

    runs = measured_once(checkout / "benchmarks" / "results") + found_runs(Path())
    for seed in plan.seeds:
        scores, record = scores_file(seed, "last"), training_folder(plan, seed) / RECORD_FILE
        if scores.is_file() and record.is_file():
            runs.append(read_run(scores, record, plan.main_network, seed, plan.dataset))
    return runs
