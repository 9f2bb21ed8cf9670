"""The encoder: a MaxViT from timm, its four stages as skip features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from jaxtyping import Float
from timm.layers.pos_embed_rel import RelPosMlp, resize_rel_pos_bias_table
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.utils.torch_files import misfits, read_state_dict, require_finite, some_of

_TABLE = "relative_position_bias_table"

CLASSIFIERS = ("head.fc", "head", "fc")
"""timm's names of a last layer that a network without classes does not have."""


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
        self.backbone: Any = _create_backbone(name, image_size, pretrained, options or {})
        for module in self.backbone.modules():
            if isinstance(module, RelPosMlp):
                module.mlp.drop1.p = position_dropout
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


def _create_backbone(name: str, image_size: tuple[int, int], pretrained: bool | str, options: dict[str, Any]) -> Any:
    if not timm.is_model(name):
        raise InputError(f"encoder={name!r} is no model of timm {timm.__version__}: see timm.list_models('maxvit*')")
    try:
        backbone = create_timm(name, pretrained is True, img_size=image_size, **options)
    except TypeError as error:
        said = " ".join(str(error).split())
        raise InputError(f"encoder={name!r} does not take {said}: use a MaxViT of timm") from error
    except InputError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        raise InputError(
            f"encoder={name!r}, encoder_options={options}: timm cannot build it for {image_size[0]} x {image_size[1]} "
            f"pixels ({said}): use a MaxViT of timm, and options and a size that it takes"
        ) from error
    reductions = [stage["reduction"] for stage in getattr(backbone, "feature_info", [])]
    if reductions != [2, 4, 8, 16, 32] or not hasattr(backbone, "forward_intermediates"):
        raise InputError(f"encoder={name!r} has no stages at 1/4, 1/8, 1/16 and 1/32: use a MaxViT of timm")
    if isinstance(pretrained, str):
        load_backbone(backbone, pretrained)
    return backbone


def create_timm(name: str, pretrained: bool | str = False, **options: Any) -> Any:
    """A timm model without its classifier, untrained, with timm's own weights (True) or those of a local file.

    Raises: `InputError` where the weights cannot be downloaded or the file does not fit; nothing is built then.
    """
    try:
        model = timm.create_model(name, pretrained=pretrained is True, num_classes=0, **options)
    except Exception as error:
        if pretrained is not True or isinstance(error, TypeError):
            raise
        raise InputError(
            f"encoder={name!r}: its pretrained weights could not be downloaded ({type(error).__name__}), nothing was "
            "built: connect to the network once, give the path of a downloaded file as pretrained, or build with "
            "pretrained=False, knowing that the encoder starts untrained"
        ) from error
    if isinstance(pretrained, str):
        load_backbone(model, pretrained)
    return model


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Load a timm state dict, such as the authors' ImageNet file, into a backbone; a classifier is left out.

    Raises: `InputError` for a file that cannot be read, or of which any entry is missing, left over or of another
    shape or kind (the released code loads with ``strict=False``, which hides that).
    """
    ours = backbone.state_dict()
    classifier = tuple(f"{name}.{kind}" for name in CLASSIFIERS for kind in ("weight", "bias"))
    state = {key: value for key, value in read_state_dict(path).items() if key in ours or key not in classifier}
    state = carry_tables(state, backbone)
    if wrong := misfits(state, ours):
        raise InputError(
            f"{path}: does not fit the encoder (of {len(ours)} entries {len(wrong)} do not; first offenders: "
            f"{some_of(wrong)}): give the weights of the same timm model"
        )
    require_finite(state, path)
    backbone.load_state_dict(state)


def carry_tables(state: Mapping[str, Tensor], backbone: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Bring tables of relative positions, which some encoders own for one input size, to a backbone's own size.

    They are interpolated as timm does for pretrained weights. ``prefix``: of the backbone's keys in ``state``.
    Raises: `InputError` for a table that cannot be carried over.
    """
    carried = dict(state)
    modules: Any = backbone.named_modules()
    for name, module in modules:
        key, ours = f"{prefix}{name}.{_TABLE}", getattr(module, _TABLE, None)
        if not isinstance(ours, Tensor) or key not in state or state[key].shape == ours.shape:
            continue
        try:
            carried[key] = resize_rel_pos_bias_table(state[key], module.window_size, ours.shape)
        except (AssertionError, AttributeError, IndexError, ValueError) as error:
            raise InputError(
                f"{key}: a table of {tuple(state[key].shape)} for the positions of one input size, which cannot be "
                f"brought to {tuple(ours.shape)}: build the network with the image_size it was trained with"
            ) from error
    return carried
