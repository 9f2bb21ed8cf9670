"""What a network costs: multiply-adds and normalized elements of one forward pass, live and unused parameters.

Everything here is counted on the network as built. Counting needs no memory for weights: see `build_empty`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from msa2net_lib.baselines.registry import rebuild_empty
from msa2net_lib.baselines.spec import Config, config_of
from msa2net_lib.nn.network import MSA2Net

FVCORE_RECORDED = 15.551
"""G multiply-adds of `published` at 224 as an earlier count here noted it, by fvcore in training mode.

Counting again gives 15.564 (`TRAINING`). Why the two differ is not established.
"""
ITSELF = "itself"
"""What a network's own parameters and products, between its parts, are called."""
NORMS = {"batch norm": nn.modules.batchnorm._BatchNorm, "layer norm": nn.LayerNorm}


def build_empty(config: Config) -> Any:
    """Build a network that has shapes and no weights (torch's "meta" device); enough to count with."""
    return rebuild_empty(config)


def network_parts(network: nn.Module) -> dict[str, list[nn.Module]]:
    """Modules of each part, in order of data flow, under the names that lesson 08 writes in its boxes.

    Together they hold every parameter of the network once. The number is the decoder level, 0 is the finest. Of another
    network than MSA²Net the parts are its direct children, and `ITSELF` where it has none or parameters of its own.
    """
    if not isinstance(network, MSA2Net):
        parts = {name: [child] for name, child in network.named_children()}
        return {ITSELF: [network]} if not parts or any(True for _ in network.parameters(recurse=False)) else parts
    backbone, levels = network.encoder.backbone, network.decoder.levels
    stages = {f"encoder stage {i}": [stage] for i, stage in enumerate(backbone.stages, start=1)}
    stages["encoder stage 4"].append(backbone.norm)
    parts = {"gray stem": [network.encoder.gray_stem], "stem": [backbone.stem], **stages}
    for i in (3, 2, 1, 0):
        for name in ("linear", "gate", "norm", "blocks", "expand"):
            module = getattr(levels[i], name)
            modules = list(module) if isinstance(module, nn.ModuleList) else [module]
            parts[f"{name.replace('expand', 'expansion')} {i}"] = modules
    parts["head"] = [network.decoder.head]
    return {name: modules for name, modules in parts.items() if modules and modules[0] is not None}


@dataclass(frozen=True)
class Work:
    """What one forward pass of one image does.

    products: multiply-adds of convolutions and matrix products, by part. attention: those of them that timm's
    fused attention kernels take over (query times key, weights times value, in the encoder). norms: one row per
    normalization that ran, index its name in the network, columns kind (a key of `NORMS`) and elements.
    """

    products: pd.Series
    attention: int
    norms: pd.DataFrame

    def normalized(self, kind: str, name: str = "") -> int:
        """Elements that pass through norms of this kind, those whose name matches the pattern ``name``."""
        chosen = (self.norms.kind == kind) & self.norms.index.str.contains(name)
        return int(self.norms.elements[chosen].sum())


def count_work(network: nn.Module) -> Work:
    """Run one image of the network's size through it, in evaluation mode, and count.

    Products are counted by torch's `FlopCounterMode`, which counts two operations per multiply-add, by module.
    Weights stay as they are, modes are restored and hooks removed whatever happens.
    """
    from torch.utils.flop_counter import FlopCounterMode  # loads triton

    names = {module: name for name, module in network.named_modules()}
    norms: dict[str, tuple[str, int]] = {}

    def note(kind: str, module: nn.Module, output: Tensor) -> None:
        norms[names[module]] = (kind, output.numel())

    counter = FlopCounterMode(display=False)
    with evaluating(network) as undo, torch.no_grad():
        for module in names:
            for kind in (kind for kind, classes in NORMS.items() if isinstance(module, classes)):
                hook = module.register_forward_hook(lambda module, _, output, kind=kind: note(kind, module, output))
                undo.callback(hook.remove)
        with counter:
            network(_image(network))
    counts = counter.get_flop_counts()

    def products(module: nn.Module, words: tuple[str, ...] = ("",)) -> int:
        if isinstance(module, nn.ModuleList | nn.ModuleDict):  # is not called itself, so nothing is counted under it
            return sum(products(child, words) for child in module.children())
        operations = counts.get(f"{type(network).__name__}.{names[module]}", {})
        return sum(count for name, count in operations.items() if any(word in str(name) for word in words)) // 2

    parts = {part: sum(map(products, modules)) for part, modules in network_parts(network).items()}
    if between := counter.get_total_flops() // 2 - sum(parts.values()):
        parts[ITSELF] = parts.get(ITSELF, 0) + between
    # On the meta device the same products are two `bmm`; nothing else in such a module is one.
    fused = ("bmm", "scaled_dot_product")
    attention = sum(products(module, fused) for module in names if getattr(module, "fused_attn", False))
    table = pd.DataFrame.from_dict(norms, orient="index", columns=["kind", "elements"])
    table.index = table.index.astype(str)  # without any norm it would hold numbers
    return Work(pd.Series(parts, name="multiply_adds"), attention, table)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[ExitStack]:
    """Evaluation mode for a while; then each part is in the mode it was in, and what else was noted is undone."""
    with ExitStack() as undo:
        for module in network.modules():
            undo.callback(setattr, module, "training", module.training)
        network.eval()
        yield undo


