#!/usr/bin/env bash
# torch's FlopCounterMode counts the backward pass of a depthwise convolution as if it were a full one.
#
# One would guess what holds for any convolution: two gradients, each as much work as the forward pass, so twice the
# forward count. Ungrouped convolutions are counted so. With groups, the formula of the weight's gradient forgets them:
# the input's gradient is right, the weight's is "groups" times too much. It matters here because the gate and the
# decoder are built from depthwise convolutions, and a training step's share of a machine's peak would be flattered.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

print("torch", torch.__version__)
channels, side = 64, 32
for groups, expected in ((1, 2.0), (8, (1 + 8) * 1.0), (channels, (1 + channels) * 1.0)):
    layer = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
    image = torch.randn(1, channels, side, side, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        layer(image).sum().backward()
    counts = counter.get_flop_counts()["Global"]
    forward, backward = counts[torch.ops.aten.convolution], counts[torch.ops.aten.convolution_backward]
    by_hand = 2 * side * side * 9 * channels * channels // groups
    print(f"{groups:2} groups: forward {forward} (by hand {by_hand}), backward {backward / forward:g} times that")
    assert forward == by_hand
    assert backward / forward == expected, "grouped convolutions are counted otherwise now"
PYTHON
