"""What does nnU-Net's 2-D pipeline reach on the virtual cohort in so many CPU minutes?

The row of what people pick instead. nnU-Net plans, preprocesses, trains and predicts by itself; only the length is
set: its learning rate's decay is laid over the steps that fit the minutes. The predictions are scored by `msa2net
score`, as any other program's. Needs the extra ``benchmarks``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measure import RESULTS, parser_of, write_record

from msa2net_lib import open_dataset
from msa2net_lib.data.volumes import Volume, write_volume
from msa2net_lib.utils.system_info import versions

RESULT = RESULTS / "nnunet.json"
NAME = "Dataset001_VirtualCohort"
STEPS_PER_EPOCH = 10  # nnU-Net's 250 would leave a few epochs only, by which its schedule goes
PACKAGES = ("nnunetv2", "torch", "numpy", "batchgeneratorsv2", "dynamic-network-architectures")


def main() -> int:
    """Write the data, run the pipeline, score, record; return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--work", type=Path, default=Path("results/nnunet"), help="nnU-Net's three folders")
    parser.add_argument("--minutes", type=float, default=8.0, help="of training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    mirror = "predict from mirrored copies too, four times the work; nnU-Net's default"
    parser.add_argument("--mirroring", action=argparse.BooleanOptionalAction, default=True, help=mirror)
    arguments = parser.parse_args()
    folders = {name: (arguments.work / name).resolve() for name in ("raw", "preprocessed", "results")}
    os.environ |= {f"nnUNet_{name}": str(folder) for name, folder in folders.items()}
    os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f", "nnUNet_def_n_proc": "1"}
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)

    dataset = open_dataset("virtual", arguments.data_dir)
    cases = write_cases(dataset, folders["raw"] / NAME)
    spent: dict[str, float] = {}
    start = time.perf_counter()
    plans = plan(folders)
    spent["plan and preprocess"] = time.perf_counter() - start
    os.environ |= {"nnUNet_n_proc_DA": "0"}  # augment in this process; its planner wants at least 1
    torch.set_num_threads(arguments.threads)
    start = time.perf_counter()
    trained = train(folders, plans, 60 * arguments.minutes)
    spent["train"] = time.perf_counter() - start
    start = time.perf_counter()
    predictions = arguments.work / "predictions"
    predict(folders["raw"] / NAME / "imagesTs", predictions, trained.output_folder_base, arguments.mirroring)
    spent["predict"] = time.perf_counter() - start

    scores = arguments.work / "scores.csv"
    command = [
        *(sys.executable, "-m", "msa2net_lib", "score", "--predictions", str(predictions)),
        *("--references", str(folders["raw"] / NAME / "labelsTs"), "--output", str(scores)),
    ]
    subprocess.run(command, check=True)
    table: Any = pd.read_csv(scores)
    configuration = plans["configurations"]["2d"]
    record = {
        "data": f"virtual cohort: {cases['train']} patients to train on, {cases['test']} held out",
        "minutes": {name: round(seconds / 60, 2) for name, seconds in spent.items()},
        "threads": arguments.threads,
        "seed": arguments.seed,
        "steps": trained.num_epochs * trained.num_iterations_per_epoch,
        "batch_size": configuration["batch_size"],
        "patch_size": configuration["patch_size"],
        "parameters": sum(values.numel() for values in trained.network.parameters()),
        "seconds_a_step": round(spent["train"] / (trained.num_epochs * trained.num_iterations_per_epoch), 2),
        "mirroring": arguments.mirroring,
        "selection": "last step",
        "scored_by": "msa2net score",
        "columns": list(table.columns),
        "rows": json.loads(table.to_json(orient="values")),
        "versions": versions(PACKAGES),
    }
    write_record(arguments.output or RESULT, "What does nnU-Net's 2-D pipeline reach in so many CPU minutes?", record)
    return 0