def _image(network: nn.Module) -> Tensor:
    """One random image of the network's size, on its device and of its type.

    It is gray, and the encoder repeats it: even so the gray stem is not used, and the work is a color image's.
    """
    like = next(network.parameters())
    return torch.randn(1, 1, *config_of(network).height_width, device=like.device, dtype=like.dtype)


@dataclass(frozen=True)
class CountingRule:
    """What one "FLOP" of a published number may mean: the weight that each kind of work gets.

    fused: attention products inside fused kernels are not seen.
    """

    name: str
    counts: str
    product: int = 1
    batch_norm: int = 0
    layer_norm: int = 0
    fused: bool = False

    def total(self, work: Work) -> int:
        """The network's number by this rule, not in G."""
        seen = int(work.products.sum()) - self.fused * work.attention
        batch_norms, layer_norms = (work.normalized(kind) for kind in NORMS)
        return self.product * seen + self.batch_norm * batch_norms + self.layer_norm * layer_norms


TORCH = CountingRule("torch, multiply-adds", "convolutions and matrix products")
OPERATIONS = CountingRule("torch, operations", "the same, a multiplication and an addition are two", product=2)
EVALUATION = CountingRule(
    "fvcore, evaluation mode", "+ 2 per batch-norm element, 5 per layer-norm element", batch_norm=2, layer_norm=5
)
TRAINING = CountingRule("fvcore, training mode", "+ 5 per element of either norm", batch_norm=5, layer_norm=5)
RULES = (
    TORCH,
    OPERATIONS,
    EVALUATION,
    TRAINING,
    CountingRule("fvcore, evaluation, fused", "attention inside fused kernels is not seen", 1, 2, 5, fused=True),
    CountingRule("fvcore, training, fused", "attention inside fused kernels is not seen", 1, 5, 5, fused=True),
)
"""The rules in use. fvcore 0.1.5's (``jit_handles.py``) count a batch norm in evaluation mode as a scale and a
shift. Two of the four einsums of a pair of dual-attention blocks it reads from numpy's text, which prints four
digits: its sums for `published` are 2752 lower than these. The authors' ``train.py`` prints fvcore's count of a
network in training mode.
"""


def counting_table(work: Work) -> pd.DataFrame:
    """The network's number in G by every rule; index rule, columns counts (words) and g."""
    rows = [(rule.name, rule.counts, rule.total(work) / 1e9) for rule in RULES]
    return pd.DataFrame(rows, columns=["rule", "counts", "g"]).set_index("rule")


def gradients(network: nn.Module, seed: int = 0) -> dict[str, Tensor | None]:
    """Gradient of a randomly weighted sum of the logits for every parameter; None where autograd never arrives.

    One random image, evaluation mode. The network's own gradients, weights and modes stay as they were.
    """
    learned = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    names, parameters = zip(*learned, strict=True)
    with evaluating(network), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        logits = network(_image(network))
        total = (logits * torch.randn_like(logits)).sum()
        return dict(zip(names, torch.autograd.grad(total, parameters, allow_unused=True), strict=True))


def used_and_unused(network: nn.Module) -> pd.DataFrame:
    """Parameters that a gradient reaches (live) and that none ever reaches (unused), by part of `network_parts`."""
    reached, rows = _reached(network), {}
    for part, modules in network_parts(network).items():
        sizes = {True: 0, False: 0}
        for parameter in (parameter for module in modules for parameter in module.parameters()):
            sizes[parameter in reached] += parameter.numel()
        rows[part] = (sizes[True], sizes[False])
    return pd.DataFrame.from_dict(rows, orient="index", columns=["live", "unused"]).rename_axis("part")


def _reached(network: nn.Module) -> set[Tensor]:
    """Parameters at the leaves of the graph that autograd would go through, which is not run."""
    with evaluating(network), torch.random.fork_rng(devices=[]):
        nodes: list[Any] = [network(_image(network)).grad_fn]
    seen = {*nodes}
    while nodes:
        new = {node for node, _ in nodes.pop().next_functions if node is not None} - seen
        seen |= new
        nodes += new
    return {node.variable for node in seen if hasattr(node, "variable")}


def vanishing(network: nn.Module, tolerance: float = 1e-12) -> list[str]:
    """Names of live parameters whose gradient is zero up to rounding, whatever the weights are.

    Run in float64 on a copy; zero means that no element reaches ``tolerance`` times the network's largest. These
    are biases that add a constant along the axis of a softmax, which ignores it: of efficient attention's keys, and
    of the encoder's relative positions. Needs real weights, not `build_empty`'s.
    """
    found = gradients(copy.deepcopy(network).double())
    sizes = {name: float(gradient.abs().max()) for name, gradient in found.items() if gradient is not None}
    largest = max(sizes.values())
    return [name for name, size in sizes.items() if size < tolerance * largest]
