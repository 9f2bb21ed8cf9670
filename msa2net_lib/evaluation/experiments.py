"""Experiments: the same training run for several networks and seeds, scored and compared.

One seed decides everything random in a run, so at one seed all networks see the same slices in the same
order with the same augmentation. Differences are therefore taken seed by seed (`evaluation.intervals`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from torch import nn

from msa2net_lib.baselines.spec import Config
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training.files import STATE_FILE
from msa2net_lib.utils.files import read_json, write_text

NetworkT = TypeVar("NetworkT")


def run_digest(*settings: Any) -> str:
    """Sixteen letters that differ as soon as any setting does; settings: what JSON can hold.

    Example:
        >>> run_digest({"steps": 3}, "data") == run_digest({"steps": 4}, "data")
        False
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def cached_run(
    make: Callable[[Path | None], tuple[dict[str, Any], NetworkT]],
    settings: Sequence[Any],
    folder: str | Path | None,
    *,
    resume: bool = False,
    look: Callable[[NetworkT], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Make a run, or read back the row that the same settings left: every comparison's way to go on after a stop.

    Args:
        make: trains and scores; called with the folder for its training state (None: keep none), and returns the
            run's row, as JSON can hold it, and the trained network.
        settings: all that the run rests on, as JSON can hold it; see `run_digest`.
        folder: where the row is kept under the digest of its settings; None keeps nothing. Delete it after changing
            the library.
        resume: keep the training's state while it lasts, so that it goes on after a stop, and its weights.
        look: sees the network and adds columns to the row. The run is not read back then but goes on from its
            finished training, which stays in the folder.

    Returns:
        The row.
    """
    if folder is None:
        row, network = make(None)
        return {**row, **(look(network) if look else {})}
    key = run_digest(*settings)
    path = Path(folder) / f"{key}.json"
    if look is None and path.is_file():
        return read_json(path)
    state = Path(folder) / key if look or resume else None
    row, network = make(state)
    if look is not None:
        return {**row, **look(network)}
    write_text(path, json.dumps(row))
    if state is not None:  # three times the size of the weights, and of no more use
        (state / STATE_FILE).unlink(missing_ok=True)
    return row


def compare(
    variants: Mapping[str, Config],
    config: TrainConfig,
    seeds: Sequence[int],
    dataset: PreparedDataset,
    output_dir: str | Path | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    look: Callable[[str, Any], dict[str, Any]] | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """Train and score every variant with every seed; the last step's weights on the test cases, no selection.

    The networks get as many classes as the data set has.

    Returns one row per run: variant, seed, ``dsc`` (0 to 1) and ``hd95`` (voxels) as means over organs, the DSC of each
    organ, final loss, parameters, minutes. output_dir, resume, and ``look(variant, network)``, which sees every trained
    network and adds columns to its row: see `cached_run`. Raises: `InputError` without variants or seeds.
    """
    if not variants or not seeds:
        raise InputError("nothing to compare: give at least one variant and one seed")
    rows, classes = [], len(dataset.class_names) + 1
    for seed in seeds:
        run_config = replace(config, seed=seed)
        for name, variant in variants.items():
            network = replace(variant, num_classes=classes)
            make = partial(run_once, network, run_config, dataset, device=device, progress=progress)
            settings = (network.to_dict(), run_config.to_dict(), dataset.digest())
            seen = None if look is None else partial(look, name)
            rows.append(
                {"variant": name, "seed": seed} | cached_run(make, settings, output_dir, resume=resume, look=seen)
            )
    return pd.DataFrame(rows)


def run_once(
    network: Config | nn.Module,
    config: TrainConfig,
    dataset: PreparedDataset,
    state: Path | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
) -> tuple[dict[str, Any], Any]:
    """Train one network (its state in the folder ``state``) and score it: the values of a row of `compare`."""
    result = train(network, config, dataset, state, device=device, progress=progress)
    evaluation = evaluate(result.network, dataset, protocols=("paper",), progress=progress)
    dsc, hd95 = evaluation.mean("paper")
    row = {
        "dsc": dsc,
        "hd95": hd95,
        **evaluation.by_organ("paper")["dsc"].add_prefix("dsc ").to_dict(),
        "loss": result.history[-1]["loss"],
        "parameters": count_parameters(result.network),
        "minutes": round(result.minutes, 2),
    }
    return row, result.network


def read_measurement(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a measurement that `benchmarks/` committed: its runs, as `compare` returns them, and the rest of the file.

    Raises: `InputError` if the file is missing or holds no runs.
    """
    path = Path(path)
    try:
        record = read_json(path)
        return pd.DataFrame(record.pop("runs")), record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: holds no measured runs ({type(error).__name__}); measure anew") from error
