"""What a network is, said by the network itself: its name, classes and size, so that every command can use it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from msa2net_lib.config import MOST_CLASSES, MOST_PIXELS, MOST_WIDTH, NetworkConfig
from msa2net_lib.errors import InputError


@dataclass(frozen=True)
class NetworkSpec:
    """A network by its name: what `build_network` needs to build it again, stored in every checkpoint of it.

    Args:
        name: one of `list_networks`, or "package.module:function".
        num_classes: K, background included.
        image_size: pixels, one number or (height, width).
        options: the network's own, plain values.
        pretrained: as in `build_network`.

    Raises:
        InputError: a value that none of these can be, for a file may hold anything.

    Example:
        >>> from msa2net_lib import NetworkSpec, build_network
        >>> spec = NetworkSpec("unet", num_classes=2, image_size=64, options={"widths": (4, 8, 8)})
        >>> build_network("unet", 2, 64, widths=(4, 8, 8)).config == spec
        True

    Source: this project.
    """

    name: str
    num_classes: int
    image_size: int | tuple[int, int]
    options: dict[str, Any] = field(default_factory=dict)
    pretrained: bool | str = False

    def __post_init__(self) -> None:
        if not isinstance(self.image_size, int):
            object.__setattr__(self, "image_size", tuple(self.image_size))
        if not isinstance(self.options, Mapping):
            raise InputError(f"options={self.options!r}: give names with values")
        # JSON has lists only; a spec that is read back equals the one written.
        options = _with_tuples(self.options)
        object.__setattr__(self, "options", options)
        sides = (self.image_size,) if isinstance(self.image_size, int) else self.image_size
        if len(sides) not in (1, 2) or not all(_is_count(side, MOST_PIXELS) for side in sides):
            raise InputError(f"image_size={self.image_size}: give 1 to {MOST_PIXELS} pixels, or a height and a width")
        if not _is_count(self.num_classes, MOST_CLASSES):
            raise InputError(f"num_classes={self.num_classes}: give 1 to {MOST_CLASSES}")
        for name, value in {"name": self.name, **options}.items():
            if not _is_plain(value) or not isinstance(name, str):
                raise InputError(
                    f"{name}={str(value)[:100]}: give a plain number, name or short list of numbers above 0"
                )

    @property
    def preset(self) -> str:
        """The name; MSA²Nets have their preset there."""
        return self.name

    @property
    def height_width(self) -> tuple[int, int]:
        """Input height and width in pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size

    @property
    def has_unused_parts(self) -> bool:
        """Whether it may own parameters that never get a gradient: several of the originals do, and yours may."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """Rebuild a spec from `to_dict` or its JSON. Raises: `InputError` for anything else."""
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError("no description of a network: give its name, num_classes and image_size") from error


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _with_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _with_tuples(part) for name, part in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _is_plain(value: Any) -> bool:
    """Whether a value is one that a network's own options can be, and no address or path."""
    if isinstance(value, Mapping):  # of an encoder's
        flat = not any(isinstance(part, Mapping) for part in value.values())
        return flat and len(value) <= 16 and all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, str):
        return re.fullmatch(r"[\w.:<> -]{1,100}", value) is not None
    if isinstance(value, tuple):
        sizes = all(_is_plain(part) and isinstance(part, int | float) and part > 0 for part in value)
        return 0 < len(value) <= 16 and sizes
    return value is None or (isinstance(value, int | float) and abs(value) <= MOST_WIDTH)


Config = NetworkConfig | NetworkSpec
"""What every network of this library carries as ``network.config``."""


def config_from_dict(values: Any) -> Config:
    """Rebuild either kind of config from its ``to_dict``. Raises: `InputError`."""
    is_spec: bool = isinstance(values, dict) and "name" in values
    return NetworkSpec.from_dict(values) if is_spec else NetworkConfig.from_dict(values)


def config_of(network: Any) -> Config:
    """What a network says of itself: classes, size, name. Raises: `InputError` for a module that says nothing."""
    config: Any = getattr(network, "config", None)
    if hasattr(config, "height_width"):
        return config
    raise InputError(
        f"network of type {type(network).__name__} says neither its classes nor its size: call "
        "adopt_network(network, num_classes, image_size) first"
    )


