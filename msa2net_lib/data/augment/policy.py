"""What the released policy can do to a sample, and the parameters drawn for it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from msa2net_lib.data.augment.draws import Draws
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

TRANSFORMS: tuple[str, ...] = (
    "vertical flip",
    "horizontal flip",
    "additive Gaussian noise",
    "Gaussian blur",
    "linear contrast",
    "scaling",
    "rotation",
    "shear",
    "piecewise affine",
    "translation",
)
"""The ten transforms of the released policy; a number in `ReleasedDraws.order` is a position in here."""
FLIPS = TRANSFORMS[:2]
INTENSITY = ("additive Gaussian noise", "Gaussian blur", "linear contrast")
GEOMETRY = tuple(name for name in TRANSFORMS if name not in INTENSITY)
NONE = -1
"""In `ReleasedDraws.order`: nothing more."""


@dataclasses.dataclass(frozen=True)
class ReleasedDraws(Draws):
    """Parameters of `ReleasedAugmentation`; all are drawn for every sample, ``order`` says which are used.

    order: the transforms of a sample, first to last, as positions in `TRANSFORMS`, `NONE` after the last one.
    flips: whether a vertical and a horizontal flip, once chosen, act. contrast: factor of each channel. scale: factor
    along x and y. rotation, shear: degrees. sigma: of the moves of the piecewise affine nodes, in shares of the image
    size. nodes: how many there are in each column and each row. moves: of these nodes, along x and y, in units of
    sigma. translation: along x and y, in shares of the image size. noise_seed: of the generator that makes the field.
    """

    order: Int[Tensor, "b most"]
    flips: Bool[Tensor, "b 2"]
    contrast: Float[Tensor, "b c"]
    scale: Float[Tensor, "b 2"]
    rotation: Float[Tensor, " b"]
    shear: Float[Tensor, " b"]
    sigma: Float[Tensor, " b"]
    nodes: Int[Tensor, "b 2"]
    moves: Float[Tensor, "b 2 4 4"]
    translation: Float[Tensor, "b 2"]
    noise_seed: Int[Tensor, " b"]

    def only(self, *names: str, **strengths: Any) -> Self:
        """Return the same draws with exactly these transforms, in this order, for every sample; flips act.

        strengths: values for fields, one for all samples or one for each, for example ``rotation=30.0`` or
        ``scale=(1.5, 1.0)``. Raises: `InputError` for a transform or a field that does not exist.
        """
        for name in names:
            if name not in TRANSFORMS:
                raise InputError(f"transform {name!r} is unknown: give one of {', '.join(TRANSFORMS)}")
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in strengths:
            if name not in known:
                raise InputError(f"strength {name!r} is unknown: give one of {', '.join(known)}")
        given = {
            name: torch.as_tensor(value, dtype=known[name].dtype).expand_as(known[name]).clone()
            for name, value in strengths.items()
        }
        order = torch.tensor([[TRANSFORMS.index(name) for name in names]], dtype=torch.int64)
        fixed = {"order": order.expand(len(self), -1).clone(), "flips": torch.ones_like(self.flips)}
        return dataclasses.replace(self, **(fixed | given))

    def acting(self) -> Int[Tensor, "b most"]:
        """Return ``order`` without the flips that do not act."""
        order = self.order.clone()
        for position, name in enumerate(FLIPS):
            order[(order == TRANSFORMS.index(name)) & ~self.flips[:, position, None]] = NONE
        return order

    def names(self, sample: int) -> list[str]:
        """Return the transforms that act on a sample, first to last."""
        return [TRANSFORMS[number] for number in self.acting()[sample].tolist() if number != NONE]
