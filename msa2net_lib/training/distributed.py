"""Several processes as one: sums over all of them, and batch norm over the whole batch."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, distributed, nn


class _Sum(torch.autograd.Function):
    """A sum over processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def add_over_processes(values: Tensor) -> Tensor:
    """Add a tensor up over all processes; its gradient is added up too, as for one sum in one process.

    Every process then holds the same loss of the whole batch. DistributedDataParallel takes the mean of the
    gradients, and the backward pass of the sum the sum: together they are the gradient of the whole batch.
    """
    return _Sum.apply(values)


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a network whose batch norms take their statistics over all processes; same keys, same weights.

    On CUDA they are torch's own (by timm, whose layers join norm and activation). torch has none for the CPU, so
    there the layers' class is exchanged for one of this module.
    """
    if device.type == "cuda":
        return convert_sync_batchnorm(network)
    for module in network.modules():
        if synchronized := _SYNCHRONIZED.get(type(module)):
            module.__class__ = synchronized
    return network


class SynchronizedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batch of all processes, on any device. Shape: (b, c, h, w) -> (b, c, h, w)."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        return _normalize(self, input)


class SynchronizedBatchNormAct(BatchNormAct2d):
    """The same for timm's layer that joins batch norm and activation. Shape: (b, c, h, w) -> (b, c, h, w)."""

    act: nn.Module
    drop: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return self.act(self.drop(_normalize(self, x)))


_SYNCHRONIZED: dict[type, type] = {
    nn.BatchNorm2d: SynchronizedBatchNorm,
    BatchNormAct2d: SynchronizedBatchNormAct,
}


def _normalize(norm: Any, x: Tensor) -> Tensor:
    wide = x if x.dtype == torch.float64 else x.float()
    local = torch.cat([wide.sum((0, 2, 3)), wide.new_tensor([wide.numel() / wide.shape[1]])])
    total = add_over_processes(local)
    count = total[-1].detach()
    mean = total[:-1] / count
    centered = wide - mean[:, None, None]
    variance = add_over_processes(centered.square().sum((0, 2, 3))) / count
    _follow(norm, mean.detach(), variance.detach() * count / (count - 1))
    normalized = centered * (variance + norm.eps).rsqrt()[:, None, None]
    if norm.affine:
        normalized = normalized * norm.weight[:, None, None] + norm.bias[:, None, None]
    return normalized.to(x.dtype)


@torch.no_grad()
def _follow(norm: Any, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as `torch.nn.BatchNorm2d` does."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked += 1
    momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance, momentum)
