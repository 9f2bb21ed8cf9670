"""Runs of `lessons.l15_integration.study` as tables and sentences: what a gate gains in a host, and what it costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch

from msa2net_lib.evaluation.intervals import BEYOND, NOT_KNOWN, against_noise, paired_interval
from msa2net_lib.lessons.l15_integration.study import CLASSES, OWN, WITHOUT, Host
from msa2net_lib.losses import build_loss
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.engine import choose_device
from msa2net_lib.training.optimizer import build_optimizer


def training_step(host: Host, variant: str, image_size: int, batch: int, device: str = "auto") -> Callable[[], None]:
    """One training step of a host, to be timed: forward, loss, backward, optimizer, on noise and random labels."""
    where = choose_device(device)
    network: Any = host.make(variant, seed=0).to(where, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    loss, optimizer = build_loss("boundary_dou", CLASSES), build_optimizer(network, TrainConfig())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 1, image_size, image_size, generator=generator).to(where)
    target = torch.randint(0, CLASSES, (batch, image_size, image_size), generator=generator).to(where)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(network(images), target).backward()
        optimizer.step()

    return step


def step_seconds(
    host: Host, variants: Sequence[str], image_size: int, batch: int, repeats: int, device: str = "auto"
) -> dict[str, list[float]]:
    """Seconds of a training step by variant, one of each per round, so that a drifting clock touches all alike."""
    steps = {variant: training_step(host, variant, image_size, batch, device) for variant in variants}
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for round_number in range(2 + repeats):  # two to warm up
        for variant, step in steps.items():
            started = time.perf_counter()
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_number >= 2:
                seconds[variant].append(time.perf_counter() - started)
    return seconds


def cost_table(chosen: Sequence[Host], image_size: int, batch: int, repeats: int, device: str = "auto") -> pd.DataFrame:
    """What a gate costs: one row per host and variant, against the host without gate.

    Columns: host, variant, parameters, ``added`` (parameters), ``step_ms`` (median of a training step), ``ratio``
    (median over rounds of its time to that without gate).
    """
    rows = []
    for host in chosen:
        seconds = step_seconds(host, host.variants, image_size, batch, repeats, device)
        counts = {variant: count_parameters(host.make(variant, seed=0)) for variant in host.variants}
        for variant, times in seconds.items():
            ratios = [one / other for one, other in zip(times, seconds[WITHOUT], strict=True)]
            rows.append(
                {
                    "host": host.name,
                    "variant": variant,
                    "parameters": counts[variant],
                    "added": counts[variant] - counts[WITHOUT],
                    "step_ms": round(1000 * statistics.median(times), 2),
                    "ratio": round(statistics.median(ratios), 3),
                }
            )
    return pd.DataFrame(rows)


def effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Differences of DSC in points, paired by seed, with their 95 % intervals: one row per host and comparison.

    runs: as `compare_hosts` returns them. Compared: every variant with `WITHOUT`; "masag" with "constant", which is
    what the map is worth; and "masag" with `OWN`, the gate that a host comes with. Columns: host, variant, against,
    seeds, difference, low, high, ``verdict`` (`evaluation.intervals.against_noise`).
    """
    rows = []
    for host, of_host in runs.groupby("host", sort=False):
        scores = of_host.pivot(index="seed", columns="variant", values="dsc")
        pairs = [(variant, WITHOUT) for variant in of_host.variant.unique() if variant != WITHOUT]
        for variant, against in [*pairs, ("masag", "constant"), ("masag", OWN)]:
            if variant not in scores or against not in scores:
                continue
            difference, low, high = (100 * value for value in paired_interval(scores[variant], scores[against]))
            values = {"difference": difference, "low": low, "high": high, "verdict": against_noise(low, high)}
            rows.append({"host": host, "variant": variant, "against": against, "seeds": len(scores)} | values)
    return pd.DataFrame(rows)


def sentences(table: pd.DataFrame) -> list[str]:
    """What `effects` say of MASAG, in words: a line per host and comparison, then how many hosts it helps."""
    lines = []
    of_masag: pd.DataFrame = table.loc[table.variant == "masag"]
    for row in of_masag.to_dict("records"):
        interval = f", 95 % interval {row['low']:+.2f} to {row['high']:+.2f}" if row["verdict"] != NOT_KNOWN else ""
        gain = f"{row['difference']:+.2f} points of DSC{interval}: {row['verdict']}"
        lines.append(f"{row['host']}: MASAG minus {row['against']}: {gain}")
    for against in of_masag.against.unique():
        rows: pd.DataFrame = of_masag.loc[of_masag.against == against]
        signs = rows.difference[rows.verdict == BEYOND]
        above, below, count = sum(signs > 0), sum(signs < 0), len(rows)
        told = f"beyond noise above in {above}, below in {below}, neither in {count - above - below} of {count} host(s)"
        lines.append(f"MASAG against {against}: {told}")
    return lines
