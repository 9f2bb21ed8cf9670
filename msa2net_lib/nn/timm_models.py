"""Models of timm: built in a size, without their classifiers, and loaded from local files whole or not at all."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from msa2net_lib.config import MOST_WIDTH
from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import listed
from msa2net_lib.utils.torch_files import misfits, read_state_dict, require_finite


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Have timm, and torchvision, which it loads, leave torch's compiler alone: to load it takes longer than all else.

    torchvision takes a function for ``roi_align`` from there, and timm has methods of one model excluded: both do so
    when they are called.
    """
    name, disable = "torch._dynamo.utils", torch.compiler.disable
    if name in sys.modules:
        yield
        return

    def from_true(attribute: str) -> Any:
        if attribute.startswith("__"):  # who looks at all modules there are, as `inspect` does, wants nothing from it
            raise AttributeError(attribute)
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(import_module(name), attribute)

    def disable_at_call(function: Any = None, *rest: Any, **named: Any) -> Any:
        if function is None:
            return disable(function, *rest, **named)

        @wraps(function)
        def disabled(*given: Any, **by_name: Any) -> Any:
            without: Any = disable(function, *rest, **named)
            return without(*given, **by_name)

        return disabled

    stand_in: Any = ModuleType(name)
    stand_in.is_compile_supported = lambda device: from_true("is_compile_supported")(device)
    stand_in.__getattr__ = from_true
    sys.modules[name], torch.compiler.disable = stand_in, disable_at_call
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]


with _without_compiler():
    import timm
    from timm.layers.pos_embed_rel import RelPosMlp, resize_rel_pos_bias_table

CLASSIFIERS = ("head.fc", "head", "fc")
"""timm's names of a last layer that a network without classes does not have."""

_MOST_BLOCKS = 100

_ENCODER_OPTIONS = re.compile(r"embed_dim|depths|stem_width|stem_bias|drop_rate|drop_path_rate|(conv|transformer)_\w+")
"""timm's keywords for a MaxViT's architecture: others of its keywords open files or ask a hub."""

_TABLE = "relative_position_bias_table"


def create_backbone(
    name: str,
    image_size: tuple[int, int],
    pretrained: bool | str = False,
    options: dict[str, Any] | None = None,
    position_dropout: float = 0.125,
) -> Any:
    """An encoder: a model of timm with stages at 1/4 to 1/32; ``position_dropout`` as in `NetworkConfig`.

    Raises: `InputError` for any other model, and for options that are none of a MaxViT.
    """
    options = options or {}
    _check_options(options)
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
    for module in backbone.modules():
        if isinstance(module, RelPosMlp):
            module.mlp.drop1.p = position_dropout
    return backbone


def create_timm(name: str, pretrained: bool | str = False, **options: Any) -> Any:
    """A timm model without its classifier, untrained, with timm's own weights (True) or those of a local file.

    Raises: `InputError` where the weights cannot be downloaded or the file does not fit; nothing is built then.
    """
    if not timm.is_model(name):  # timm would take an address of a hub or a folder, too
        raise InputError(f"encoder={name!r} is no model of timm {timm.__version__}: see timm.list_models('maxvit*')")
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
            f"{path}: does not fit the encoder ({len(wrong)} entries are missing or others; first offenders: "
            f"{listed(wrong, 3)}): give the weights of the same timm model"
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


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are no architecture of a MaxViT, or far larger than any. Raises: `InputError`."""
    for name, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        known = _ENCODER_OPTIONS.fullmatch(name) and all(isinstance(one, int | float | str | None) for one in values)
        sizes = [one for one in values if isinstance(one, int | float)]
        large = max(map(abs, sizes), default=0) > MOST_WIDTH or len(values) > 8
        if not known or large or (name == "depths" and (len(sizes) < len(values) or sum(sizes) > _MOST_BLOCKS)):
            raise InputError(f"encoder_options[{name!r}]={value!r}: no option of a MaxViT of timm, or beyond all sizes")
