"""The capstone: the whole gate as a module of the reader's own, checked, put into the network, trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from msa2net_lib.analysis.toy_task import train_toy
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.exercise import Check, random_tensor
from msa2net_lib.lessons.l05_recalibration.checks import trained
from msa2net_lib.nn.masag import MASAG

LAYERS = {
    "depthwise": "fusion.local_context.depthwise",
    "depthwise_norm": "fusion.local_context.depthwise_norm",
    "dilated": "fusion.local_context.dilated",
    "dilated_norm": "fusion.local_context.dilated_norm",
    "pointwise": "fusion.local_context.pointwise",
    "pointwise_norm": "fusion.local_context.pointwise_norm",
    "mix": "fusion.global_context.mix",
    "mix_norm": "fusion.global_context.norm",
    "fused_norm": "fusion.norm",
    "select": "selection.project",
    "attend": "recalibration.attend",
    "attend_norm": "recalibration.attend_norm",
    "project": "recalibration.project",
    "project_norm": "recalibration.project_norm",
}
"""The names that the layers have to have in the reader's module -> where the library has them."""
SIZES = ((2, 4, 5, 7), (3, 3, 8, 8), (2, 6, 9, 4))
Build = Callable[[int], nn.Module]


@dataclass
class Weights:
    """A gate whose weights are handed over, and which cannot be called in place of the reader's."""

    gate: MASAG
    note: Callable[..., None] | None = None

    def watch(self, note: Callable[..., None]) -> None:
        """Have ``note`` told of a layer's calls in evaluation mode: name, layer, what goes in and what comes out."""
        self.note = note

    def listen(self, layers: Mapping[str, nn.Module]) -> list[RemovableHandle]:
        """Look at these layers, if anything watches, until the handles are removed."""
        note = self.note
        return (
            [layer.register_forward_hook(partial(note, f"`{name}`")) for name, layer in layers.items()] if note else []
        )


def fill(module: nn.Module, gate: MASAG) -> nn.Module:
    """Copy a gate's weights and running statistics into a module with `LAYERS`.

    Raises: `InputError` for a layer that is missing, not asked for, or of another shape.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"it is {type(module).__name__}: write a class that inherits from nn.Module")
    wanted = {
        f"{name}.{key}": tensor
        for name, path in LAYERS.items()
        for key, tensor in gate.get_submodule(path).state_dict().items()
    }
    own = module.state_dict()
    if missing := [name for name in LAYERS if not hasattr(module, name)]:
        raise InputError(f"not yet: these layers are missing: {', '.join(missing)}")
    if more := sorted({name.partition(".")[0] for name in own} - {*LAYERS}):
        raise InputError(f"the gate has no layer {', '.join(more)}")
    for name, tensor in wanted.items():
        layer, _, key = name.rpartition(".")
        if name not in own:
            kind = "a BatchNorm2d" if layer.endswith("_norm") else "a convolution with bias"
            raise InputError(f"{layer} has no {key}: {kind} is expected")
        if own[name].shape != tensor.shape:
            hint = ": depthwise, so groups=channels" if layer in ("depthwise", "dilated") and key == "weight" else ""
            raise InputError(f"{name} has shape {tuple(own[name].shape)}, expected {tuple(tensor.shape)}{hint}")
    module.to(next(gate.parameters()).dtype).load_state_dict(wanted)  # in this order, or weights are rounded
    return module


def _draw(rng: np.random.Generator) -> tuple[Any, ...]:
    shape = SIZES[int(rng.integers(len(SIZES)))]
    return Weights(trained(MASAG(shape[1]), rng)), random_tensor(rng, *shape), random_tensor(rng, *shape)


def _in_both_modes(
    module: nn.Module, x: Tensor, g: Tensor, heard: Sequence[RemovableHandle] = ()
) -> tuple[Tensor, Tensor]:
    """The output in evaluation mode, then in training mode, to which nothing listens any more."""
    first = module.eval()(x, g)
    for handle in heard:
        handle.remove()
    return first, module.train()(x, g)


class _Outcome:
    """Not a class as a reader writes it, but what it would give: of a mistake, and of the library's own gate."""

    def __init__(self, run: Callable[..., Any]):
        self.run = run

    def __call__(self, *arguments: Any) -> Any:
        return self.run(*arguments)


