"""HiFormer-B: a ResNet whose maps join a Swin pyramid, two token branches, and a convolutional decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from timm.models.crossvit import CrossAttentionBlock
from timm.models.swin_transformer import PatchMerging
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.baselines.blocks import drop_path_rates, fitting_size, load_part, window_size
from msa2net_lib.baselines.swin_unet import ENCODER, SwinStage
from msa2net_lib.errors import InputError
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.layout import map_to_tokens, tokens_to_map
from msa2net_lib.nn.timm_models import create_timm
from msa2net_lib.utils.plain import require_choice

if TYPE_CHECKING:
    from jaxtyping import Float

CHANNELS = (96, 192, 384)
RESNET = "resnet50.tv_in1k"
PRESETS = ("released", "paper")


class Pyramid(nn.Module):
    """ResNet-50's maps at 1/4, 1/8 and 1/16, each added to what a Swin stage makes of the finer one.

    S1 = T1 + Stage(T1), S2 = T2 + Stage(merge(S1)), S3 = T3 + Stage(merge(S2)); T = Conv1x1(maps).
    Shape: (b, 3, h, w) -> tokens S1 (b, h*w/16, 96) and S3 (b, h*w/256, 384).
    """

    def __init__(self, size: tuple[int, int], drop_path: float, cnn: str, depths: tuple[int, int, int]):
        super().__init__()
        self.resnet: Any = create_timm(cnn)
        del self.resnet.layer4
        self.project = nn.ModuleList(nn.Conv2d(4 * 64 * 2**i, c, 1) for i, c in enumerate(CHANNELS))
        rates = drop_path_rates(drop_path, depths)
        self.stages = nn.ModuleList(
            SwinStage(
                c,
                (size[0] // 2 ** (2 + i), size[1] // 2 ** (2 + i)),
                depth=depths[i],
                num_heads=3 * 2**i,
                window_size=window_size(size, 16),
                drop_path=rates[i],
            )
            for i, c in enumerate(CHANNELS)
        )
        self.merges = nn.ModuleList(PatchMerging(c, 2 * c) for c in CHANNELS[:2])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b n c"]]:
        resnet = self.resnet
        features = resnet.maxpool(resnet.act1(resnet.bn1(resnet.conv1(image))))
        kept: list[Tensor] = []
        for number, layer in enumerate((resnet.layer1, resnet.layer2, resnet.layer3)):
            features = layer(features)
            tokens = map_to_tokens(self.project[number](features))
            below = tokens
            if number:
                finer = kept[-1].unflatten(1, (2 * features.shape[-2], 2 * features.shape[-1]))
                below = self.merges[number - 1](finer).flatten(1, 2)
            kept.append(tokens + self.stages[number](below))
        return [kept[0], kept[2]]


class ClassToken(nn.Module):
    """The mean of the normalized tokens, put in front of them. Shape: (b, n, c) -> (b, 1 + n, c)."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b m c"]:
        return torch.cat([self.norm(tokens).mean(dim=1, keepdim=True), tokens], dim=1)


def _to_width(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(channels_in), nn.GELU(), nn.Linear(channels_in, channels_out))


class Fusion(nn.Module):
    """Double-level fusion: each branch's class token looks at the other branch; patch tokens pass as they are.

    A class token is brought to the other branch's width, asks that branch's tokens, comes back and takes its old place.
    `attend` runs the blocks of self-attention, one on the large branch, two on the small one, by which alone the
    patches could learn of it. Shapes: two branches (b, 1 + n, c) -> the same.
    """

    def __init__(self, channels: tuple[int, int], heads: tuple[int, int] = (6, 12)):
        super().__init__()
        pairs = ((0, 1), (1, 0))
        self.go = nn.ModuleList(_to_width(channels[own], channels[other]) for own, other in pairs)
        self.ask = nn.ModuleList(
            CrossAttentionBlock(channels[other], heads[other], qkv_bias=True) for _, other in pairs
        )
        self.come_back = nn.ModuleList(_to_width(channels[other], channels[own]) for own, other in pairs)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(channels[own], heads[own], mlp_ratio=2, qkv_bias=True) for _ in range(own + 1)))
            for own, _ in pairs
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        fused = []
        for own, other in ((0, 1), (1, 0)):
            token = self.go[own](branches[own][:, :1])
            asked = self.ask[own](torch.cat([token, branches[other][:, 1:]], dim=1))
            fused.append(torch.cat([self.come_back[own](asked), branches[own][:, 1:]], dim=1))
        return fused

    def attend(self, branches: list[Tensor]) -> list[Tensor]:
        """The branches after their self-attention blocks."""
        return [blocks(branch) for blocks, branch in zip(self.blocks, branches, strict=True)]


