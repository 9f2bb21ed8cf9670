"""The encoder: a MaxViT from timm, its four stages as skip features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.utils.torch_files import read_state_dict, require_finite, some_of


class Encoder(nn.Module):
    """MaxViT stages at 1/4, 1/8, 1/16 and 1/32 of the input; the deepest passes the backbone's norm.

    Shape: (b, 1|3, h, w) -> four feature maps, fine to coarse. Gray input is repeated to three channels.
    ``image_size`` (height, width) fixes the attention windows at 1/32 of it, so input must have exactly
    this size. ``options`` go to timm's model as they are. ``gray_stem`` adds the 1 -> 3 convolution that
    the released encoder owns and never runs.
    """

    def __init__(
        self,
        name: str,
        image_size: tuple[int, int],
        options: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        gray_stem: bool = False,
    ):
        super().__init__()
        self.image_size = image_size
        self.gray_stem = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)) if gray_stem else None
        self.backbone: Any = _create_backbone(name, image_size, pretrained, options or {})
        info = self.backbone.feature_info
        # The first entry is the stem at 1/2, which has no skip.
        self.channels: tuple[int, ...] = tuple(stage["num_chs"] for stage in info[1:])
        if any(wide != 2 * narrow for narrow, wide in zip(self.channels, self.channels[1:], strict=False)):
            raise InputError(
                f"encoder={name!r} has channels {self.channels}, which do not double from stage to stage: "
                "choose another encoder, or set encoder_options['embed_dim']"
            )

    def forward(self, image: Float[Tensor, "b ch h w"]) -> list[Tensor]:
        if image.ndim != 4 or image.shape[1] not in (1, 3):
            raise InputError(
                f"input of shape {tuple(image.shape)}: give (batch, channels, height, width) "
                "with 1 channel (gray) or 3 (RGB)"
            )
        if tuple(image.shape[-2:]) != self.image_size:
            raise InputError(_size_message(tuple(image.shape[-2:]), self.image_size))
        if image.shape[1] == 1:
            image = image.repeat(1, 3, 1, 1)
        return self.backbone.forward_intermediates(image, indices=4, norm=True, intermediates_only=True)


def _size_message(given: tuple[int, ...], built: tuple[int, int]) -> str:
    height, width = given
    if height % 32 or width % 32:
        advice = "resize it to multiples of 32 first"
    else:
        advice = f"build the network with image_size={height if height == width else (height, width)}"
    return f"input of {height} x {width} pixels, but the network is built for {built[0]} x {built[1]}: {advice}"


def _create_backbone(name: str, image_size: tuple[int, int], pretrained: bool | str, options: dict[str, Any]) -> Any:
    if not timm.is_model(name):
        raise InputError(f"encoder={name!r} is no model of timm {timm.__version__}: see timm.list_models('maxvit*')")
    try:
        backbone = timm.create_model(name, pretrained=pretrained is True, img_size=image_size, num_classes=0, **options)
    except TypeError as error:
        raise InputError(f"encoder={name!r} does not take {error}: use a MaxViT of timm") from error
    except Exception as error:
        if pretrained is not True:
            raise
        raise InputError(
            f"encoder={name!r}: its pretrained weights could not be downloaded ({type(error).__name__}), nothing was "
            "built: connect to the network once, give the path of a downloaded file as pretrained, or build with "
            "pretrained=False, knowing that the encoder starts untrained"
        ) from error
    reductions = [stage["reduction"] for stage in getattr(backbone, "feature_info", [])]
    if reductions != [2, 4, 8, 16, 32] or not hasattr(backbone, "forward_intermediates"):
        raise InputError(f"encoder={name!r} has no stages at 1/4, 1/8, 1/16 and 1/32: use a MaxViT of timm")
    if isinstance(pretrained, str):
        load_backbone(backbone, pretrained)
    return backbone


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Load a timm state dict, such as the authors' ImageNet file, into a backbone; its classifier is left out.

    Raises: `InputError` for a file that cannot be read, or of which any entry is missing, left over or of another
    shape (the released code loads with ``strict=False``, which hides that).
    """
    state = {key: value for key, value in read_state_dict(path).items() if not key.startswith("head.fc.")}
    ours = backbone.state_dict()
    wrong = [key for key in ours if key not in state or state[key].shape != ours[key].shape]
    if wrong or len(state) > len(ours):
        offenders = wrong or [key for key in state if key not in ours]
        raise InputError(
            f"{path}: does not fit the encoder ({len(ours) - len(wrong)} of {len(ours)} entries do; first offenders: "
            f"{some_of(offenders)}): give the weights of the same timm model"
        )
    require_finite(state, Path(path))
    backbone.load_state_dict(state)