def has_own_loss(network: nn.Module) -> bool:
    """Whether a network is trained by its own step: called with a target it gives a loss, and then ``after_step``."""
    return hasattr(network, "after_step")


def adopt_network(
    network: nn.Module, num_classes: int, image_size: int | tuple[int, int], name: str | None = None
) -> nn.Module:
    """Have a module of any origin say what training, evaluation, prediction and export ask of a network.

    It is tried on two blank images once. ``network.config`` is added to it, and a hook that repeats gray images.

    Args:
        network: images (B, 3, H, W) -> logits (B, K, H, W); gray slices are repeated for it. Or one for (B, 1, H, W).
        num_classes: K, background included.
        image_size: pixels of its input, one number or (height, width).
        name: what checkpoints call it; by default its class.

    Returns:
        The same module; within another, as its ``network``, if it has a ``config`` of its own.

    Raises:
        InputError: logits of another shape, anything but a tensor, or an error inside it.

    Example:
        >>> import torch
        >>> from msa2net_lib import adopt_network
        >>> network = adopt_network(torch.nn.Conv2d(3, 2, 1), num_classes=2, image_size=64)
        >>> network.config.name, network.config.height_width
        ('Conv2d', (64, 64))
        >>> adopt_network(torch.nn.Conv2d(3, 5, 1), num_classes=2, image_size=64)
        Traceback (most recent call last):
        msa2net_lib.errors.InputError: network 'Conv2d' gives (2, 5, 64, 64) for images (2, 3, 64, 64): it must ...

    Source: this project.
    """
    return mark(network, NetworkSpec(name or type(network).__name__, num_classes, image_size))


def mark(network: Any, spec: NetworkSpec, try_it: bool = True) -> nn.Module:
    """Let a network carry its spec, after a look at what it gives. Raises: as `adopt_network`."""
    if not isinstance(network, nn.Module):
        raise InputError(f"network {spec.name!r} is {type(network).__name__}, no torch.nn.Module: return a module")
    if hasattr(network, "config") and not isinstance(network.config, Config):
        network = Wrapped(network)  # such as segmentation_models_pytorch's, whose config is theirs
    if try_it:
        try:
            check_logits(network, spec, 3)
        except InputError:
            if not _takes_gray(network, spec):
                raise
        else:
            network.register_forward_pre_hook(_gray_to_rgb)
    setattr(network, "config", spec)  # noqa: B010 - torch types attributes as tensors and modules
    return network


class Wrapped(nn.Module):
    """A module that has a ``config`` of its own, within one that carries ours. Shape: that of the module."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


def _gray_to_rgb(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    image, *others = inputs
    return (image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image, *others)


def to_unit_range(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Before a network that was made for images in [0, 1]: from [-1, 1], in which every network is given them."""
    image, *others = inputs
    return (image * 0.5 + 0.5, *others)


def _takes_gray(network: nn.Module, spec: NetworkSpec) -> bool:
    """Whether a network that fails on three channels takes one: then it is for slices."""
    try:
        check_logits(network, spec, 1)
    except InputError:
        return False
    return True


def check_logits(network: nn.Module, spec: NetworkSpec, channels: int) -> None:
    """Run two blank images through a network, in evaluation mode. Raises: `InputError` unless it gives their logits."""
    parameter = next(network.parameters(), torch.empty(0))
    images = torch.zeros(2, channels, *spec.height_width, device=parameter.device, dtype=parameter.dtype)
    was_training = network.training
    try:
        with torch.no_grad():
            logits: Any = network.eval()(images)
    except InputError:
        raise
    except Exception as error:  # a module of the reader's: whatever it is, one line
        reason = (str(error) or "no message").splitlines()[0][:120]
        raise InputError(
            f"network {spec.name!r} fails on images {tuple(images.shape)} ({type(error).__name__}: {reason}): it must "
            "take 3 channels, or 1, and this size"
        ) from error
    finally:
        network.train(was_training)
    wanted = (2, spec.num_classes, *spec.height_width)
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != wanted:
        raise InputError(
            f"network {spec.name!r} gives {found} for images {tuple(images.shape)}: it must give logits {wanted}, "
            "(batch, classes, height, width)"
        )
