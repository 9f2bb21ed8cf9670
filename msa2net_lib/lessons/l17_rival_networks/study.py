"""What each network of Tables 1 and 2 is and costs, a rule of one's own on its skips, and what was measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from msa2net_lib.analysis.complexity import count_work, used_and_unused
from msa2net_lib.baselines.registry import build_network
from msa2net_lib.baselines.table import NETWORKS, NetworkEntry
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import read_measurement
from msa2net_lib.evaluation.intervals import t_interval
from msa2net_lib.lessons.l17_rival_networks.skips import Trace, one_pass, trace_skips
from msa2net_lib.nn.adapters import GatedSkip
from msa2net_lib.paper.tables import table_1

SKIPS = ("concatenation", "addition", "attention gate", "channel transformer", "cross attention", "bridge", "MASAG")
"""Ways of treating a skip, in the order of the page."""
RIVALS = tuple(
    sorted(
        (name for name, entry in NETWORKS.items() if entry.tables), key=lambda name: SKIPS.index(NETWORKS[name].skip)
    )
)
"""Networks that are rows of Table 1 or 2, MSA²Net's own row last, by what they do with a skip."""
SIZE = 224
SCORES = ("dsc", "low", "high", "over", "seeds", "parameters_m", "multiply_adds_g", "why")


@dataclass(frozen=True)
class Anatomy:
    """A network as built: where its skips join, parameters, those that never get a gradient, multiply-adds.

    discarded: multiply-adds of the original code whose result it throws away, not in ``multiply_adds``. Of DermoSegDiff
    all is of one call of its denoiser, of which a mask takes 250.
    """

    name: str
    entry: NetworkEntry
    trace: Trace
    parameters: int
    unused: int
    multiply_adds: int
    discarded: int = 0


@cache
def anatomy(name: str, size: int = SIZE) -> Anatomy:
    """Look at one network of the registry, with 9 classes for Table 1, else 2. Needs no memory for weights."""
    entry, (_, network) = NETWORKS[name], _built(name, size, None)
    counts = used_and_unused(network).sum()
    return Anatomy(name, entry, trace_skips(network), int(counts.sum()), int(counts.unused), *multiply_adds(name, size))


@cache
def multiply_adds(name: str, size: int = SIZE, classes: int | None = None) -> tuple[int, int]:
    """Multiply-adds of one image: those that the logits need, and those whose result the original code throws away.

    classes: as `build_empty` takes it.
    """
    network, once = _built(name, size, classes)
    throws = "compute_discarded" in inspect.signature(type(network).__init__).parameters
    needed = _work(once)
    return needed, _work(build_empty(name, size, classes, compute_discarded=True)) - needed if throws else 0


@lru_cache(maxsize=1)
def _built(name: str, size: int, classes: int | None) -> tuple[Any, nn.Module]:
    """A network, and what makes its logits in one call; anatomy and multiply-adds, asked for in turn, share it."""
    network = build_empty(name, size, classes)
    return network, one_pass(network)


def build_empty(name: str, size: int = SIZE, classes: int | None = None, **options: Any) -> Any:
    """A network without memory for weights; classes: by default 9 for a row of Table 1, else 2."""
    with torch.device("meta"):
        return build_network(name, classes or (9 if "1" in NETWORKS[name].tables else 2), size, **options)


def _work(network: nn.Module) -> int:
    return int(count_work(network).products.sum())


def anatomy_table() -> pd.DataFrame:
    """One line for each of `RIVALS`: skip, join by stride, parameters and unused ones in M, multiply-adds in G."""
    rows = {}
    for name in RIVALS:
        found = anatomy(name)
        rows[name] = {
            "skip": found.entry.skip,
            "joins": "; ".join(f"1/{skip.stride}: {skip.words}" for skip in found.trace.skips),
            "parameters_m": found.parameters / 1e6,
            "unused_m": found.unused / 1e6,
            "multiply_adds_g": found.multiply_adds / 1e9,
            "discarded_g": found.discarded / 1e9,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")


def transunet_settings() -> pd.DataFrame:
    """Parameters (M) and multiply-adds (G) of TransUNet at sizes and depths that its code takes; printed ones last."""
    rows = {}
    for size, depth in ((224, 12), (256, 12), (384, 12), (512, 12), (224, 11), (224, 10)):
        network = build_empty("transunet", size, depth=depth)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        rows[f"{size} pixels, {depth} blocks"] = parameters / 1e6, _work(network) / 1e9
    printed = table_1().loc["TransUNet"]
    rows["printed in Table 1"] = printed.parameters_m, printed.flops_g
    return pd.DataFrame.from_dict(rows, orient="index", columns=["parameters, M", "multiply-adds, G"])


def plug(network: Any, rule: Callable[[int], nn.Module]) -> Any:
    """Put a skip rule on every skip of a network whose decoder levels are called with (features, skip).

    rule: channels of the skip -> a module (x, g) -> y, all (b, c, h, w). The decoder's features are brought to the
    skip's channels and grid first (`nn.adapters.GatedSkip`). For U-Net, Attention U-Net, TransUNet, ScaleFormer and
    UCTransNet; returns the network.
    """
    levels, widths = list(network.decoder), {}
    hooks = [
        level.register_forward_pre_hook(
            lambda level, inputs: widths.update({level: [x.shape[1] for x in inputs if x is not None]})
        )
        for level in levels
    ]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, *network.config.height_width))
    for hook in hooks:
        hook.remove()
    for level in levels:
        features, *skip = widths[level]
        if skip:
            level.rule = GatedSkip(skip[0], features, gate=rule(skip[0]))
            level.register_forward_pre_hook(lambda level, inputs: (inputs[0], level.rule(inputs[1], inputs[0])))
    return network


def read_scores(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Scores of the committed trainings with what each network costs; an empty table where nothing was measured.

    Index network; columns `SCORES`: dsc, low, high (0 to 1; 95 %, by Student's t over ``over``, "seeds" where there are
    three or more, else "cases"), seeds, parameters_m, multiply_adds_g (of the network trained, with what its code
    throws away), why.

    Raises: `InputError` for runs that do not say how many multiply-adds.
    """
    if not Path(path).is_file():
        return pd.DataFrame(), {}
    runs, record = read_measurement(path)
    rows: dict[str, dict[str, Any]] = {}
    for name, group in runs.groupby("network", sort=False):
        done: Any = group[group.dsc.notna()] if "dsc" in group else group.iloc[:0]
        if done.empty:
            rows[str(name)] = {"why": "; ".join(dict.fromkeys(group.why.dropna()))}
            continue
        if "multiply_adds" not in done or done.multiply_adds.isna().any():
            raise InputError(f"{path}: {name}'s runs do not say how many multiply-adds; measure anew")
        over = "seeds" if len(done) > 2 else "cases"
        scores = done.dsc.to_numpy() if over == "seeds" else pd.DataFrame(list(done.cases)).mean().to_numpy()
        low, high = t_interval(scores)
        parameters, work = done.parameters.iloc[0] / 1e6, done.multiply_adds.iloc[0] / 1e9
        values = float(done.dsc.mean()), low, high, over, len(done), parameters, work, ""
        rows[str(name)] = dict(zip(SCORES, values, strict=True))
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=list(SCORES)).rename_axis("network"), record