def write_cases(dataset: Any, folder: Path) -> dict[str, int]:
    """Write the cohort as nnU-Net's raw data: scans in HU, labels, dataset.json; return how many of each group."""
    train = sorted({name.split("_slice")[0] for name in dataset.train_slices})
    groups = {"Tr": train, "Ts": list(dataset.test_cases)}
    for group, names in groups.items():
        for name in names:
            case = load(dataset, name)
            hu = np.round(case.image * 400 - 125).astype(np.int16)
            place = {"spacing": case.spacing, "origin": case.placement.origin, "direction": case.placement.direction}
            for kind, array, end in (("images", hu, "_0000"), ("labels", case.label, "")):
                path = folder / f"{kind}{group}" / f"{name}{end}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_volume(Volume(array, **place), path)
    labels = {"background": 0} | {name: index for index, name in enumerate(dataset.class_names, start=1)}
    about = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": len(train), "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about, indent=2))
    return {"train": len(train), "test": len(dataset.test_cases)}


def load(dataset: Any, name: str) -> Any:
    """A whole case: a held-out one as it is, a training one from its slices."""
    if name in dataset.test_cases:
        return dataset.load_case(name)
    slices = [dataset.load_slice(one) for one in dataset.train_slices if one.split("_slice")[0] == name]
    images, labels = (np.stack([pair[index] for pair in slices]) for index in range(2))
    like = dataset.load_case(dataset.test_cases[0])
    return type(like)(name, images, labels, like.spacing, like.class_names, like.placement)


def plan(folders: dict[str, Path]) -> dict[str, Any]:
    """Fingerprint, plan and preprocess for the 2-D configuration; return the plans."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api  # pyright: ignore[reportMissingImports]

    api.extract_fingerprints([1], num_processes=1, check_dataset_integrity=True, show_progress_bar=False)
    api.plan_experiments([1])
    api.preprocess([1], configurations=["2d"], num_processes=[1], show_progress_bar=False)
    return json.loads((folders["preprocessed"] / NAME / "nnUNetPlans.json").read_text())


def train(folders: dict[str, Path], plans: dict[str, Any], seconds: float) -> Any:
    """Train on all training patients for about so long: two steps are timed, and the schedule laid over the rest."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # pyright: ignore[reportMissingImports]

    about = json.loads((folders["raw"] / NAME / "dataset.json").read_text())
    trainer = nnUNetTrainer(plans | {"continue_training": False}, "2d", "all", about, device=torch.device("cpu"))  # type: ignore[arg-type]
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = STEPS_PER_EPOCH, 1
    trainer.initialize()
    batch, (height, width) = plans["configurations"]["2d"]["batch_size"], plans["configurations"]["2d"]["patch_size"]
    image = torch.randn(batch, 1, height, width)
    one = []
    for _ in range(2):
        start = time.perf_counter()
        found = trainer.network(image)
        loss: Any = sum(part.mean() for part in (found if isinstance(found, (list, tuple)) else [found]))
        loss.backward()
        one.append(time.perf_counter() - start)
        trainer.network.zero_grad()
    # Data, augmentation, loss and the validation step after each epoch take about a third more.
    trainer.num_epochs = max(2, int(seconds / (1.35 * one[-1] * STEPS_PER_EPOCH)))
    trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()
    print(
        f"{one[-1]:.2f} s a step alone; {trainer.num_epochs} epochs of {STEPS_PER_EPOCH} steps, batch {batch}",
        flush=True,
    )
    trainer.run_training()
    return trainer


def predict(images: Path, output: Path, trained: str, mirroring: bool) -> None:
    """Predict one case after the other, from its mirrored copies too or not."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # pyright: ignore[reportMissingImports]

    predictor = nnUNetPredictor(
        device=torch.device("cpu"), perform_everything_on_device=False, use_mirroring=mirroring, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(trained, use_folds=("all",), checkpoint_name="checkpoint_final.pth")
    output.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(str(images), str(output))


if __name__ == "__main__":
    sys.exit(main())