def _use(build: Any) -> Callable[..., Any]:
    if isinstance(build, _Outcome):
        return build.run

    def run(weights: Weights, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        module = fill(build(x.shape[1]), weights.gate)
        heard = weights.listen({name: module.get_submodule(name) for name in LAYERS})
        return _in_both_modes(module, x, g, heard)

    return run


def _answer(weights: Weights, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    gate = copy.deepcopy(weights.gate)
    heard = weights.listen({name: gate.get_submodule(path) for name, path in LAYERS.items()})
    return _in_both_modes(gate, x, g, heard)


def _changed(change: Callable[[MASAG], object]) -> _Outcome:
    """A gate in which something is other than it should be."""

    def wrong(weights: Weights, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        gate = copy.deepcopy(weights.gate)
        change(gate)
        return _in_both_modes(gate, x, g)

    return _Outcome(wrong)


def _without(*paths: str) -> _Outcome:
    def change(gate: MASAG) -> None:
        for path in paths:
            parent, _, name = path.rpartition(".")
            setattr(gate.get_submodule(parent), name, nn.Identity())

    return _changed(change)


def _composed(compose: Callable[[MASAG, Tensor, Tensor], Tensor]) -> _Outcome:
    """A gate whose stages are right and put together otherwise."""

    def wrong(weights: Weights, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        gate = copy.deepcopy(weights.gate)
        return compose(gate.eval(), x, g), compose(gate.train(), x, g)

    return _Outcome(wrong)


def _undilated(gate: MASAG) -> None:
    layer: Any = gate.fusion.local_context.dilated
    layer.dilation, layer.padding = (1, 1), (1, 1)


_LOCAL = "fusion.local_context"
masag_module = Check(
    "masag_module",
    _Outcome(_answer),
    _draw,
    {
        "the ReLU after depthwise and dilated is missing": _without(
            f"{_LOCAL}.depthwise_activation", f"{_LOCAL}.dilated_activation"
        ),
        "the ReLU after dilated is missing": _without(f"{_LOCAL}.dilated_activation"),
        "the ReLU after depthwise is missing": _without(f"{_LOCAL}.depthwise_activation"),
        "there is a ReLU after pointwise: the local context ends in its batch norm": _changed(
            lambda gate: gate.fusion.local_context.append(nn.ReLU()) and None
        ),
        "`dilated` has no dilation: dilation=2, padding=2": _changed(_undilated),
        "fused_norm is never used: the sum of both contexts is normalized": _without("fusion.norm"),
        "mix_norm is never used": _without("fusion.global_context.norm"),
        "attend_norm is never used": _without("recalibration.attend_norm"),
        "project_norm is never used": _without("recalibration.project_norm"),
        "pointwise_norm is never used": _without(f"{_LOCAL}.pointwise_norm"),
        "x and g are swapped": _composed(lambda gate, x, g: gate(g, x)),
        "the attention weighs U': it weighs the original x": _composed(
            lambda gate, x, g: gate.recalibration(gate.modulate(x, g), gate.modulate(x, g))
        ),
        "g is added: that is the decoder's work": _composed(lambda gate, x, g: gate(x, g) + g),
        "x is added: the gate has no residual of its own": _composed(lambda gate, x, g: gate(x, g) + x),
    },
    use=_use,
)


def without_gradient(module: nn.Module, channels: int) -> tuple[list[str], list[str]]:
    """Parameters that a training step's gradient does not reach, and those for which it is zero up to rounding."""
    generator = torch.Generator().manual_seed(0)
    x, g = torch.randn(2, 4, channels, 8, 8, generator=generator).to(next(module.parameters()).dtype)
    weights = torch.randn(x.shape, generator=generator).to(x.dtype)
    module.train().zero_grad()
    (module(x, g) * weights).sum().backward()
    found = {name: parameter.grad for name, parameter in module.named_parameters()}
    largest = max((float(grad.abs().max()) for grad in found.values() if grad is not None), default=0.0)
    unused = [name for name, grad in found.items() if grad is None]
    return unused, [n for n, grad in found.items() if grad is not None and float(grad.abs().max()) < 1e-5 * largest]


def in_network(build: Build, network: nn.Module, image: Tensor) -> float:
    """Largest difference of the logits with the reader's gates in place of the network's, whose weights they get."""
    whole: Any = copy.deepcopy(network).cpu().eval()
    swapped = copy.deepcopy(whole)
    for level in swapped.decoder.levels:
        if isinstance(level.gate, MASAG):
            level.gate = fill(build(level.gate.recalibration.attend.in_channels), level.gate)
    with torch.no_grad():
        return float((swapped.eval()(image.cpu()) - whole(image.cpu())).abs().max())


def capstone(build: Build, network: nn.Module, image: Tensor, seed: int = 0) -> bool:
    """All of it, a line each: the same numbers, gradients, the same logits, and what it learns on the toy task."""
    if not masag_module(build):
        return False
    unused, zero = without_gradient(build(8), 8)
    print("parameters without a gradient:", ", ".join(unused) or "none")
    print("gradient zero, for a batch norm or a softmax takes a constant off again:", ", ".join(zero) or "none")
    print(f"in the network: logits differ by at most {in_network(build, network, image):.1e}")
    print(f"on the toy task, trained by your gate: {train_toy(build, seed).explained:.2f} of the variance explained")
    return True
