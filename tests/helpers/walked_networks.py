"""Small networks of every preset for lesson 08, and short ways to read their steps."""

from __future__ import annotations

import torch

from msa2net_lib import MSA2Net
from msa2net_lib.config import NetworkConfig

SIZE = (64, 96)  # not square, so that height and width cannot be taken for each other
LEVEL_3 = {f"{part} 3" for part in ("linear", "gate", "norm", "blocks")}


def build(preset, size=SIZE, **overrides):
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
