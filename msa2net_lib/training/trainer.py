"""What learns: network, optimizer and schedule, one step at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from msa2net_lib.baselines.registry import find_network, rebuild_network
from msa2net_lib.baselines.spec import Config, NetworkSpec, config_of, has_own_loss
from msa2net_lib.data.augment import build_augmentation
from msa2net_lib.data.datasets import TrainingData
from msa2net_lib.errors import InputError
from msa2net_lib.losses import BoundaryDoULoss, build_loss
from msa2net_lib.nn.lka import train_on_grids
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.distributed import add_over_processes, synchronize_batch_norm
from msa2net_lib.training.engine import build_accelerator, compile_for_training, compute_device, kept_random_state
from msa2net_lib.training.failures import FREE_DEVICE, FirstNotFinite, told_large_step, told_out_of_memory
from msa2net_lib.training.optimizer import build_optimizer, build_schedule, scale_schedule
from msa2net_lib.training.recompute import forward_pass
from msa2net_lib.training.sampler import Part, batch_length, check_divisible, step_parts, step_seed
from msa2net_lib.training.samples import Batch, HeldSamples, Samples
from msa2net_lib.utils.devices import keep_freed_memory
from msa2net_lib.utils.plain import override


class Trainer:
    """A network in training, on this process's device, as one of ``processes``.

    step: how many steps it has taken of ``total``. not_finite: the first step with a loss that was not finite.
    """

    def __init__(self, network: Config | nn.Module, config: TrainConfig, data: TrainingData, device: str) -> None:
        self._given = network if isinstance(network, nn.Module) else None
        network = config_of(network) if isinstance(network, nn.Module) else network
        self.network_config, self.config, self.data = network, config, data
        self.count = len(data.train_ids)
        self.accelerator = build_accelerator(device, config, network.has_unused_parts)
        self.device = compute_device(self.accelerator, device)
        self.precision = "bf16" if self.accelerator.mixed_precision == "bf16" else "fp32"
        self.rank, self.processes = self.accelerator.process_index, self.accelerator.num_processes
        (height, width), cells = network.height_width, 2  # cells of a module of any origin are not known
        if self._given is None:
            coarsest = min(32, find_network(network.name).multiple) if isinstance(network, NetworkSpec) else 32
            cells = height * width // coarsest**2
        check_divisible(self.count, config, self.processes, cells=cells)
        self.step, self.total = 0, config.total_steps(self.count)
        self.network = self._build_network()
        together = add_over_processes if self.processes > 1 else None
        self.loss = build_loss(config.loss, network.num_classes, add_up=together)
        if getattr(self.loss, "every_head", False):
            if not hasattr(self.network, "every_head"):
                raise InputError(f"loss={config.loss!r}: {network.preset} has one head; choose another loss")
            self.network.every_head = True
        self.augment = build_augmentation(config.augment)
        self.optimizer = build_optimizer(self.network, config)
        self.schedule = build_schedule(self.optimizer, config, self.total, config.epoch_steps(self.count))
        self.model = self.accelerator.prepare_model(self.network, device_placement=False)
        self.forward_pass = forward_pass(self.network)
        self.not_finite = FirstNotFinite(self.device)

    def _build_network(self) -> Any:
        with kept_random_state(self.device):
            torch.manual_seed(self.config.seed)
            network: Any = rebuild_network(self.network_config) if self._given is None else copy.deepcopy(self._given)
        self.has_own_loss = has_own_loss(network)
        with told_out_of_memory(f"putting the network on {self.device}", FREE_DEVICE, "a smaller network"):
            # Convolutions dominate, and they are faster with channels last on CPU and GPU alike.
            network = network.to(self.device, memory_format=torch.channels_last)
        train_on_grids(network, self.device)
        keep_freed_memory(self.device)
        if self.processes > 1:
            network = synchronize_batch_norm(network, self.device)
        if not self.has_own_loss:  # what such a step draws at random stays out of compiled code
            compile_for_training(network, self.config, self.device)
        return network.train()

    def learn(self, samples: Samples) -> Iterator[tuple[int, Tensor]]:
        """Take the steps that are left, one each time: how many samples it saw, all processes counted, and its loss.

        The loss stays on the device. Raises: `InputError` where memory does not suffice.
        """
        if isinstance(samples, HeldSamples):  # their classes were looked at once, on loading
            for loss in self.loss.modules():
                if isinstance(loss, BoundaryDoULoss):
                    loss.check_values = False
        batches = samples.batches(part.indices for parts in self._ahead() for part in parts)
        for parts in self._ahead():
            with told_large_step(
                self.step + 1, self.config, self.precision, self.network_config.height_width, self.processes
            ):
                loss = self._advance(parts, batches, samples.image_shape)
            yield batch_length(self.count, self.step - 1, self.config), loss

    def _ahead(self) -> Iterator[list[Part]]:
        """The parts of step after step that are left."""
        for step in range(self.step, self.total):
            yield step_parts(self.count, step, self.config, self.rank, self.processes)

    def _advance(self, parts: list[Part], batches: Iterator[Batch], image_shape: tuple[int, int, int]) -> Tensor:
        torch.manual_seed(step_seed(self.config.seed, self.step))
        draws = self._draw(self.step, image_shape)
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, part in enumerate(parts, start=1):
            images, labels = self._augmented(next(batches), draws, part)
            # Gradients are exchanged once a step, after its last pass.
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(self.model):
                images = images.contiguous(memory_format=torch.channels_last)
                with self.forward_pass:
                    loss = self.model(images, labels) if self.has_own_loss else self.loss(self.model(images), labels)
                loss = loss if len(parts) == 1 else loss * part.share
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        self.optimizer.step()
        self.schedule.step()
        if self.has_own_loss:
            self.network.after_step()
        total = torch.stack(losses).sum()
        self.not_finite.watch(total, self.step)
        self.step += 1
        return total

    def _draw(self, step: int, image_shape: tuple[int, int, int]) -> Any:
        """Draw the augmentation of a step's whole batch, of which every process then takes its rows."""
        return self.augment and self.augment.draw(batch_length(self.count, step, self.config), image_shape)

    def _augmented(self, batch: Batch, draws: Any, part: Part) -> Batch:
        return batch if self.augment is None else self.augment.apply(*batch, draws[part.rows])

    def batch_again(self, step: int, samples: Samples) -> tuple[Tensor, Tensor, list[str]]:
        """What all networks saw in a past step, and ids: order and augmentation are functions of the step."""
        torch.manual_seed(step_seed(self.config.seed, step))
        draws = self._draw(step, samples.image_shape)
        parts = step_parts(self.count, step, self.config)
        batches = samples.batches(part.indices for part in parts)
        seen = [self._augmented(batch, draws, part) for batch, part in zip(batches, parts, strict=True)]
        ids = [self.data.train_ids[int(index)] for part in parts for index in part.indices]
        return torch.cat([images for images, _ in seen]), torch.cat([labels for _, labels in seen]), ids

    def state_dict(self) -> dict[str, Any]:
        """Network, optimizer, schedule and where the run stands in the order of its samples."""
        epoch, batch = divmod(self.step, self.config.epoch_steps(self.count))
        return {
            "step": self.step,
            "order": {"seed": self.config.seed, "epoch": epoch, "batch": batch},
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], path: Path) -> None:
        """Go on from what `state_dict` gave, with the config's own learning rate.

        Raises: `InputError` about ``path`` if it does not fit.
        """
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.step = state["step"]
            before = TrainConfig.from_dict(state["train_config"]).peak_rate
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise InputError(f"{path}: no training state of this version; delete it to start anew") from error
        if before != self.config.peak_rate:
            scale_schedule(self.optimizer, self.schedule, self.config.peak_rate / before)

    def plain_network(self) -> Any:
        """The network as `load_network` would give it: on the CPU, uncompiled, in evaluation mode."""
        with kept_random_state(self.device):
            config = override(self.network_config, {"pretrained": False})
            plain = rebuild_network(config) if self._given is None else copy.deepcopy(self._given)
        plain.load_state_dict({name: value.cpu() for name, value in self.network.state_dict().items()})
        return plain.eval()
