"""What each transform of the released augmentation does to a slice and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from msa2net_lib.data.augment import TRANSFORMS, ReleasedAugmentation, ReleasedDraws
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.viz.plots import figure_grid, organ_legend, show_slice, stamp

if TYPE_CHECKING:
    from jaxtyping import Float, Int

CANDIDATES = 256
"""Samples drawn to find one that all the transforms the policy can choose act on."""


def plot_transforms(
    image: Float[Tensor, "c h w"],
    label: Int[Tensor, "h w"],
    source: str,
    augmentation: ReleasedAugmentation | None = None,
    seed: int = 0,
    class_names: Sequence[str] = ORGANS,
) -> Figure:
    """Draw a slice, the slice after each of the ten transforms alone, and after one whole draw of the policy.

    image: as training gets it, in about [-1, 1]; its first channel is drawn. source: what the data
    are, to be written on the figure. augmentation: the released one by default. seed: of the strengths, which stand
    in the titles. Raises: `InputError` if image and label do not fit each other.
    """
    if image.ndim != 3 or image.shape[1:] != label.shape:
        raise InputError(
            f"image {tuple(image.shape)} and label {tuple(label.shape)}: give (c, h, w) and (h, w) of one size"
        )
    augmentation = augmentation or ReleasedAugmentation()
    alone, whole = _draw(augmentation, (image.shape[0], image.shape[1], image.shape[2]), seed)
    figure, axes = figure_grid(3, 4, width=2.25, height=1.95)
    panels = [("the slice", image, label)]
    for draws in [alone.only(name) for name in TRANSFORMS] + [whole]:
        found, moved = augmentation.apply(image[None], label[None], draws)
        said = [f"{name}\n{strength}".strip() for name, strength in augmentation.describe(draws).items()]
        panels.append((said[0] if len(said) == 1 else _whole_title(augmentation, draws), found[0], moved[0]))
    for ax, (title, shown, labels) in zip(axes.flat, panels, strict=True):
        unit = (shown[0].cpu().numpy() + 1) / 2
        # R and L hold for the slice only: a flip exchanges the patient's sides.
        show_slice(ax, unit, labels.cpu().numpy(), title=title, sides=shown is image, class_names=class_names)
        ax.title.set_fontsize(8 if "\n" not in title or title.count("\n") == 1 else 6.5)
    organ_legend(figure, np.asarray(label.cpu()), class_names)
    return stamp(figure, source)


def _whole_title(augmentation: ReleasedAugmentation, draws: ReleasedDraws) -> str:
    said = augmentation.describe(draws).items()
    steps = [f"{number}. {name} {strength}".rstrip() for number, (name, strength) in enumerate(said, start=1)]
    return "\n".join(["one whole draw", *steps])


def _draw(
    augmentation: ReleasedAugmentation, image_shape: tuple[int, int, int], seed: int
) -> tuple[ReleasedDraws, ReleasedDraws]:
    """One sample's strengths, and the first whole draw in which most transforms act; the global state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draws = augmentation.draw(CANDIDATES, image_shape)
    row = int((draws.acting() >= 0).sum(dim=1).argmax())
    return draws[:1], draws[row : row + 1]
