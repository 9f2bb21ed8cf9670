"""Experiments: the same training run for several networks and seeds, scored and compared.

One seed decides everything random in a run, so at one seed all networks see the same slices in the same
order with the same augmentation. Differences are therefore taken seed by seed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.nn.network import MSA2Net, count_parameters
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training.state import STATE_FILE
from msa2net_lib.utils.files import write_text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def compare(
    variants: Mapping[str, NetworkConfig],
    config: TrainConfig,
    seeds: Sequence[int],
    dataset: PreparedDataset,
    output_dir: str | Path | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    look: Callable[[str, MSA2Net], dict[str, Any]] | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """Train and score every variant with every seed; the last step's weights on the test cases, no selection.

    Returns one row per run: variant, seed, ``dsc`` (0 to 1) and ``hd95`` (voxels) as means over organs,
    the DSC of each organ, final loss, parameters, minutes. With ``output_dir`` each finished run leaves a JSON
    file there, and a run whose configs and data are unchanged is read back instead of repeated: delete the
    folder after changing the library. ``look(variant, network)`` sees every trained network and adds columns to
    its row; runs then keep their training state in the folder instead, from which the network comes back. With
    ``resume`` a run keeps its training state while it lasts and goes on from it after a stop, and its weights stay.
    Raises: `InputError` without variants or seeds.
    """
    if not variants or not seeds:
        raise InputError("nothing to compare: give at least one variant and one seed")
    rows = []
    for seed in seeds:
        for name, network in variants.items():
            run_config = replace(config, seed=seed)
            key = _digest(network, run_config, dataset)
            path = None if output_dir is None or look else Path(output_dir) / f"{key}.json"
            if path is not None and path.is_file():
                row = json.loads(path.read_text(encoding="utf-8"))
            else:
                state = Path(output_dir) / key if output_dir is not None and (look or resume) else None
                seen = None if look is None else partial(look, name)
                row = run_once(network, run_config, dataset, state, device=device, progress=progress, look=seen)
                if path is not None:
                    write_text(path, json.dumps(row))
                    if state is not None:  # three times the size of the weights, and of no more use
                        (state / STATE_FILE).unlink(missing_ok=True)
            rows.append({"variant": name, "seed": seed} | row)
    return pd.DataFrame(rows)


def run_once(
    network: NetworkConfig,
    config: TrainConfig,
    dataset: PreparedDataset,
    output_dir: str | Path | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    look: Callable[[MSA2Net], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train one network (its state in ``output_dir``) and score it: the values of one row of `compare`."""
    result = train(network, config, dataset, output_dir, device=device, progress=progress)
    evaluation = evaluate(result.network, dataset, protocols=("paper",), progress=progress)
    dsc, hd95 = evaluation.mean("paper")
    return {
        "dsc": dsc,
        "hd95": hd95,
        **evaluation.by_organ("paper")["dsc"].add_prefix("dsc ").to_dict(),
        "loss": result.history[-1]["loss"],
        "parameters": count_parameters(result.network),
        "minutes": round(result.minutes, 2),
        **({} if look is None else look(result.network)),
    }


def summarize(runs: pd.DataFrame, baseline: str, column: str = "dsc") -> pd.DataFrame:
    """Mean and spread of a score over seeds, and the difference from a baseline taken seed by seed.

    runs: as `compare` returns it. Returns one row per variant, in the order of the runs: seeds, mean, standard
    deviation (n - 1), difference (mean over seeds), its standard deviation, the 95 % interval of the mean difference
    from ``low`` to ``high`` (paired t), and in how many seeds it is above 0. With one seed spreads are nan.
    Raises: `InputError` if the baseline is not among the variants.
    """
    order = list(dict.fromkeys(runs.variant))
    if baseline not in order:
        raise InputError(f"baseline={baseline!r} is not among the variants: {', '.join(order)}")
    scores = runs.pivot(index="seed", columns="variant", values=column)[order]
    differences = scores.sub(scores[baseline], axis=0)
    count: Any = scores.count()
    # Student's t: with three seeds the interval is 2.5 standard deviations wide to each side.
    freedom = np.maximum(count.to_numpy() - 1, 1)
    half = differences.std(ddof=1) / count**0.5 * stats.t.ppf(0.975, freedom)
    return pd.DataFrame(
        {
            "seeds": count,
            "mean": scores.mean(),
            "sd": scores.std(ddof=1),
            "difference": differences.mean(),
            "difference_sd": differences.std(ddof=1),
            "low": differences.mean() - half,
            "high": differences.mean() + half,
            "seeds_above": (differences > 0).sum(),
        }
    ).loc[order]


def paired_interval(first: ArrayLike, second: ArrayLike) -> tuple[float, float, float]:
    """Mean difference of two variants' scores over the same seeds, (n,) each, and its 95 % interval by paired t.

    Returns (difference, low, high), first minus second; with one seed the interval is nan. Raises: `InputError` unless
    both have the same length, at least 1.
    """
    one, other = (np.asarray(scores, dtype=float) for scores in (first, second))
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise InputError(f"scores of shapes {one.shape} and {other.shape}: give one score per seed for both")
    difference, count, half = one - other, len(one), math.nan
    if count > 1:
        half = difference.std(ddof=1) / count**0.5 * stats.t.ppf(0.975, count - 1)
    return float(difference.mean()), float(difference.mean() - half), float(difference.mean() + half)


def read_measurement(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a measurement that `benchmarks/` committed: its runs, as `compare` returns them, and the rest of the file.

    Raises: `InputError` if the file is missing or holds no runs.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return pd.DataFrame(record.pop("runs")), record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: holds no measured runs ({type(error).__name__}); measure anew") from error


def _digest(network: NetworkConfig, config: TrainConfig, dataset: PreparedDataset) -> str:
    """Sixteen letters that differ as soon as anything differs that a run rests on."""
    parts = json.dumps([network.to_dict(), config.to_dict(), dataset.digest()], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
