"""How weights move: the optimizer and the learning-rate schedule that a config names."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import lr_scheduler

from msa2net_lib.train_config import TrainConfig


def build_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer a config names, over all parameters that require gradients; one fused kernel on a CPU and CUDA."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    fused = True if parameters[0].device.type in ("cpu", "cuda") else None
    rate, decay = config.peak_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=config.momentum, weight_decay=decay, fused=fused)
    adam = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return adam(parameters, lr=rate, betas=(config.beta_1, config.beta_2), weight_decay=decay, fused=fused)


def build_schedule(
    optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int, epoch_steps: int = 1
) -> lr_scheduler.LRScheduler:
    """The learning-rate schedule a config names over ``steps`` steps, stepped once per optimizer step.

    epoch_steps: steps in an epoch, for restarts.
    """
    if config.schedule == "poly":
        return lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=config.poly_power)
    if config.schedule == "one_cycle":
        return lr_scheduler.OneCycleLR(
            optimizer, max_lr=config.peak_rate, total_steps=steps + 1, pct_start=0.15, cycle_momentum=False
        )
    if config.schedule == "cosine_restarts":
        least = config.least_rate * config.peak_rate
        return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, config.restart_epochs * epoch_steps, eta_min=least)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


def scale_schedule(optimizer: torch.optim.Optimizer, schedule: lr_scheduler.LRScheduler, factor: float) -> None:
    """Go on as if the peak rate had been ``factor`` times as high all along: schedules are proportional to it."""
    for group in optimizer.param_groups:
        for name in {"lr", "initial_lr", "max_lr", "min_lr"} & set(group):
            group[name] *= factor
    schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]
    if isinstance(schedule, lr_scheduler.CosineAnnealingWarmRestarts):
        schedule.eta_min *= factor
