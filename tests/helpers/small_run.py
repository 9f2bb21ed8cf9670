"""A training run of seconds, for tests in this process and for those that start others (see its options)."""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path

import numpy as np

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.resize import normalize, resize_image, resize_label
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training.trainer import Trainer

SMALL = NetworkConfig.from_preset(
    "tiny",
    image_size=64,
    num_classes=3,
    encoder_options={"embed_dim": (8, 16, 32, 64), "depths": (1, 1, 1, 1), "transformer_dim_head": 8},
)
"""An eighth of the weights of `tiny`: a state is written in no time."""
CONFIG = TrainConfig(steps=6, batch_size=2, checkpoint_every=2, log_every=1, learning_rate=1e-3)


class Slices:
    """Seeded slices with two ellipses each, in memory."""

    class_names = ("disc", "square")

    def __init__(self, digest="one", count=5, root="in memory"):
        self.digest = lambda: digest
        self.root = Path(root)
        self.train_ids = tuple(f"case0001_slice{i:03d}" for i in range(count))

    def training_sample(self, name, size):
        rng = np.random.default_rng(int(name[-3:]))
        y, x = np.mgrid[:40, :44]
        label = np.zeros((40, 44), np.uint8)
        for organ in (1, 2):
            cy, cx = rng.uniform(10, 30, 2)
            label[((y - cy) / 8) ** 2 + ((x - cx) / 6) ** 2 <= 1] = organ
        image = np.clip(0.4 * label + 0.05 * rng.standard_normal(label.shape), 0, 1).astype(np.float32)
        return normalize(resize_image(image, size))[None], resize_label(label, size)


class StopError(Exception):
    """What `stopping` stops a run with."""


def stopping(step, how=StopError):
    """For ``on_log``: raises at a step."""

    def stop(history):
        if history[-1]["step"] == step:
            raise how

    return stop


def losses(result):
    return [row["loss"] for row in result.history]


def _die_at(step, rank):
    """Make one process kill itself before it takes a step."""
    advance = Trainer._advance

    def advance_or_die(self, *arguments):
        if self.step == step and self.rank == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        return advance(self, *arguments)

    Trainer._advance = advance_or_die


def small_run(output, **config):
    """Train on 12 slices in batches of 5, 5 and 2, so that shares of several processes are uneven."""
    fields = CONFIG.to_dict() | {"batch_size": 5} | config
    return train(SMALL, TrainConfig(**fields), Slices(count=12), output, device="cpu", progress=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--die-at", type=int, default=-1)
    parser.add_argument("--die-rank", type=int, default=0)
    parser.add_argument("--then", type=json.loads, default={}, help="a second run by this config, to OUTPUT/then")
    parser.add_argument("--last", type=Path, help="a last run, after `then`, to this folder; a process dies in it")
    arguments = parser.parse_args()
    if arguments.last:
        small_run(arguments.output)
        if arguments.then:
            small_run(arguments.output / "then", **arguments.then)
    if arguments.die_at >= 0:
        _die_at(arguments.die_at, arguments.die_rank)
    small_run(arguments.last or arguments.output)


if __name__ == "__main__":
    main()
