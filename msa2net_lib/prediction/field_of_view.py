"""Pixel size and field of view like the training data's, and the label map back from there.

A network sees every slice at one size in pixels, so that a wider field of view makes organs smaller. How far it may
differ was measured with the shipped network on its held-out virtual patients (benchmarks/field_of_view.py): up to a
factor of 1.2 the mean DSC of 0.87 loses 0.04 at most, at 1.3 it loses 0.13 and at 1.5 more than half. Pixels coarser
by 2 cost 0.03, by 3 0.08; finer ones nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.fingerprint import DatasetFingerprint
from msa2net_lib.data.resize import resize_back, resize_images
from msa2net_lib.data.volumes import Volume
from msa2net_lib.errors import InputError

FARTHEST_FIELD = 1.2
"""A field of view that differs by a larger factor is matched."""
FARTHEST_PIXEL = 2.0
"""Likewise pixels; slice distances that differ so are only told."""
BODY = 0.05
"""Whatever is brighter than this share of the window is body."""

FieldOption = Literal["auto", "as-is"] | float
"""auto: matched if it is far from the training data's. as-is: left alone. A number: so many mm, around the body."""


@dataclass(frozen=True)
class FieldMatching:
    """How slices are matched: resampled to ``size`` pixels, and of these ``field`` pixels cut out from ``corner`` on.

    All are (y, x). The corner may lie outside, where there is air.
    """

    size: tuple[int, int]
    corner: tuple[int, int]
    field: tuple[int, int]

    def apply(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Match slices (z, y, x) in [0, 1]; cubic splines, as everywhere, cut to the range again."""
        return self._cut(resize_images(image, self.size))

    def _cut(self, resampled: NDArray[np.float32]) -> NDArray[np.float32]:
        matched = np.zeros((len(resampled), *self.field), np.float32)
        inside, there = self._overlap()
        matched[:, *inside] = resampled[:, *there].clip(0, 1)
        return matched

    def undo(self, label: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Bring the label map (z, y, x) of matched slices back to slices of ``shape``, by the nearest neighbor.

        What lies outside the field is background.
        """
        inside, there = self._overlap()
        back = np.empty((len(label), *shape), np.uint8)
        for index, plane in enumerate(label):
            resampled = np.zeros(self.size, np.uint8)
            resampled[there] = plane[inside]
            back[index] = resize_back(resampled, shape)
        return back

    def _overlap(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where field and slice overlap: in the field, in the resampled slice."""
        pairs = []
        for size, corner, field in zip(self.size, self.corner, self.field, strict=True):
            first, last = max(0, corner), max(0, corner, min(size, corner + field))
            pairs.append((slice(first - corner, last - corner), slice(first, last)))
        return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def check_field(option: FieldOption) -> FieldOption:
    """Return the option. Raises: `InputError` if it is none."""
    if option in ("auto", "as-is") or (not isinstance(option, str) and 10 <= option <= 2000):
        return option
    raise InputError(f"field_of_view={option!r}: give auto, as-is, or its width in mm, such as 350")


def match_field_of_view(
    image: NDArray[np.float32], volume: Volume, fingerprint: DatasetFingerprint | None, option: FieldOption = "auto"
) -> tuple[NDArray[np.float32], FieldMatching | None, list[str]]:
    """Match slices (z, y, x) in [0, 1] to the training data: return them, how (None: not at all), and what to say.

    volume: where their geometry is taken from. The field is centered on the body's middle over all slices.
    """
    warnings = _untouched(volume, fingerprint)
    spacing = volume.spacing[1:]
    extent = [pixels * mm for pixels, mm in zip(image.shape[1:], spacing, strict=True)]
    if option == "as-is":
        return image, None, warnings
    if not isinstance(option, str):
        pixel, wanted, reason = spacing, (float(option), float(option)), "as asked for"
    elif fingerprint is None or fingerprint.pixel_mm is None or fingerprint.field_of_view_mm is None:
        unknown = "the checkpoint does not say its training data's pixel size and field of view: nothing was resampled"
        hint = f"this one is {_mm(extent)}; --field-of-view MM cuts one out around the body"
        return image, None, [*warnings, f"{unknown}; {hint}"]
    else:
        field_excess = max(r.excess(mm) for r, mm in zip(fingerprint.field_of_view_mm, extent, strict=True))
        pixel_excess = max(r.excess(mm) for r, mm in zip(fingerprint.pixel_mm, spacing, strict=True))
        if field_excess <= FARTHEST_FIELD and pixel_excess <= FARTHEST_PIXEL:
            return image, None, warnings
        pixel = tuple(r.median for r in fingerprint.pixel_mm)
        wanted = tuple(r.median for r in fingerprint.field_of_view_mm)
        reason = "as in the training data; --field-of-view as-is leaves them alone"
    seen, matching, lost = _matching(image, spacing, pixel, wanted)
    done = f"slices of {_mm(extent)} in pixels of {_mm(spacing)} were resampled to pixels of {_mm(pixel)}, and"
    warnings.append(f"{done} {_mm(wanted)} around the body cut out for the network ({reason})")
    if lost >= 0.005:
        all_of_it = f"{lost:.0%} of what is brighter than air (arms and table with it)"
        warnings.append(f"{all_of_it} lies outside what was cut out, and is background in the label map")
    return seen, matching, warnings


def _matching(
    image: NDArray[np.float32], spacing: tuple[float, ...], pixel: tuple[float, ...], wanted: tuple[float, ...]
) -> tuple[NDArray[np.float32], FieldMatching, float]:
    """Match to a pixel size and a field of view in mm, (y, x) each; the last is the share of the body outside of it."""
    size = [max(1, round(n * mm / new)) for n, mm, new in zip(image.shape[1:], spacing, pixel, strict=True)]
    field = [max(1, round(mm / new)) for mm, new in zip(wanted, pixel, strict=True)]
    resampled = resize_images(image, (size[0], size[1]))
    body = (resampled > BODY).sum(axis=0)  # how often each of their pixels is body
    middle = [_median(body.sum(axis=1)), _median(body.sum(axis=0))]
    corner = [center - length // 2 for center, length in zip(middle, field, strict=True)]
    matching = FieldMatching((size[0], size[1]), (corner[0], corner[1]), (field[0], field[1]))
    _, there = matching._overlap()
    total = body.sum()
    return matching._cut(resampled), matching, float(1 - body[there].sum() / total) if total else 0.0


def _median(counts: NDArray) -> int:
    """The median position of things counted by position; the middle where there is none."""
    if not counts.any():
        return len(counts) // 2
    return round(float(np.median(np.repeat(np.arange(len(counts)), counts))))


def _untouched(volume: Volume, fingerprint: DatasetFingerprint | None) -> list[str]:
    """What is unlike the training data and stays so."""
    warnings = []
    between = volume.spacing[0]
    trained = None if fingerprint is None else fingerprint.slice_mm
    if trained is not None and len(volume.array) > 1 and trained.excess(between) > FARTHEST_PIXEL:
        alone = "nothing was changed, as the network sees every slice alone"
        warnings.append(f"slices are {between:.3g} mm apart, the training data's {trained.median:.3g} mm: {alone}")
    long, trained_long = between * len(volume.array), None if fingerprint is None else fingerprint.length_mm
    if trained_long is not None and long > FARTHEST_FIELD * trained_long.highest:
        shown = f"the scan is {long:.0f} mm long, training scans were {trained_long.highest:.0f} mm at most"
        warnings.append(f"{shown}: whatever is found in slices of other parts of the body means nothing")
    return warnings


def _mm(lengths: tuple[float, ...] | list[float]) -> str:
    return " x ".join(f"{length:.3g}" for length in lengths) + " mm"
