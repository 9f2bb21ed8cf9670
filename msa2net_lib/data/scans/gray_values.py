"""What the gray values of a scan are: the one place that decides it, for preparation and for prediction.

Hounsfield units have air at -1000, so that values without a negative one are something else, and a scan of which
nothing lies below -200 shows no air at all: most often it is no CT. Nothing is converted without a word.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.scans.recipe import Window
from msa2net_lib.data.volumes import Volume
from msa2net_lib.errors import InputError

Kind = Literal["HU", "modality", "constant", "label map", "0 to 1", "0 to 255", "shifted", "normalized", "no air"]
"""HU, or why not: another modality by the file's own word, one value, ids, the window applied already as fractions or
bytes, no negative value (HU + 1024?), normalized or cut to a part, nothing as dark as air."""

Values = Literal["auto", "hu", "shifted", "windowed"]
"""What a CT to prepare holds. auto: HU, else it is refused. hu: HU, whatever it looks like. shifted: where no value is
negative, HU + 1024. windowed: where all are 0 to 1, or 0 to 255, the window was applied to them already."""

SHIFT = 1024.0
_LOWEST_AIR = -200.0
_HU_OF_WATER_AND_MORE = 100.0
_MOST_LABELS = 32
_DENSE_BONE = 700.0
"""Where a tenth of what is no padding lies above this, water is not at 0."""


class GrayKind(NamedTuple):
    """What gray values are taken for, and how they read in a message."""

    kind: Kind
    shown: str


def judge(scan: Volume) -> GrayKind:
    """Tell whether a scan holds HU, from its values and from the modality that its file names."""
    array = scan.array
    low, high = float(array.min()), float(array.max())
    shown = f"values of {low:g} to {high:g}"
    if scan.modality not in ("", "CT"):
        return GrayKind("modality", f"is {scan.modality}")
    if low == high:
        return GrayKind("constant", f"every voxel has the value {low:g}, so there is nothing to see")
    if low >= 0:
        whole = high <= _MOST_LABELS and bool((array == np.floor(array)).all())
        kind: Kind = "label map" if whole else "0 to 1" if high <= 1 else "0 to 255" if high <= 255 else "shifted"
        return GrayKind(kind, shown)
    if low > _LOWEST_AIR:
        return GrayKind("normalized" if high < _HU_OF_WATER_AND_MORE else "no air", shown)
    return GrayKind("shifted" if _is_padded(array, low) else "HU", shown)


def window_limits(scan: Volume, window: Window, modality: str, values: Values, otherwise: str) -> tuple[float, float]:
    """Return which of the scan's own values become 0 and 1 in preparation.

    modality: what the data set is said to be. otherwise: how to prepare what is no CT, for messages. Raises:
    `InputError` for a scan that is something else, with the options that go on, and for one with nothing in the window.
    """
    if window.unit != "HU":
        if scan.modality == "CT" and modality == "MR":
            raise InputError("is CT by its own header, not MR; give --modality CT, or leave the case out")
        return window.limits(scan.array)
    found = judge(scan)
    if found.kind == "constant":
        raise InputError(f"{found.shown}; export it again, or leave the case out")
    if values == "shifted" and found.kind == "shifted":
        window = Window(window.low + SHIFT, window.high + SHIFT, "HU")
    elif values == "windowed" and found.kind in ("0 to 1", "0 to 255"):
        return 0.0, float(found.kind.rpartition(" ")[2])
    elif values != "hu" and found.kind != "HU":
        raise InputError(
            f"{_REASONS[found.kind].format(found.shown, otherwise)}; --values hu takes it as HU all the same"
        )
    return window.limits(scan.array)


def check_values(values: str) -> Values:
    """Return the option. Raises: `InputError` if it is none."""
    if values not in get_args(Values):
        raise InputError(f"values={values!r}: choose one of {', '.join(get_args(Values))}")
    return values  # type: ignore[return-value]


_REASONS: dict[Kind, str] = {
    "modality": "{} by its own header, not CT; {}",
    "label map": "{}, all of them whole, are a label map's; give the image itself",
    "0 to 1": "{} are no HU; --values windowed if the window was applied to them already; {}",
    "0 to 255": "{} are no HU; --values windowed if they are an 8-bit export of the window; {}",
    "shifted": "{} are no HU, where air is -1000; --values shifted if they are HU + 1024; {}",
    "normalized": "{} are no HU but normalized or cut; export it in HU; {}",
    "no air": "{}, nothing as dark as air in HU, are most likely no CT; {}",
}


def _is_padded(array: NDArray, low: float) -> bool:
    """Whether only the padding around the scanner's circle is negative, and tissue lies about 1024."""
    some = array.ravel()[:: max(1, array.size // 200_000)]
    inside = some[some > low]
    return bool(inside.size and inside.min() >= 0 and np.percentile(inside, 90) > _DENSE_BONE)
