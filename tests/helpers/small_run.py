"""A training run of seconds, for tests in this process and for those that start others (see `main`)."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from msa2net_lib.baselines.spec import NetworkSpec
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
"""An eighth of the weights of `tiny`."""
PLAIN = NetworkSpec("unet", 3, 64, {"widths": (4, 8, 8)})
"""A U-Net with few tensors, a fifth of the time of `SMALL`; it has batch norm, and draws nothing in a step."""
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


def stage(output, whole, then, die_at, die_rank):
    """What a process does: a whole run and a second one by the config ``then``, if asked for; then one to ``output``.

    A process dies in the last one, before it takes the step ``die_at``.
    """
    torch.set_num_threads(1)
    if whole is not None:
        small_run(whole)
        small_run(Path(whole, "then"), **then)
    if die_at >= 0:
        _die_at(die_at, die_rank)
    small_run(output)


def main():
    """Take the stages that were given one by one, and say of each how its processes ended.

    They are forked from this process, which has loaded everything: by torchrun's own agent where there are several.
    ``kept`` names a copy of the output as it is after a stage.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for late in ("torch._dynamo", "torch.utils.tensorboard"):  # what training loads on its way
        import_module(late)
    said = []
    for given in json.loads(sys.argv[1]):
        processes, kept = given.pop("processes"), given.pop("kept", None)
        given = {"output": None, "whole": None, "then": None, "die_at": -1, "die_rank": 0} | given
        if processes == 1:
            alone = multiprocessing.get_context("fork").Process(target=stage, args=given.values())
            alone.start()
            alone.join()
            said.append(f"exitcode  : {alone.exitcode}" if alone.exitcode else "")
        else:
            settings = LaunchConfig(
                1, 1, processes, run_id=given["output"], rdzv_backend="c10d", rdzv_endpoint="localhost:0",
                max_restarts=0, start_method="fork", logs_specs=DefaultLogsSpecs(),
            )  # fmt: skip
            try:
                elastic_launch(settings, stage)(*given.values())
                said.append("")
            except ChildFailedError as error:
                said.append(str(error))
        if kept is not None:
            shutil.copytree(given["output"], kept)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
