"""What the backward pass needs of cheap layers' outputs is computed a second time instead of being kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from timm.layers.activations import GELU
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.squeeze_excite import SEModule
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F

CHEAPEST: tuple[type[nn.Module], ...] = (nn.GELU, GELU, nn.LayerNorm)
"""Layers whose second computation took no time that could be measured on a CPU; the others' took a tenth of a step."""
CHEAP = (*CHEAPEST, nn.SiLU, SEModule, BatchNormAct2d)
"""Layers that read their input once or twice and draw nothing at random; of batch norms, those that an activation
follows."""
LEAST_BYTES = 2**18
"""Smaller outputs are kept: they cost more time than memory."""
LARGE = 20_000_000
"""Weights from which on a network is worth it: looking at all that is kept makes a step of `tiny` a tenth longer."""


def forward_pass(network: nn.Module) -> AbstractContextManager[None]:
    """What a training step's forward pass runs in: `RecomputedActivations` for large networks that are not compiled.

    A SiLU behind a batch norm ceases to work in place: its gradient would need a copy of its input, which nobody else
    reads there.
    """
    _keep_what_norms_hand_on(network)
    large = sum(parameter.numel() for parameter in network.parameters()) >= LARGE
    compiled = network._compiled_call_impl is not None
    return RecomputedActivations(network) if large and not compiled else nullcontext()


def _keep_what_norms_hand_on(network: nn.Module) -> None:
    """Have activations behind a batch norm make a copy; elsewhere what lies in their place may be read once more."""
    for module in network.modules():
        if isinstance(module, BatchNormAct2d) and isinstance(module.act, nn.SiLU):
            module.act.inplace = False


class RecomputedActivations(AbstractContextManager[None]):
    """While it is entered, a network's forward pass keeps less for the backward pass; the gradients are the same.

    A layer such as GELU keeps its input for its own gradient, and the next layer keeps its output: twice as much as is
    needed, since the one follows from the other in one pass over memory. Here the second is not kept but computed again
    when the backward pass comes to it. Of `published` all `CHEAP` layers make up a third of what a step keeps, the
    `CHEAPEST` a sixth. Values, gradients and batch norms' statistics are the same to the last bit.

    It is not for compiled code, whose compiler chooses itself what it keeps.

    Args:
        network: any; what it does not have of these layers stays as it is, and so do activations that work in place,
            but for SiLU behind a batch norm, which ceases to.
        layers: whose outputs are computed again, all or some of `CHEAP`; None for all, but on a CPU, where time is
            short and memory is not, for the `CHEAPEST`.

    Raises:
        RuntimeError: in the backward pass, where something was changed in place that the backward pass needs.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU(), torch.nn.Linear(8, 1))
        >>> with RecomputedActivations(network):
        ...     loss = network(torch.ones(2, 8)).sum()
        >>> loss.backward()

    Source: Chen et al. 2016, arXiv:1604.06174, for whole segments; torch's own way to the graph is
    `torch.autograd.graph.saved_tensors_hooks`.
    """

    def __init__(self, network: nn.Module, layers: tuple[type[nn.Module], ...] | None = None):
        if layers is None:
            on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
            layers = CHEAPEST if on_cpu else CHEAP
        modules: list[Any] = list(network.modules())
        whole = tuple(layer for layer in layers if layer is not BatchNormAct2d)  # of which a part is computed again
        _keep_what_norms_hand_on(network)
        # What works in place would overwrite what it is to be made from.
        cheap = [module for module in modules if isinstance(module, whole)]
        self._cheap = [module for module in cheap if not getattr(module, "inplace", False)]
        # The exact class: those of several processes take their statistics over all of them.
        norms: list[Any] = [module for module in modules if type(module) is BatchNormAct2d and type(module) in layers]
        self._norms = [norm for norm in norms if isinstance(norm.drop, nn.Identity)]
        self._made: dict[int, _Recipe] = {}
        self._normed: Tensor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> None:
        with ExitStack() as stack:
            for module in self._cheap:
                stack.callback(module.register_forward_hook(self._note_output).remove)
            for norm in self._norms:
                if norm.training:
                    stack.callback(norm.register_forward_pre_hook(self._note_input).remove)
                    stack.callback(norm.act.register_forward_pre_hook(partial(self._note_normed, norm)).remove)
            stack.enter_context(saved_tensors_hooks(self._pack, _unpack))
            stack.callback(self._forget)
            self._stack = stack.pop_all()

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()

    def _forget(self) -> None:
        self._made.clear()
        self._normed = None

    def _note_input(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._normed = given[0] if given else None

    def _note_normed(self, norm: Any, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        if self._normed is not None:  # without the running statistics, which have moved already
            again = partial(F.batch_norm, running_mean=None, running_var=None, training=True, eps=norm.eps)
            self._note(partial(again, weight=norm.weight, bias=norm.bias), self._normed, given[0])
        self._normed = None

    def _note_output(self, module: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        if given:  # not by name
            self._note(partial(type(module).forward, module), given[0], found)

    def _note(self, make: Callable[[Tensor], Tensor], given: Tensor, found: Tensor) -> None:
        storage = found.untyped_storage()
        if torch.is_grad_enabled() and found.grad_fn is not None and storage.nbytes() >= LEAST_BYTES:
            kind = found.device.type
            cast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
            source = self._pack(given.detach())
            self._made[storage.data_ptr()] = _Recipe(
                make, source, cast, StorageWeakRef(storage), found._version, found.shape, found.stride()
            )

    def _pack(self, tensor: Tensor) -> _Kept | _Again:
        storage = tensor.untyped_storage()
        recipe = self._made.get(storage.data_ptr())
        # Memory that was freed is another tensor's by now; a part of the output is not its whole memory.
        whole = tensor.numel() * tensor.element_size() == storage.nbytes()
        if recipe is None or recipe.storage.expired() or recipe.version != tensor._version or not whole:
            return _Kept(tensor, tensor._version)
        return _Again(recipe, tensor.shape, tensor.stride(), int(tensor.storage_offset()))


@dataclass(frozen=True, slots=True)
class _Kept:
    tensor: Tensor
    version: int


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How an output is made again: from what, in which mixed precision, and how it lay in memory."""

    make: Callable[[Tensor], Tensor]
    source: _Kept | _Again
    cast: torch.dtype | None
    storage: StorageWeakRef
    version: int
    shape: torch.Size
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Again:
    recipe: _Recipe
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int


def _unpack(saved: _Kept | _Again) -> Tensor:
    if isinstance(saved, _Kept):
        if saved.tensor._version != saved.version:
            raise RuntimeError("what the backward pass needs was changed in place: use an operation that makes a copy")
        return saved.tensor
    recipe = saved.recipe
    source = _unpack(recipe.source)
    kind = source.device.type
    with torch.no_grad(), nullcontext() if recipe.cast is None else torch.autocast(kind, recipe.cast):
        made = recipe.make(source)
    if made.stride() != recipe.stride:
        made = torch.empty_strided(recipe.shape, recipe.stride, dtype=made.dtype, device=made.device).copy_(made)
    return made.as_strided(saved.shape, saved.stride, saved.offset)
