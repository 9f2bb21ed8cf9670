"""The same network, faster: what each device offers for inference in float32."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import logging
import os
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from msa2net_lib.baselines.spec import config_of, has_own_loss
from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.utils.converted import MODEL, cache_folder, compile_beside, keep, read_kept
from msa2net_lib.utils.system_info import versions

if TYPE_CHECKING:
    from jaxtyping import Float

Forward = Callable[[Tensor], Tensor]
# OpenVINO takes as long per slice for 4 slices as for 16, and its memory grows with the batch and the streams.
SLICES_AT_ONCE, MOST_STREAMS = 4, 4

LONG_SECONDS = 60.0
"""What takes longer than this is worth a conversion, once. Of `published` it took 20 to 31 s on two cores, and what
followed 1 / 1.2 of the time (120 slices in 24 instead of 28 s, one run each): the third minute or so repays it.
"""
SOME_SLICES = 32
"""From so many on a network that was converted before is taken from the cache. Of `tiny` that takes a second and saves
0.01 s a slice (processor time), so that fewer than 100 slices lose less than they would notice; larger ones gain more.
"""
_ONE_AT_A_TIME = threading.Lock()


class OptimizedNetwork(nn.Module):
    """A network made ready for inference: (b, 1|3, h, w) -> logits (b, classes, h, w), float32, no gradient.

    Made by `optimize_for_inference`. way: "openvino", "channels_last", "torch.compile" or "eager". It may be
    called from several threads; it is not for saving, moving or training: keep the original for that.
    """

    def __init__(self, network: nn.Module, way: str, forward: Forward):
        super().__init__()
        self.config = config_of(network)
        self.network = network
        self.way = way
        self._forward = forward
        super().train(False)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        shape = tuple(image.shape)
        if len(shape) != 4 or shape[0] == 0 or shape[1] not in (1, 3) or shape[2:] != self.config.height_width:
            return self.network(image)  # which refuses it in its own words
        device = next(self.network.parameters()).device
        if image.dtype != torch.float32 or image.device != device:
            raise InputError(
                f"input of {image.dtype} on {image.device}: the network was optimized for torch.float32 on {device}, "
                "convert the input, or optimize a network that is on its device"
            )
        return self._forward(image)

    def train(self, mode: bool = True) -> OptimizedNetwork:
        if mode:
            raise InputError("train(True) on an optimized network: train the original, then optimize it again")
        return super().train(False)

    def load_state_dict(self, *_: Any, **__: Any) -> NoReturn:
        # What was compiled would keep the old weights.
        raise InputError("load_state_dict on an optimized network: load into the original, then optimize it again")

    def _apply(self, *_: Any, **__: Any) -> NoReturn:
        # All of to(), cuda(), half() and their like come here; what was compiled would stay where it is.
        raise InputError("an optimized network stays as it is: move or convert the original, then optimize it again")


def optimize_for_inference(network: nn.Module) -> OptimizedNetwork:
    """Copy a network into the fastest form that its device allows, with logits equal to 1e-4 in float32.

    - CPU: OpenVINO, in float32, on as many threads as torch has now (`torch.get_num_threads`). Conversion takes
      seconds for ``tiny`` and about half a minute for ``published``, once, in this call. Nothing is reported to
      OpenVINO's makers. Without the package (``pip install openvino``, extra ``fast``), or where it fails, a
      warning says so, and the network runs with its channels last in memory.
    - CUDA: channels last and `torch.compile`, which compiles at the first call and at the first change of the
      batch size (minutes). Where that fails a warning says so, and it runs uncompiled. Whether convolutions may
      use TF32 stays as the process has set it.
    - Other devices, and DermoSegDiff, which draws at random: a copy in evaluation mode.

    The original stays as it is, and later changes of it have no effect. Memory: one copy of the weights, and with
    OpenVINO up to as much again, in its own arrangement, beside what it needs for 4 slices a stream.

    Args:
        network: its weights in float32.

    Returns:
        A module that takes the same input, is accepted by `predict_volume`, `predict_image` and `evaluate`, and runs
        in evaluation mode without gradients. It refuses input of another type or device, ``train(True)``,
        ``load_state_dict`` and ``to``.

    Raises:
        InputError: a module that does not say what it is (`adopt_network`), that is optimized already, or with weights
            in another type than float32.

    Example:
        >>> from msa2net_lib import MSA2Net, optimize_for_inference
        >>> optimize_for_inference(MSA2Net.from_preset("tiny", image_size=64).double())
        Traceback (most recent call last):
        msa2net_lib.errors.InputError: network with weights in torch.float64: convert it with network.float() first

    Source: this project; measured in ``benchmarks/inference.py``.
    """
    if isinstance(network, OptimizedNetwork):
        raise InputError("network of type OptimizedNetwork is optimized already: give the original")
    config_of(network)
    other = {parameter.dtype for parameter in network.parameters()} - {torch.float32}
    if other:
        raise InputError(f"network with weights in {other.pop()}: convert it with network.float() first")
    return _optimized(network)


def _optimized(network: nn.Module, kept: Path | None = None) -> OptimizedNetwork:
    with torch.inference_mode(False), torch.no_grad():
        own = copy.deepcopy(network).eval().requires_grad_(False)
        own.zero_grad(set_to_none=True)
        way, forward = _fastest(own, next(own.parameters()).device.type, kept)
    return OptimizedNetwork(own, way, forward)


class OptimizedWhenLong(nn.Module):
    """A network as it was read from a file, which goes on optimized where much is to be predicted with it.

    On a CPU with OpenVINO, for a network of this library: from the moment on at which the rest would take longer than
    `LONG_SECONDS`, and from the beginning where it was converted before and `SOME_SLICES` are to come. What is
    converted is kept, see `cache_folder`. Nobody may have changed it since it was read: the cache knows its weights.

    Args:
        network: in float32.
        slices: how many will be predicted.
    """

    def __init__(self, network: nn.Module, slices: int):
        super().__init__()
        self.config, self.network, self.left = config_of(network), network, slices
        self.kept = _place_in_cache(network) if slices >= SOME_SLICES else None
        if self.kept is not None and os.path.isfile(self.kept / MODEL):  # which raises nothing, as `Path.is_file` may
            self.network = _optimized(network, self.kept)
        self.eval()

    @property
    def way(self) -> str:
        """What it runs on, as `OptimizedNetwork` says it."""
        return getattr(self.network, "way", "eager")

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        started = time.perf_counter()
        logits = self.network(image)
        self.left -= len(image)
        seconds = self.left * (time.perf_counter() - started) / max(1, len(image))
        if self.kept is not None and seconds > LONG_SECONDS and not isinstance(self.network, OptimizedNetwork):
            self.network = _optimized(self.network, self.kept)
        return logits


def _place_in_cache(network: nn.Module) -> Path | None:
    """The folder of a converted network, named by what decides its logits; None for one that is not to be converted."""
    config, folder = config_of(network), cache_folder()
    ours = isinstance(config, NetworkConfig) or (config.name in NETWORKS and not NETWORKS[config.name].own)
    kinds = {(parameter.device.type, parameter.dtype) for parameter in network.parameters()}
    can = kinds == {("cpu", torch.float32)} and not has_own_loss(network) and not isinstance(network, OptimizedNetwork)
    if folder is None or not ours or not can or importlib.util.find_spec("openvino") is None:
        return None
    digest = hashlib.sha256(json.dumps([config.to_dict(), versions(("torch", "timm", "openvino"))]).encode())
    for part in ("nn", "baselines"):
        for source in sorted(Path(__file__).parent.joinpath(part).rglob("*.py")):
            digest.update(source.read_bytes())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().data)
    return folder / f"openvino-{digest.hexdigest()[:32]}"


def _fastest(network: nn.Module, device_type: str, kept: Path | None = None) -> tuple[str, Forward]:
    if device_type not in ("cpu", "cuda") or has_own_loss(network):  # which draws, and converted would do so only once
        return "eager", network
    if device_type == "cuda":
        return "torch.compile", CompiledForward(network)
    try:
        return "openvino", OpenVINOForward(network, kept)
    except ImportError:
        reason = "`pip install openvino` (extra `fast`) makes inference on a CPU faster"
    except Exception as error:  # conversion touches two large packages: whatever fails, the network still runs
        reason = f"OpenVINO could not convert the network ({_in_one_line(error)})"
    warnings.warn(f"{reason}; going on with channels last", stacklevel=4)
    network.to(memory_format=torch.channels_last)
    return "channels_last", lambda image: _channels_last(network, image)


def _channels_last(forward: Forward, image: Tensor) -> Tensor:
    return forward(image.contiguous(memory_format=torch.channels_last)).contiguous()


def _in_one_line(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 200)


class CompiledForward:
    """`torch.compile` of a network with its channels last; uncompiled from its first failure on, with a warning."""

    def __init__(self, network: nn.Module):
        self.network = network.to(memory_format=torch.channels_last)
        self.compiled: Forward | None = None
        self.failed = False

    def __call__(self, image: Tensor) -> Tensor:
        if not self.failed:
            try:
                # Here and not before: compiling begins with the first call, and so do its failures.
                self.compiled = self.compiled or torch.compile(self.network)
                return _channels_last(self.compiled, image)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                warnings.warn(f"torch.compile failed ({_in_one_line(error)}); going on uncompiled", stacklevel=2)
                self.failed, self.compiled = True, None
        return _channels_last(self.network, image)


class OpenVINOForward:
    """A network converted by `torch.export` and compiled by OpenVINO, for any batch size.

    Slices are shared among streams, each with its own threads: threads that work on one slice wait for each other.
    A slice alone has all threads, in a second compilation at the first such call. Gray input is repeated to three
    channels, as the network itself does: a model for one channel is no faster. kept: where it is or comes to be kept.
    """

    def __init__(self, network: nn.Module, kept: Path | None = None):
        self.threads = torch.get_num_threads()
        self.streams = min(self.threads, MOST_STREAMS)
        with _without_telemetry(), _without_logging():
            for self.model in _models(network, kept):
                self.several = self._compile("THROUGHPUT", self.streams)
                if self.several is not None:
                    break
        assert self.several is not None, "what was just converted compiles, or says why not"
        self.requests = SimpleQueue[Any]()  # one for each stream, for whoever calls
        for _ in range(self.streams):
            self.requests.put(self.several.create_infer_request())
        self.pool = ThreadPoolExecutor(self.streams)
        self.alone: Any = None
        self.lock = threading.Lock()

    def __call__(self, image: Tensor) -> Tensor:
        color = image.detach().expand(-1, 3, -1, -1).contiguous()
        if len(image) == 1:
            with self.lock:  # one request, of one caller at a time
                if self.alone is None:
                    compiled = self._compile("LATENCY", 1)  # None: a cache deleted meanwhile; it goes where several go
                    self.alone = False if compiled is None else compiled.create_infer_request()
                if self.alone:
                    return _infer(self.alone, color)
        parts = color.split(min(SLICES_AT_ONCE, -(-len(image) // self.streams)))
        return torch.cat(list(self.pool.map(self._infer_some, parts)))

    def _infer_some(self, color: Tensor) -> Tensor:
        request = self.requests.get()
        try:
            return _infer(request, color)
        finally:
            self.requests.put(request)

    def _compile(self, hint: str, streams: int) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
            "PERFORMANCE_HINT": hint,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same cores
        }
        if isinstance(self.model, Path):
            return compile_beside(_openvino_core(), self.model, settings)
        return _openvino_core().compile_model(self.model, "CPU", settings)


def _infer(request: Any, color: Tensor) -> Tensor:
    return torch.from_numpy(request.infer([color.numpy()], share_inputs=True)[0])


def _openvino_core() -> Any:
    with _ONE_AT_A_TIME:
        return _new_openvino_core()


@cache
def _new_openvino_core() -> Any:
    """OpenVINO's entry, one for the process and kept to its end.

    Its CPU plugin gives the thread that loads it a stack for signal handlers, and unmaps it when it is unloaded. With
    two plugins unloaded in the order they came, the thread is left with one that is gone, and dies by SIGSEGV at its
    next signal: at Ctrl-C, or when a data loader's worker ends (OpenVINO 2026).

    Its Python part prepares itself for NumPy at the first array, which must not happen in two threads (OpenVINO 2026.4
    was seen to hang): the first one is given here, by one thread.
    """
    import openvino

    openvino.Tensor(np.zeros(1, np.float32))
    return openvino.Core()


def _models(network: nn.Module, kept: Path | None) -> Iterator[Any]:
    """What to compile, until it can be: the file that was kept, one that is made now, and where there is none, that."""
    if (path := read_kept(kept)) is not None:
        yield path
    converted = _to_openvino(network.to(memory_format=torch.contiguous_format))
    keep(converted, kept)
    if (path := read_kept(kept)) is not None:
        yield path
    yield converted


def _to_openvino(network: nn.Module) -> Any:
    """Convert through OpenVINO's frontend, not `openvino.convert_model`, which reports every conversion."""
    from openvino import PartialShape
    from openvino.frontend import FrontEndManager  # type: ignore[attr-defined]
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    height, width = config_of(network).height_width
    example = torch.zeros(2, 3, height, width)
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},), strict=False)
    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder.from_exported_program(program)  # must live until the model is converted
    model = frontend.load(decoder)
    model.set_partial_shape(model.get_inputs()[0], PartialShape([-1, 3, height, width]))
    return frontend.convert(model)


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Hide `openvino_telemetry` while OpenVINO is imported: importing it sends a message to its makers.

    OpenVINO then uses its own silent stand-in, for as long as the process runs.
    """
    name = "openvino_telemetry"
    loaded = {name: sys.modules[name]} if name in sys.modules else {}
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(loaded)


@contextmanager
def _without_logging() -> Iterator[None]:
    """Keep OpenVINO's notes on operations that this torch does not have out of the user's log."""
    root, handler, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(handler)  # without one, `logging.warning` would set up a handler for good
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)
