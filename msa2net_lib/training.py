"""Training: one plain loop that can be stopped anywhere and goes on as if it had not been."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from msa2net_lib.checkpoints import load_state, save_network, save_state
from msa2net_lib.config import NetworkConfig, TrainConfig
from msa2net_lib.data.augment import AffineAugmentation
from msa2net_lib.data.training_slices import TrainingData, load_training_tensors
from msa2net_lib.errors import InputError
from msa2net_lib.files import writable_folder
from msa2net_lib.interrupts import deferred_interrupt
from msa2net_lib.losses import build_loss
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.progress import progress_bar

History = list[dict[str, float]]


@dataclass(frozen=True)
class TrainResult:
    """A finished run: the network, its log (step, loss, learning_rate) and the minutes this call took."""

    network: MSA2Net
    history: History
    minutes: float
    weights: Path | None


def choose_device(name: str = "auto") -> torch.device:
    """Return the device named, or for "auto" the best one at hand: CUDA, Apple's MPS, else the CPU.

    Errors: `InputError` for a device that torch does not know or does not see here.
    """
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [kind for kind, is_here in seen.items() if is_here]
    if name != "auto" and name.partition(":")[0] not in here:
        raise InputError(f"device {name!r}: torch sees none such here; use auto or one of {', '.join(here)}")
    return torch.device(here[0] if name == "auto" else name)


def train(
    network: NetworkConfig,
    config: TrainConfig,
    dataset: TrainingData,
    output_dir: str | Path | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    on_log: Callable[[History], None] | None = None,
) -> TrainResult:
    """Train a network on the training slices of a prepared data set; the last step's weights are kept.

    Everything random is a function of ``config.seed`` and the step, so a run that was interrupted and
    started again with the same arguments continues bit for bit on the CPU. With ``output_dir`` it writes
    ``state.pt`` every ``config.checkpoint_every`` steps and, once the step at hand is done, on Ctrl-C, and
    ``weights.safetensors`` at the end. ``on_log`` is called with the log so far every ``config.log_every``
    steps, for a live plot. Errors: `InputError` if ``output_dir`` cannot be written or holds another run's
    state; FloatingPointError if the loss is not finite.
    """
    started = time.perf_counter()
    run = _Run(network, config, choose_device(device), dataset.digest())
    state_path = None if output_dir is None else writable_folder(output_dir) / "state.pt"
    if state_path is not None and state_path.is_file():
        run.restore(load_state(state_path), state_path)
    images, labels = load_training_tensors(dataset, network.height_width, progress=progress)
    images, labels = images.to(run.device), labels.to(run.device)
    bar = progress_bar(total=config.steps, initial=run.step, desc="training", unit="step", enabled=progress)
    with torch.random.fork_rng(), bar, deferred_interrupt() as interrupted:
        while run.step < config.steps:
            loss = run.advance(images, labels)
            bar.update()
            if run.step % config.log_every == 0 or run.step == config.steps:
                run.log(loss.item())
                bar.set_postfix(loss=f"{run.history[-1]['loss']:.3f}")
                if on_log is not None:
                    on_log(run.history)
            if state_path is not None and (run.step % config.checkpoint_every == 0 or interrupted.is_set()):
                save_state(run.state(), state_path)
            if interrupted.is_set():
                raise KeyboardInterrupt
    weights = None
    if output_dir is not None and state_path is not None:
        save_state(run.state(), state_path)
        weights = save_network(run.network, Path(output_dir) / "weights.safetensors", class_names=dataset.class_names)
    minutes = (time.perf_counter() - started) / 60
    # In the layout that a network read from disk has, so that both compute the same to the last bit.
    trained = run.network.cpu().to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return TrainResult(trained.eval(), run.history, minutes, weights)


class _Run:
    """A run in progress: network, optimiser, schedule, step and log."""

    def __init__(self, network: NetworkConfig, config: TrainConfig, device: torch.device, data: str):
        self.config, self.device, self.data = config, device, data
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.network = MSA2Net(network)
        # Convolutions dominate, and they are faster with channels last on CPU and GPU alike.
        self.network = self.network.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.network.train()
        self.loss = build_loss(config.loss, network.num_classes)
        self.augment = AffineAugmentation() if config.augment == "affine" else None
        self.optimizer = build_optimizer(self.network, config)
        self.schedule = build_schedule(self.optimizer, config)
        self.step = 0
        self.history: History = []

    def advance(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimiser step; returns the loss, still on the device."""
        chosen = batch_indices(len(images), self.step, self.config).to(self.device)
        torch.manual_seed(_step_seed(self.config.seed, self.step))
        batch, target = images[chosen], labels[chosen]
        if self.augment is not None:
            batch, target = self.augment(batch, target)
        loss = self.loss(self.network(batch.contiguous(memory_format=torch.channels_last)), target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return loss.detach()

    def log(self, loss: float) -> None:
        """Append to the log, or stop a run that has gone wrong."""
        if loss != loss or abs(loss) == float("inf"):
            raise FloatingPointError(
                f"loss is {loss} at step {self.step}: lower learning_rate={self.config.learning_rate}"
            )
        rate = self.optimizer.param_groups[0]["lr"]
        self.history.append({"step": self.step, "loss": loss, "learning_rate": rate})

    def state(self) -> dict[str, Any]:
        """All that a restart needs."""
        return {
            "network_config": self.network.config.to_dict(),
            "train_config": self.config.to_dict(),
            "data": self.data,
            "step": self.step,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Take over a saved state after checking that it is of the same run."""
        try:
            same = {
                "network": NetworkConfig.from_dict(state["network_config"]) == self.network.config,
                "training config": TrainConfig.from_dict(state["train_config"]) == self.config,
                "data set": state["data"] == self.data,
            }
            for name, is_same in same.items():
                if not is_same:
                    raise InputError(f"{path}: of a run with another {name}; give another output_dir, or delete it")
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.step, self.history = state["step"], state["history"]
        except (KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"{path}: no training state of this version; delete it to start anew") from error


def batch_indices(count: int, step: int, config: TrainConfig) -> Tensor:
    """Which slices step number ``step`` sees: epochs are seeded shuffles, the last batch may be smaller."""
    per_epoch = -(-count // config.batch_size)
    epoch, batch = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(_step_seed(config.seed, epoch))
    return torch.randperm(count, generator=generator)[batch * config.batch_size :][: config.batch_size]


def build_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser a config names, over all parameters that require gradients."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=config.momentum, weight_decay=decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def build_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig) -> lr_scheduler.LRScheduler:
    """The learning-rate schedule a config names, stepped once per optimiser step."""
    if config.schedule == "poly":
        return lr_scheduler.PolynomialLR(optimizer, total_iters=config.steps, power=config.poly_power)
    if config.schedule == "one_cycle":
        return lr_scheduler.OneCycleLR(
            optimizer, max_lr=config.learning_rate, total_steps=config.steps + 1, pct_start=0.15, cycle_momentum=False
        )
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


def _step_seed(seed: int, step: int) -> int:
    """One seed per (run, step), spread so that neighbouring runs share none."""
    return seed * 1_000_003 + step
