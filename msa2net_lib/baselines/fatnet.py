"""FAT-Net: a ResNet and a vision transformer side by side, skips that are refined by one block again and again."""

from __future__ import annotations

import torch
from einops import rearrange
from timm.layers.squeeze_excite import SqueezeExcite
from torch import Tensor, nn

from msa2net_lib.baselines.blocks import fitting_size
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.timm_models import create_timm

APPLIED = (6, 4, 2)
"""How often the block of each skip runs, finest first; its weights are the same every time."""


class FeatureAdaptation(nn.Module):
    """relu(conv3x3(x)) + relu(conv1x1(x)), without norm and residual."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(x).relu() + self.conv1(x).relu()


def up_step(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice the height and width: 1x1 to a quarter of the channels, transposed 3x3, 1x1, a norm and ReLU after each."""
    inner = channels_in // 4
    layers: list[nn.Module] = []
    for convolution in (
        nn.Conv2d(channels_in, inner, 1),
        nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1),
        nn.Conv2d(inner, channels_out, 1),
    ):
        layers += [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
    return nn.Sequential(*layers)


class FATNet(nn.Module):
    """FAT-Net: (b, 1|3, h, w) -> logits (b, k, h, w) at the size it is built for, multiples of 32.

    As in SZUcsh/FAT-Net. Of DeiT-tiny only patch embedding and blocks are taken: no positions, no class or distillation
    token, no last norm. The feature adaptation block of a level runs six, four and two times with the same weights.
    Skips are added. The fourth decoder step is owned and never runs. That code takes 224 pixels only, because it writes
    14 x 14 cells out; nothing in it depends on the size otherwise. ``cnn``: timm's name of a ResNet of basic blocks.
    ``depth``: blocks of the transformer.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool = False,
        cnn: str = "resnet34.tv_in1k",
        depth: int = 12,
    ):
        super().__init__()
        self.image_size = fitting_size(image_size, 32, "fatnet")
        self.cnn = create_timm(cnn, pretrained)
        transformer = create_timm("deit_tiny_distilled_patch16_224", pretrained, img_size=self.image_size, depth=depth)
        self.transformer = nn.ModuleDict({"patch_embed": transformer.patch_embed, "blocks": transformer.blocks})
        self.to_map = nn.Conv2d(192, 512, 1)
        self.squeeze = SqueezeExcite(1024, rd_channels=64, bias=False)
        self.fuse = nn.Conv2d(1024, 512, 1)
        self.adapt = nn.ModuleList(FeatureAdaptation(channels) for channels in (64, 128, 256))
        self.decoder = nn.ModuleList(up_step(*pair) for pair in ((512, 256), (256, 128), (128, 64), (64, 64)))
        self.head = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, num_classes, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        image = as_rgb(image, size=self.image_size)
        x, skips = self.cnn.act1(self.cnn.bn1(self.cnn.conv1(image))), []  # no max pooling
        for stage in (self.cnn.layer1, self.cnn.layer2, self.cnn.layer3, self.cnn.layer4):
            skips.append(x := stage(x))
        tokens = self.transformer["blocks"](self.transformer["patch_embed"](image))
        cells = self.to_map(rearrange(tokens, "b (h w) c -> b c h w", h=x.shape[2]))
        x = self.fuse(self.squeeze(torch.cat([x, cells], dim=1)))
        for level in (2, 1, 0):
            skip = skips[level]
            for _ in range(APPLIED[level]):
                skip = self.adapt[level](skip)
            x = self.decoder[2 - level](x) + skip
        return self.head(x)
