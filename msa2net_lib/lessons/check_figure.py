"""The picture of a wrong answer: its worst map beside the right one, and the worst number in words."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from msa2net_lib.lessons.attempts import AXES, ORDINALS, Attempt
from msa2net_lib.viz.plots import figure_grid


def _worst(attempt: Attempt) -> tuple[int, int, tuple[int, ...]] | None:
    """Draw, result and index of the largest difference; None unless all shapes agree and results are maps."""
    best, found = 0.0, None
    for draw, (given, expected) in enumerate(zip(attempt.given, attempt.expected, strict=True)):
        if [array.shape for array in given] != [array.shape for array in expected]:
            return None
        for result, (one, other) in enumerate(zip(given, expected, strict=True)):
            if one.ndim < 2 or min(one.shape[-2:]) < 2:
                continue
            gaps = np.nan_to_num(np.abs(one - other), nan=np.inf)
            place = np.unravel_index(int(gaps.argmax()), gaps.shape)
            if gaps[place] > best:
                best, found = float(gaps[place]), (draw, result, tuple(int(i) for i in place))
    return found


def _largest(values: np.ndarray) -> float:
    """The largest finite magnitude, 1 where there is none but zero."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0


def worst_place(attempt: Attempt) -> str | None:
    """Where the largest difference is, with both values; None if results are no maps of one shape."""
    if (found := _worst(attempt)) is None:
        return None
    draw, result, place = found
    one, other = attempt.given[draw][result], attempt.expected[draw][result]
    axes = AXES.get(one.ndim, tuple(f"axis {i}" for i in range(one.ndim)))
    where = ", ".join(f"{axis.removesuffix('s')} {index}" for axis, index in zip(axes, place, strict=True))
    which = f"{ORDINALS[result]} result, " if len(attempt.expected[0]) > 1 else ""
    return f"worst at {which}{where}: yours {one[place]:.4g}, target {other[place]:.4g}"


def plot_worst(attempt: Attempt) -> Figure | None:
    """Target, yours and difference of the sample and channel that are worst, around zero, with color bars."""
    if (found := _worst(attempt)) is None:
        return None
    draw, result, place = found
    target, own = (side[draw][result][place[:-2]] for side in (attempt.expected, attempt.given))
    figure, axes = figure_grid(1, 3, width=2.2, height=1.9)
    limit, gap = _largest(np.stack([target, own])), _largest(own - target)
    for ax, values, title, bound in zip(
        axes.ravel(),
        (target, own, own - target),
        ("target", "yours", "yours - target"),
        (limit, limit, gap),
        strict=True,
    ):
        image = ax.imshow(values, vmin=-bound, vmax=bound, cmap="RdBu_r")
        ax.plot(place[-1], place[-2], "s", mfc="none", mec="black", ms=7)
        ax.set_title(title, fontsize=8)
        ax.set_axis_off()
        figure.colorbar(image, ax=ax, shrink=0.8).ax.tick_params(labelsize=6)
    return figure