def _convolution(channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, 128, 3, padding=1, bias=False), nn.GroupNorm(32, 128), nn.ReLU()]


class HiFormer(nn.Module):
    """HiFormer-B (Heidari et al., WACV 2023): ResNet-50, three Swin stages, a fusion of two branches, convolutions.

    ``preset="paper"``: the fusion acts, with its class tokens and the self-attention after it. ``"released"`` is what
    the code does: it evaluates the self-attention and returns the list from before it, then the decoder drops the
    class tokens. So nothing of the fusion can reach the output, 3.22 M parameters that Table 1 counts; they are kept
    and not evaluated here, unless ``compute_discarded`` asks for the same cost. The original takes 224 pixels and
    three channels only. ``pretrained``: ResNet-50 and Swin-T (its stages and two mergings) of ImageNet-1k, or their
    two files. ``cnn``, ``depths``: the ResNet, and Swin blocks a stage. Images are expected in [0, 1].

    Shape: (b, 1|3, h, w) of ``image_size``, multiples of 32 -> logits (b, num_classes, h, w).
    Source: github.com/amirhossein-kz/HiFormer, commit 6726d28 (MIT).
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool | str | tuple[str, str] = False,
        preset: Literal["released", "paper"] = "released",
        compute_discarded: bool = False,
        drop_path: float = 0.1,
        cnn: str = "resnet50",
        depths: tuple[int, int, int] = (2, 2, 6),
    ):
        super().__init__()
        require_choice("preset", preset, PRESETS)
        self.image_size = fitting_size(image_size, 32, "hiformer_b")
        self.acts, self.fuses = preset == "paper", preset == "paper" or compute_discarded
        height, width = self.image_size
        self.grids = ((height // 4, width // 4), (height // 16, width // 16))
        branches = (CHANNELS[0], CHANNELS[2])
        self.pyramid = Pyramid(self.image_size, drop_path, cnn, depths)
        self.class_tokens = nn.ModuleList(ClassToken(c) for c in branches)
        self.positions = nn.ParameterList(
            nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1 + h * w, c), std=0.02))
            for (h, w), c in zip(self.grids, branches, strict=True)
        )
        self.fusion = Fusion(branches)
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in branches)
        up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.large = nn.Sequential(*_convolution(branches[0]))
        self.small = nn.Sequential(*_convolution(branches[1]), up, *_convolution(128), up)
        self.mix = nn.Sequential(nn.Conv2d(128, 16, 1), nn.ReLU())
        self.head = nn.Conv2d(16, num_classes, 3, padding=1)
        if pretrained:
            self.load_imagenet(pretrained)

    def load_imagenet(self, pretrained: bool | str | tuple[str, str]) -> None:
        """Start the pyramid from timm's weights, or from (ResNet-50's file, Swin-T's file)."""
        if isinstance(pretrained, str):
            raise InputError(
                f"pretrained={pretrained!r}: hiformer_b has two encoders, give (ResNet-50's file, Swin-T's file)"
            )
        resnet, swin = (True, True) if isinstance(pretrained, bool) else pretrained
        load_part(self.pyramid.resnet, create_timm(RESNET, resnet).state_dict())
        whole = create_timm(ENCODER, swin)
        whole.set_input_size(self.image_size, window_size=window_size(self.image_size, 16))
        for number, stage in enumerate(self.pyramid.stages):
            load_part(stage, whole.layers[number].state_dict())
        for number, merge in enumerate(self.pyramid.merges):
            load_part(merge, whole.layers[number + 1].downsample.state_dict())

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        branches = self.pyramid(as_rgb(image, size=self.image_size))
        if self.fuses:
            branches = [token(b) + p for token, b, p in zip(self.class_tokens, branches, self.positions, strict=True)]
            branches = self.fusion(branches)
            attended = self.fusion.attend(branches)
            branches = [norm(b) for norm, b in zip(self.norms, attended if self.acts else branches, strict=True)]
            branches = [branch[:, 1:] for branch in branches]
        else:
            branches = [norm(b + p[:, 1:]) for norm, b, p in zip(self.norms, branches, self.positions, strict=True)]
        large, small = (tokens_to_map(b, *grid) for b, grid in zip(branches, self.grids, strict=True))
        mixed = self.mix(self.large(large) + self.small(small))
        return self.head(functional.interpolate(mixed, scale_factor=4, mode="bilinear"))
