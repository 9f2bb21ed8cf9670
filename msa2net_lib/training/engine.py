"""What a run runs on: device, precision, compilation and processes, carried by Hugging Face Accelerate."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.utils.devices import choose_device


def choose_precision(name: str, device: torch.device) -> str:
    """Return "bf16" or "fp32"; "auto" is bf16 on a CUDA device that computes in it, else fp32."""
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def build_accelerator(device: str, config: TrainConfig, has_unused_parts: bool) -> Accelerator:
    """Return Accelerate's view of this process, of one or of several started by a launcher.

    has_unused_parts: whether the network owns parameters that never get a gradient, as `published` and `released` do.
    Raises: `InputError` as from `choose_device`, and for bf16 where the device lacks it.
    """
    target = choose_device(device)
    precision = choose_precision(config.precision, target)
    if not _is_launched():  # another run in this process may have had another device or precision
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    exchange = DistributedDataParallelKwargs(find_unused_parameters=has_unused_parts)
    try:
        accelerator = Accelerator(
            cpu=target.type == "cpu",
            mixed_precision="bf16" if precision == "bf16" else "no",
            kwargs_handlers=[exchange],
        )
    except ValueError as error:
        raise InputError(f"precision={config.precision!r} on {target}: {error}; use precision='fp32'") from error
    if _is_launched() and accelerator.num_processes == 1:  # each would train alone and write the same files
        raise InputError("WORLD_SIZE is set, but not all of RANK, LOCAL_RANK, MASTER_ADDR: start with torchrun")
    return accelerator


def compute_device(accelerator: Accelerator, device: str) -> torch.device:
    """The device of this process: the launcher's choice among several processes, else the one named."""
    return accelerator.device if accelerator.num_processes > 1 else choose_device(device)


def kept_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Leave torch's generators, on the CPU and on this device, as the block found them."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def compile_for_training(network: nn.Module, config: TrainConfig, device: torch.device) -> None:
    """Compile a network's forward pass in place, on CUDA unless told otherwise; keep it eager if that fails.

    The compiler works at the first call, which is why failing is noticed, and told as a warning, only there.
    """
    if config.compilation == "off" or (config.compilation == "auto" and device.type != "cuda"):
        return
    eager_call = network._call_impl
    compiled: Any = torch.compile(eager_call, dynamic=False)

    def call(*arguments: Any, **named: Any) -> Any:
        try:
            with _backward_compiled_too():
                return compiled(*arguments, **named)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if not _is_compilers(error):
                raise
            network._compiled_call_impl = None
            warnings.warn(
                f"torch.compile failed ({type(error).__name__}), training goes on without it; "
                "compilation='off' does not try",
                stacklevel=2,
            )
            return eager_call(*arguments, **named)

    network._compiled_call_impl = call


def capture_graphs(network: nn.Module, images: torch.Tensor) -> Any:
    """Capture a network's forward and backward pass as CUDA graphs, for inputs like ``images`` and no other.

    The warm-up leaves no trace in batch norms. Where capturing fails, a warning says so and the network is returned as
    it was; memory that runs out is told as such.
    """
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        captured = torch.cuda.make_graphed_callables(network, (images,))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        warnings.warn(f"no CUDA graph ({type(error).__name__}): training goes on without it", stacklevel=2)
        captured = network
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])
    return captured


def _backward_compiled_too() -> AbstractContextManager[Any]:
    """Compile the backward pass together with the forward pass, so that its failures come where they are caught."""
    config: Any = importlib.import_module("torch._functorch.config")
    if not hasattr(config, "force_non_lazy_backward_lowering"):  # torch of before
        return nullcontext()
    return config.patch(force_non_lazy_backward_lowering=True)


@contextmanager
def as_saved(network: nn.Module) -> Iterator[None]:
    """Let a network in training compute for a while as what is saved of it does: uncompiled, and in float32.

    Other batch sizes and modes would be compiled anew, and Accelerate has put its mixed precision into ``forward``.
    """
    compiled, mixed = network._compiled_call_impl, network.__dict__.pop("forward", None)
    network._compiled_call_impl = None
    try:
        yield
    finally:
        network._compiled_call_impl = compiled
        if mixed is not None:
            network.forward = mixed


def _is_compilers(error: Exception) -> bool:
    """Whether an exception came from the compiler, and not from the network itself."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "torch.fx", "triton"))


def _is_launched() -> bool:
    """Whether a launcher (accelerate, torchrun) started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
