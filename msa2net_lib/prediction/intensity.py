"""Gray values of a file -> [0, 1], as the network's training data had them; or a refusal that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.fingerprint import DatasetFingerprint
from msa2net_lib.data.scans.gray_values import SHIFT, judge
from msa2net_lib.data.scans.recipe import Window
from msa2net_lib.data.volumes import Volume, window
from msa2net_lib.errors import InputError

WindowOption = Literal["auto", "none"] | tuple[float, float]
"""auto: as the network was trained. none: the values are 0 to 1 already. Two numbers: those that become 0 and 1."""

_NAME_ONE = "name the values that became black and white, or the ones to use: --window LOW HIGH"
_REFUSALS = {
    "modality": f", the network was trained on CT; to predict all the same, {_NAME_ONE}",
    "constant": "; export it again",
    "label map": ", all of them whole, are a label map's; give the image itself",
    "shifted": f" are no HU, where air is -1000; export it in HU, or {_NAME_ONE} ({{shifted}})",
    "normalized": f" are no HU but normalized or cut; export it in HU, or {_NAME_ONE}",
    "no air": ", nothing as dark as air in HU, are most likely no CT; {all_the_same}",
}


class GrayValues(NamedTuple):
    """``image``: float32 in [0, 1], of the source's shape. window: the values that became 0 and 1, None if none did."""

    image: NDArray[np.float32]
    window: tuple[float, float] | None
    warnings: tuple[str, ...] = ()


def check_window(option: WindowOption) -> WindowOption:
    """Return the option. Raises: `InputError` if it is none."""
    if option in ("auto", "none"):
        return option
    if isinstance(option, str) or len(option) != 2:
        raise InputError(f"window={option!r}: give LOW and HIGH, such as -125 275, or none")
    low, high = (float(value) for value in option)
    Window(low, high)  # refuses what is none
    return low, high


def gray_scan(scan: Volume, option: WindowOption, fingerprint: DatasetFingerprint | None) -> GrayValues:
    """Window a scan as the network's training data were. Raises: `InputError` if its values cannot be those.

    A network for CT takes Hounsfield units. Values of 0 to 1 are taken as windowed already and values of 0 to 255 as an
    8-bit export of the window, with a warning; others without negative values, or with no bright ones, are refused.
    """
    array, path = scan.array, scan.path
    low, high = float(array.min()), float(array.max())
    if option == "none":
        if low < 0 or high > 1:
            raise InputError(
                f"{path}: --window none takes values of 0 to 1, these are {low:g} to {high:g}; {_NAME_ONE}"
            )
        return GrayValues(array.astype(np.float32), None)
    if isinstance(option, tuple):
        _check_meets(path, option, low, high)
        return _windowed(array, option)
    usual = Window() if fingerprint is None or fingerprint.window is None else Window(**fingerprint.window)
    if usual.unit != "HU":
        if scan.modality == "CT":
            raise InputError(
                f"{path}: is CT, the network was trained on other scans; to predict all the same, {_NAME_ONE}"
            )
        return _windowed(array, usual.limits(array))
    return _from_hounsfield(scan, usual, low, high)


def gray_image(pixels: NDArray, path: Path, option: WindowOption) -> GrayValues:
    """Scale gray pixels (H, W) to [0, 1]: by the fewest bits that hold the brightest, from 8 on, or by a window."""
    low, high = float(pixels.min()), float(pixels.max())
    if isinstance(option, tuple):
        _check_meets(path, option, low, high)
        return _windowed(pixels, option)
    if pixels.dtype == np.uint8:
        return GrayValues(_share_of(pixels, 255.0), (0.0, 255.0))
    bits = max(8, int(high).bit_length())
    white = float(2**bits - 1)
    deep = f"16-bit image with values up to {high:g}: {bits} bits of them taken as used, so that {white:g} is white"
    return GrayValues(_share_of(pixels, white), (0.0, white), (f"{deep}; if not so, {_NAME_ONE}",))


def _from_hounsfield(scan: Volume, usual: Window, low: float, high: float) -> GrayValues:
    array, path, chosen = scan.array, scan.path, (float(usual.low), float(usual.high))
    wanted = f"{chosen[0]:g} .. {chosen[1]:g} HU"
    (kind, shown), cut = judge(scan), ()
    if kind == "0 to 1":
        taken = f"{shown} are no HU: taken as windowed already to {wanted}; if not so, {_NAME_ONE}"
        return GrayValues(array.astype(np.float32), None, (taken,))
    if kind == "0 to 255":
        taken = f"{shown} are no HU: taken as an 8-bit export of {wanted}; if not so, {_NAME_ONE}"
        return GrayValues(_share_of(array, 255.0), (0.0, 255.0), (taken,))
    if kind != "HU":
        shifted = f"--window {chosen[0] + SHIFT:g} {chosen[1] + SHIFT:g} if they are HU + 1024"
        all_the_same = f"--window {chosen[0]:g} {chosen[1]:g} takes them as HU all the same"
        raise InputError(f"{path}: {shown}{_REFUSALS[kind].format(shifted=shifted, all_the_same=all_the_same)}")
    if low > chosen[0] or high < chosen[1]:
        cut = (f"{shown} do not fill the window of {wanted}: taken as HU all the same",)
    return _windowed(array, chosen, cut)


def _windowed(values: NDArray, limits: tuple[float, float], warnings: tuple[str, ...] = ()) -> GrayValues:
    return GrayValues(window(values, *limits), limits, warnings)


def _share_of(values: NDArray, white: float) -> NDArray[np.float32]:
    return values.astype(np.float32) / np.float32(white)


def _check_meets(path: Path | None, chosen: tuple[float, float], low: float, high: float) -> None:
    if not (low < chosen[1] and high > chosen[0]):
        raise InputError(
            f"{path}: no value lies within the window {chosen[0]:g} .. {chosen[1]:g}, they are {low:g} to {high:g}"
        )
