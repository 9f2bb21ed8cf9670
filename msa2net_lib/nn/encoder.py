"""The encoder: a MaxViT from timm, its four stages as skip features."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.nn.timm_models import create_backbone


class Encoder(nn.Module):
    """MaxViT stages at 1/4, 1/8, 1/16 and 1/32 of the input; the deepest passes the backbone's norm.

    Shape: (b, 1|3, h, w) -> four feature maps, fine to coarse. Gray input is repeated to three channels.
    ``image_size`` (height, width) fixes the attention windows at 1/32 of it, so input must have exactly
    this size. ``options`` go to timm's model as they are. ``gray_stem`` adds the 1 -> 3 convolution that
    the released encoder owns and never runs. ``position_dropout``: as in `NetworkConfig`.
    """

    def __init__(
        self,
        name: str,
        image_size: tuple[int, int],
        options: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        gray_stem: bool = False,
        position_dropout: float = 0.125,
    ):
        super().__init__()
        self.image_size = image_size
        self.gray_stem = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)) if gray_stem else None
        self.backbone: Any = create_backbone(name, image_size, pretrained, options, position_dropout)
        info = self.backbone.feature_info
        # The first entry is the stem at 1/2, which has no skip.
        self.channels: tuple[int, ...] = tuple(stage["num_chs"] for stage in info[1:])
        if any(wide != 2 * narrow for narrow, wide in zip(self.channels, self.channels[1:], strict=False)):
            raise InputError(
                f"encoder={name!r} has channels {self.channels}, which do not double from stage to stage: "
                "choose another encoder, or set encoder_options['embed_dim']"
            )

    def forward(self, image: Float[Tensor, "b ch h w"]) -> list[Tensor]:
        rgb = as_rgb(image, size=self.image_size)
        return self.backbone.forward_intermediates(rgb, indices=4, norm=True, intermediates_only=True)


def as_rgb(image: Tensor, multiple: int = 32, size: tuple[int, int] | None = None) -> Float[Tensor, "b 3 h w"]:
    """Images as three channels, gray ones repeated, after a look at what was handed in.

    multiple: height and width must be multiples of it. size: or exactly this (height, width), where position tables or
    windows fix it. Raises: `InputError` for another number of axes or channels, or another size.
    """
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise InputError(
            f"input of shape {tuple(image.shape)}: give (batch, channels, height, width) "
            "with 1 channel (gray) or 3 (RGB)"
        )
    height, width = image.shape[-2:]
    if size is not None and (height, width) != tuple(size):
        if height % multiple or width % multiple:
            advice = f"resize it to multiples of {multiple} first"
        else:
            advice = f"build the network with image_size={height if height == width else (height, width)}"
        built = f"{size[0]} x {size[1]}"
        raise InputError(f"input of {height} x {width} pixels, but the network is built for {built}: {advice}")
    if height % multiple or width % multiple:
        raise InputError(f"input of {height} x {width} pixels: resize it to multiples of {multiple} first")
    return image.repeat(1, 3, 1, 1) if image.shape[1] == 1 else image
