"""Every network of the registry at a size that a test can afford: the form is its own, widths and depths are small.

Then every preset of MSA²Net on a small image, and short ways to read the steps that lesson 08 walks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from small_run import SMALL
from torch import nn

from msa2net_lib import MSA2Net, build_network
from msa2net_lib.baselines.registry import NETWORKS
from msa2net_lib.config import NetworkConfig

_TINY = {"encoder": SMALL.encoder, "encoder_options": SMALL.encoder_options}
_DRAWN = {"dim_x": 16, "dim_g": 8, "mults_x": (1, 2), "mults_g": (1, 2), "samples": 1, "steps": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: _TINY for name in NETWORKS if name.startswith("msa2net")},
    "transunet": {"channels": 64, "depth": 1},
    "missformer": {"width": 8, "depth": 1},
    "scaleformer": {"width": 8},
    "daeformer": {"channels": (16, 32, 64), "depth": 1},
    "dlka_2d": _TINY,
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
SIZE = (64, 96)  # not square, so that height and width cannot be taken for each other
LEVEL_3 = {f"{part} 3" for part in ("linear", "gate", "norm", "blocks")}


def shortened(network: Any, attention: Sequence[int] = range(4)) -> Any:
    """Take out of MSA²Net, in place, what it does more than once, which a trace follows each time, and return it.

    A stage keeps one block, a level one, and only the stages named keep their attention.
    """
    for number, stage in enumerate(network.encoder.backbone.stages):
        del stage.blocks[1:]
        if number not in attention:
            stage.blocks[0].attn_block = stage.blocks[0].attn_grid = nn.Identity()
    for level in network.decoder.levels:
        del level.blocks[1:]
    return network


def small_size(name: str) -> int:
    """The smallest side that suits a test, in pixels."""
    return NETWORKS[name].size or 64


def small_classes(name: str, usual: int = 3) -> int:
    """A number of classes that the network takes."""
    return NETWORKS[name].classes or usual


def small_network(name: str, num_classes: int = 3) -> Any:
    """The network, untrained."""
    return build_network(
        name, num_classes=small_classes(name, num_classes), image_size=small_size(name), **OPTIONS.get(name, {})
    )


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
