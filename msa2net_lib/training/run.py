"""The training loop: the same for one device and for many, and for a run begun anew or gone on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from msa2net_lib.baselines.registry import rebuild_empty
from msa2net_lib.baselines.spec import Config, NetworkSpec, config_of
from msa2net_lib.checkpoints import load_state, save_network, save_state
from msa2net_lib.data.datasets import TrainingData
from msa2net_lib.data.fingerprint import describe
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import state as saved
from msa2net_lib.training.distributed import add_over_processes
from msa2net_lib.training.engine import as_saved, kept_random_state
from msa2net_lib.training.failures import (
    FREE_DEVICE,
    is_finite,
    not_finite,
    save_batch,
    told_lost_process,
    told_out_of_memory,
)
from msa2net_lib.training.files import BEST_FILES, RECORD_FILE, STATE_FILE, WEIGHTS_FILE, claimed
from msa2net_lib.training.logger import Bars, History, Logger
from msa2net_lib.training.samples import Samples, load_samples
from msa2net_lib.training.selection import Best, Score, arrange_selection
from msa2net_lib.training.trainer import Trainer
from msa2net_lib.utils.devices import choose_device
from msa2net_lib.utils.files import writable_folder, write_text
from msa2net_lib.utils.interrupts import Stopped, deferred_interrupt
from msa2net_lib.utils.system_info import versions


@dataclass(frozen=True)
class TrainResult:
    """A finished run: the last step's network on the CPU, its log, and the minutes this call took.

    weights: file of the last step's weights. best: file of the best weights by ``config.selection``, which reached
    ``best_score`` (mean DSC, 0 to 1). None without an output folder or a selection.
    """

    network: Any
    history: History
    minutes: float
    weights: Path | None
    best: Path | None = None
    best_score: float | None = None


def train(
    network: Config | nn.Module,
    config: TrainConfig,
    dataset: TrainingData,
    output_dir: str | Path | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    on_log: Callable[[History], None] | None = None,
) -> TrainResult:
    """Train a network on the training samples of a prepared data set.

    Everything random is a function of ``config.seed`` and the step, so a run that was interrupted and started again
    with the same arguments continues: bit for bit on the CPU, elsewhere within the device's rounding. A restart may
    change the fields in `state.CHANGEABLE`, which is told in a warning and in ``run.json``. Started by a launcher as
    one of several processes, it shares every batch among them.

    Args:
        network: what to build, an MSA²Net by its `NetworkConfig`, another one by its `NetworkSpec`; or a network of
            `build_network` or `adopt_network`, of which a copy is trained, from its weights on.
        config: how to train it.
        dataset: its training samples, and cases to select on.
        output_dir: gets ``state.pt`` every ``config.checkpoint_every`` steps and, once the step at hand is done, on
            Ctrl-C, SIGTERM and SIGHUP; ``log.csv`` and ``tensorboard/``; at the end ``weights.safetensors`` (the last
            step's) and ``run.json``; and the best weights by ``config.selection`` under a name that says by what.
        device: "auto", "cpu", "cuda" or "mps".
        progress: show a bar.
        on_log: called with the log so far every ``config.log_every`` steps.

    Returns:
        The trained network on the CPU, its log and its files.

    Raises:
        InputError: ``output_dir`` cannot be written, holds another run's state or is at this moment another training's,
            a selection or batch size that the data do not allow, or memory that does not suffice (with what to try).
        NotFiniteError: loss or weights are not finite (the batch is saved).
        DiskFullError: the disk is full (what was saved stays).

    Example:
        >>> from msa2net_lib import NetworkConfig, TrainConfig, open_dataset, train
        >>> config = TrainConfig(steps=1, batch_size=2, log_every=1)
        >>> network = NetworkConfig.from_preset("tiny", image_size=64)
        >>> [entry["step"] for entry in train(network, config, open_dataset("synapse"), progress=False).history]
        [1]

    Source: paper, section 4.2; the reference implementation's ``trainer.py``.
    """
    started = time.perf_counter()
    choose_device(device)  # what is refused is refused before anything is written
    asked = config_of(network) if isinstance(network, nn.Module) else network
    if isinstance(network, NetworkSpec):
        rebuild_empty(network)
    data, score = arrange_selection(dataset, config, asked.height_width)
    folder = None if output_dir is None else writable_folder(output_dir)
    with claimed(folder):
        trainer = Trainer(network, config, data, device)
        run = _Run(trainer, folder, score, on_log)
        run.restore()
        shown = progress and run.is_main
        run.go(load_samples(data, asked.height_width, asked.num_classes, trainer.device, shown), shown)
        minutes = (time.perf_counter() - started) / 60
        if folder is None:
            return TrainResult(trainer.plain_network(), run.history, minutes, None)
        run.finish(folder, minutes)
    best, best_score = (folder / BEST_FILES[config.selection], run.best.score) if run.best.step else (None, None)
    return TrainResult(trainer.plain_network(), run.history, minutes, folder / WEIGHTS_FILE, best, best_score)


class _Run:
    """A run in progress: who learns, and what is kept of it where."""

    def __init__(
        self, trainer: Trainer, folder: Path | None, score: Score | None, on_log: Callable[[History], None] | None
    ) -> None:
        self.trainer, self.config, self.score, self.on_log = trainer, trainer.config, score, on_log
        self.is_main = trainer.accelerator.is_main_process
        self.folder = folder
        self.data = trainer.data.digest()
        self.history: History = []
        self.best = Best()
        self.random: dict[str, Any] | None = None
        self.changes: list[dict[str, Any]] = []

    def go(self, samples: Samples, progress: bool) -> None:
        """Take all steps that are left."""
        trainer, folder = self.trainer, self.folder if self.is_main else None
        logger = Logger(self.history, folder, trainer.step)
        bars = Bars(self.config, trainer.count, trainer.step, progress)
        lost = told_lost_process(trainer.processes, self.folder)
        with kept_random_state(trainer.device), logger, bars, deferred_interrupt() as interrupted, lost:
            if self.random is not None:
                saved.set_random_state(self.random)
            for seen, loss in trainer.learn(samples):
                logger.saw(seen)
                bars.advance(trainer.step)
                stop = self._agreed(interrupted.is_set())
                if self._is_due(self.config.log_every) or self._is_validated() or stop:
                    self._stop_if_not_finite(samples, with_weights=self._is_validated())
                    bars.show(self._log(logger, loss))
                if self._is_due(self.config.checkpoint_every) or stop:
                    self._stop_if_not_finite(samples, with_weights=True)
                    self._save(logger)
                    logger.restart_clock()
                if stop:
                    raise Stopped(interrupted.number)

    def restore(self) -> None:
        """Take over the state in the folder, if there is one, after checking that it is of the same run."""
        path = None if self.folder is None else self.folder / STATE_FILE
        if path is None or not path.is_file():
            return
        state = load_state(path)
        changes = saved.check_same_run(state, path, self.trainer.network_config, self.config, self.data)
        if self.is_main:
            saved.warn_of_changes(changes, state["versions"], path)
        self.trainer.load_state_dict(state, path)
        self.history, self.best, self.random = state["history"], Best(**state["best"]), state["random"]
        self.changes = state.get("changed_on_resume", []) + changes  # states of before have none

    def finish(self, folder: Path, minutes: float) -> None:
        """Write the last weights and the record; every process waits until they lie there."""
        if self.is_main:
            trainer = self.trainer
            self._save_network(folder / WEIGHTS_FILE)
            record = {
                "network": trainer.network_config.to_dict(),
                "training": self.config.to_dict(),
                "peak_rate": self.config.peak_rate,
                "data": self.data,
                "training_samples": trainer.count,
                "steps": trainer.total,
                "device": str(trainer.device),
                "processes": trainer.processes,
                "mixed_precision": trainer.accelerator.mixed_precision,
                "validation_precision": None if self.score is None else "fp32",  # what is saved, as it is used later
                "best": {"score": self.best.score, "step": self.best.step} if self.best.step else None,
                "changed_on_resume": self.changes,
                "minutes": round(minutes, 2),
                "versions": versions(saved.PACKAGES),
            }
            write_text(folder / RECORD_FILE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        self.trainer.accelerator.wait_for_everyone()

    def _is_due(self, every: int) -> bool:
        return self.trainer.step % every == 0 or self.trainer.step == self.trainer.total

    def _is_validated(self) -> bool:
        every = self.config.validate_every * self.config.epoch_steps(self.trainer.count)
        return self.score is not None and self._is_due(every)

    def _agreed(self, interrupted: bool) -> bool:
        """Whether to stop here: several processes ask each other at log entries, for all must stop at one step."""
        if self.trainer.processes == 1:
            return interrupted
        if not self._is_due(self.config.log_every):
            return False
        asked = torch.tensor([int(interrupted)], device=self.trainer.device)
        return bool(add_over_processes(asked).item())

    def _log(self, logger: Logger, loss: Tensor) -> dict[str, float]:
        trainer = self.trainer
        epoch = trainer.step / self.config.epoch_steps(trainer.count)
        row = logger.enter(trainer.step, epoch, loss.item(), trainer.optimizer.param_groups[0]["lr"])
        if self.score is not None and self._is_validated():
            logger.score(self._validate(self.score), getattr(self.score, "by_class", {}))
            logger.restart_clock()
        if self.on_log is not None and self.is_main:
            self.on_log(self.history)
        return row

    def _validate(self, score: Score) -> float:
        """Score the network in one process, and keep it if it is the best; the others wait."""
        value, trainer = float("nan"), self.trainer
        if self.is_main:
            doing = f"validating after step {trainer.step}"
            with as_saved(trainer.network), told_out_of_memory(doing, FREE_DEVICE, "in a new run selection='last'"):
                value = score(trainer.network)
            if self.best.improves(value, trainer.step) and self.folder is not None:
                self._save_network(self.folder / BEST_FILES[self.config.selection])
        trainer.accelerator.wait_for_everyone()
        return value

    def _save_network(self, path: Path) -> None:
        data = self.trainer.data
        save_network(self.trainer.network, path, class_names=data.class_names, fingerprint=describe(data))

    def _save(self, logger: Logger) -> None:
        """Write the state, and the log with it."""
        if self.folder is None or not self.is_main:
            return
        state = {
            "format": saved.FORMAT,
            "network_config": self.trainer.network_config.to_dict(),
            "train_config": self.config.to_dict(),
            "data": self.data,
            "history": self.history,
            "best": {"score": self.best.score, "step": self.best.step},
            "random": saved.random_state(),
            "changed_on_resume": self.changes,
            "versions": versions(saved.PACKAGES),
            **self.trainer.state_dict(),
        }
        save_state(state, self.folder / STATE_FILE)
        logger.write()

    def _stop_if_not_finite(self, samples: Samples, with_weights: bool) -> None:
        """Stop after a loss that is no number, or before weights are kept that are none.

        A gradient may overflow where the loss does not, and the loss shows it one step later only.
        """
        step, what = self.trainer.not_finite.step(), "loss is"
        if step is None:
            if not with_weights or is_finite(self.trainer.network):
                return
            step, what = self.trainer.step - 1, "weights are"
        path = None
        if self.folder is not None and self.is_main:
            path = save_batch(self.folder, *self.trainer.batch_again(step, samples), step)
        self.trainer.accelerator.wait_for_everyone()  # a launcher ends all when the first one ends
        raise not_finite(what, step + 1, self.config, self.trainer.precision, path)
