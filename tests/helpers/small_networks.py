"""Every network of the registry at a size that a test can afford: the form is its own, widths and depths are small.

Then every preset of MSA²Net on a small image, and short ways to read the steps that lesson 08 walks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from small_run import SMALL
from torch import nn

from msa2net_lib import MSA2Net, build_network
from msa2net_lib.baselines.registry import NETWORKS
from msa2net_lib.config import NetworkConfig
from msa2net_lib.utils.torch_files import Undrawn

_TINY = {"encoder": SMALL.encoder, "encoder_options": SMALL.encoder_options}
_DRAWN = {"dim_x": 16, "dim_g": 8, "mults_x": (1, 2), "mults_g": (1, 2), "samples": 1, "steps": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: _TINY for name in NETWORKS if name.startswith("msa2net")},
    "transunet": {"channels": 64, "depth": 1, "blocks": (1, 1, 1)},
    "missformer": {"width": 8, "depth": 1},
    "scaleformer": {"width": 8, "depth": 1},
    "hiformer_b": {"cnn": "resnet14t", "depths": (2, 1, 1)},
    "daeformer": {"channels": (16, 32, 64), "depth": 1},
    "dlka_2d": {**_TINY, "depth": 1},
    "swin_unet": {"channels": 32, "depth": 1},
    "pvt_cascade": {"encoder": "pvt_v2_b0"},
    "unet": {"widths": (4, 8, 8, 8, 8)},
    "attunet": {"widths": (4, 8, 8, 8, 8)},
    "unet_nitr": {"widths": (4, 8, 8, 8)},
    "fatnet": {"cnn": "resnet18", "depth": 1},
    "uctransnet": {"base": 4, "layers": 1},
    "dermosegdiff": _DRAWN,
    "dermosegdiff_small": _DRAWN,
}
_AGAIN = {
    "swin_unet": {
        **{f"encoder.layers.{i}.blocks": 0 for i in (1, 2)},
        **{f"levels.{i}.stage.blocks": 0 for i in (0, 1)},
    },
    "missformer": {**{f"{part}.{i}.blocks": 0 for part in ("stages", "levels") for i in (1, 2)}, "bridge.layers": 1},
    "scaleformer": {f"intra.{i}": 0 for i in (1, 2, 3)},
    "hiformer_b": {f"pyramid.stages.{i}.blocks": 0 for i in (1, 2)},
    "daeformer": {"stages.1.blocks": 0, "stages.2.blocks": 0, "levels.1.blocks": 0},
    "pvt_cascade": {
        f"encoder.stages.{i}.blocks": kept for i, kept in enumerate((1, 0, 0, 1))
    },  # the last reduces nothing
    "dlka_2d": {f"levels.{i}.blocks": 0 for i in (1, 2)},
    "fatnet": {f"cnn.layer{i}": 1 for i in (1, 2, 3, 4)},
}
"""Blocks of which others of the same kind are elsewhere in the network: list of blocks -> how many of them stay."""
SIZE = (64, 96)  # not square, so that height and width cannot be taken for each other
LEVEL_3 = {f"{part} 3" for part in ("linear", "gate", "norm", "blocks")}


def shortened(network: Any, attention: Sequence[int] = range(4)) -> Any:
    """Take out of MSA²Net, in place, what it does more than once, which a trace follows each time, and return it.

    A stage keeps one block, a level one, and only the stages named keep their attention.
    """
    _shorten(network.encoder, attention)
    for level in network.decoder.levels:
        del level.blocks[1:]
    return network


def _shorten(encoder: Any, attention: Sequence[int]) -> None:
    for number, stage in enumerate(encoder.backbone.stages):
        del stage.blocks[1:]
        if number not in attention:
            stage.blocks[0].attn_block = stage.blocks[0].attn_grid = nn.Identity()


def each_part_once(name: str, network: Any) -> bool:
    """The same for a network of Tables 1 and 2, in place, and whether there was anything to take out."""
    for blocks, kept in _AGAIN.get(name, {}).items():
        del network.get_submodule(blocks)[kept:]
    if name == "dlka_2d":
        _shorten(network.encoder, [2])
    return name in _AGAIN


def small_size(name: str) -> int:
    """The smallest side that suits a test, in pixels."""
    return NETWORKS[name].size or (32 if name == "dermosegdiff_small" else 64)  # it is called several times an image


def small_classes(name: str, usual: int = 3) -> int:
    """A number of classes that the network takes."""
    return NETWORKS[name].classes or usual


def small_network(name: str, num_classes: int = 3) -> Any:
    """The network, untrained."""
    return build_network(
        name, num_classes=small_classes(name, num_classes), image_size=small_size(name), **OPTIONS.get(name, {})
    )


def evenly_drawn(make: Callable[[], Any]) -> Any:
    """A large network, matrices and kernels drawn from one range and vectors around 1: quicker than its own start."""
    with Undrawn():
        network = make()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, *((-0.1, 0.1) if parameter.ndim > 1 else (0.5, 1.5)))
    return network


def build(preset, size=SIZE, **overrides):
    """MSA²Net of a preset, its weights drawn with seed 0."""
    torch.manual_seed(0)
    return MSA2Net.from_preset(preset, image_size=size, **overrides)


def with_levels(preset="tiny", **changes):
    """A tiny network with the levels of ``preset``; level_1={"gate": "addition"} changes one of them."""
    levels = [vars(level) for level in NetworkConfig.from_preset(preset).levels]
    return build("tiny", levels=[level | changes.get(f"level_{i}", {}) for i, level in enumerate(levels)])


def by_name(steps):
    return {step.name: step for step in steps}


def unused_names(steps):
    return {step.name for step in steps if not step.runs}
