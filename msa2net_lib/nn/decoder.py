"""The decoder: four levels, each of which merges a skip through a gate, refines and enlarges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from msa2net_lib.nn.dual_attention import DualAttentionBlock
from msa2net_lib.nn.gates import build_gate
from msa2net_lib.nn.layout import PatchExpand, TokenLayout, map_to_tokens, tokens_to_map
from msa2net_lib.nn.lka import LKABlock
from msa2net_lib.nn.masag import Dilated

if TYPE_CHECKING:
    from jaxtyping import Float

    from msa2net_lib.config import LevelConfig, NetworkConfig

BLOCKS = {"lka": LKABlock, "dual_attention": DualAttentionBlock}


class DecoderLevel(nn.Module):
    """One decoder level. With a skip: g = linear(tokens), y = gate(skip, g), norm(g + y), blocks, expansion.

    Shapes: tokens (b, h*w, c), skip (b, c, h, w) or None -> tokens (b, s*h*s*w, c') on the larger grid.
    A part named in ``config.unused`` is built, so that checkpoints fit, and never run; with the gate unused the
    skip is added as it is, without a gate it is left out. The addition to g and the norm come from the released
    code, the paper does not mention them.
    """

    def __init__(
        self,
        channels: int,
        config: LevelConfig,
        scale: int = 2,
        dilated: Dilated = "depthwise",
        layout: TokenLayout = "grid",
    ):
        super().__init__()
        self.config = config
        self.layout: TokenLayout = layout
        gated = config.gate != "none"
        self.linear = nn.Linear(channels, channels) if gated else None
        self.gate = build_gate(config.gate, channels, dilated) if gated else None
        self.norm = nn.LayerNorm(channels) if gated else None
        count = 0 if config.block == "none" else 2
        self.blocks = nn.ModuleList(BLOCKS[config.block](channels) for _ in range(count))
        self.expand = PatchExpand(channels, scale)

    def gating_features(self, tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> Float[Tensor, "b c h w"]:
        """G, what the decoder brings to the gate."""
        assert self.linear is not None, "a level without a gate has no gating features"
        return tokens_to_map(self.linear(tokens), *grid, layout=self.layout)

    def skip_features(self, skip: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """X, the encoder's map as the gate sees it: itself on the true grid."""
        return tokens_to_map(map_to_tokens(skip), *skip.shape[-2:], layout=self.layout)

    def merge(self, tokens: Float[Tensor, "b n c"], skip: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
        """Add the gated skip to the gating features and normalize; the result as tokens on the true grid."""
        assert self.gate is not None, "a level without a gate merges no skip"
        assert self.norm is not None
        g = self.gating_features(tokens, (skip.shape[-2], skip.shape[-1]))
        x = self.skip_features(skip)
        y = x if "gate" in self.config.unused else self.gate(x, g)
        return self.norm(map_to_tokens(g + y))

    def refine(self, tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> Float[Tensor, "b n c"]:
        """Run the two blocks."""
        if self.config.block == "lka":
            features = tokens_to_map(tokens, *grid)
            for block in self.blocks:
                features = block(features)
            return map_to_tokens(features, layout=self.layout)
        for block in self.blocks:
            tokens = block(tokens, grid)
        return tokens

    def forward(
        self, tokens: Float[Tensor, "b n c"], grid: tuple[int, int], skip: Tensor | None = None
    ) -> Float[Tensor, "b m d"]:
        if skip is not None:
            tokens = self.merge(tokens, skip)
        if "blocks" not in self.config.unused:
            tokens = self.refine(tokens, grid)
        return self.expand(tokens, grid)


def xavier_start(decoder: nn.Module) -> None:
    """Fill every linear and convolution with Xavier-uniform weights and zero biases, as the released code does."""
    for module in decoder.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Decoder(nn.Module):
    """Four levels from coarse to fine and the 1x1 convolution to classes.

    Shape: four encoder maps (b, c_i, h_i, w_i), fine to coarse -> logits (b, classes, 4*h_0, 4*w_0).
    """

    def __init__(self, channels: tuple[int, ...], config: NetworkConfig):
        super().__init__()
        self.levels = nn.ModuleList(
            DecoderLevel(c, level, 4 if index == 0 else 2, config.dilated, config.layout)
            for index, (c, level) in enumerate(zip(channels, config.levels, strict=True))
        )
        self.head = nn.Conv2d(channels[0], config.num_classes, 1)
        if config.decoder_init == "xavier":
            xavier_start(self)

    def forward(self, features: list[Tensor]) -> Float[Tensor, "b k h w"]:
        tokens = map_to_tokens(features[3])
        for index in (3, 2, 1, 0):
            tokens = self.run_level(index, tokens, features)
        return self.classify(tokens, features)

    def run_level(self, index: int, tokens: Float[Tensor, "b n c"], features: list[Tensor]) -> Float[Tensor, "b m d"]:
        """One level, from what the coarser one gave; the coarsest has no skip."""
        height, width = features[index].shape[-2:]
        skip = None if index == 3 or self.levels[index].gate is None else features[index]
        return self.levels[index](tokens, (height, width), skip)

    def classify(self, tokens: Float[Tensor, "b n c"], features: list[Tensor]) -> Float[Tensor, "b k h w"]:
        """Logits, from what the finest level gave."""
        height, width = features[0].shape[-2:]
        return self.head(tokens_to_map(tokens, 4 * height, 4 * width))
