"""How scans are prepared: which intensities become 0 and 1, and which ids of the label maps become which class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.flips import parse_flip
from msa2net_lib.data.placement import PlaneOption
from msa2net_lib.data.scans.files import check_cases
from msa2net_lib.data.volumes import WINDOW_HU
from msa2net_lib.errors import InputError

HIGHEST_ID = 65535
"""The highest id that a label map may use for a class."""

_MOST_CLASSES = 254  # prepared labels are uint8
_UNKNOWN = 255


@dataclass(frozen=True)
class Window:
    """Which values of an image become 0 (``low`` and below) and 1 (``high`` and above), linear in between.

    ``unit`` of both: "HU", "intensity" (the file's own values) or "percentile" (of all voxels of each volume).
    """

    low: float = WINDOW_HU[0]
    high: float = WINDOW_HU[1]
    unit: Literal["HU", "intensity", "percentile"] = "HU"

    def __post_init__(self) -> None:
        if not -np.inf < self.low < self.high < np.inf:
            raise InputError(f"window [{self.low}, {self.high}] is empty: give two numbers, the smaller first")

    def limits(self, image: NDArray) -> tuple[float, float]:
        """Return both ends in the image's own values; InputError if the image has nothing between them."""
        low, high = float(self.low), float(self.high)
        if self.unit == "percentile":
            low, high = (float(value) for value in np.percentile(image, (low, high)))
        if not (low < high and image.min() < high and image.max() > low):
            raise InputError(f"no voxel lies within the window [{low:g}, {high:g}], values are {_range(image)}")
        return low, high


MR_WINDOW = Window(0.5, 99.5, "percentile")
"""For what has no unit, such as MR: the darkest and brightest half per cent of the volume are cut off."""


def choose_window(modality: str, chosen: tuple[float, float] | None) -> Window:
    """Return the window of a modality: the field's in HU for "CT", ``MR_WINDOW`` else, or the two values given."""
    is_ct = modality.strip().lower() == "ct"
    if chosen is None:
        return Window() if is_ct else MR_WINDOW
    try:
        low, high = (float(value) for value in chosen)
    except (TypeError, ValueError) as error:
        raise InputError(f"window={chosen!r}: give two numbers, such as (-125, 275)") from error
    return Window(low, high, "HU" if is_ct else "intensity")


def case_flips(flip: str | Mapping[str, str], cases: Iterable[str]) -> dict[str, str]:
    """Return case -> flip in its standard form, "" standing for all others. Raises: `InputError`, also for no case."""
    given = {"": flip} if isinstance(flip, str) else dict(flip)
    check_cases([case for case in given if case], cases, "flip")
    return {case: parse_flip(value) for case, value in given.items()}


@dataclass(frozen=True)
class ScanRecipe:
    """How the scans of one data set are prepared.

    ``classes``: name -> ids in the source's label maps; the prepared ids are 1, 2, ... in this order.
    ``background``: other ids that become 0, None for all others; ``advice`` is what to do about an id that is
    neither. ``allow_empty`` lets cases without any voxel of the classes pass. ``facts`` go into ``dataset.json``.
    ``values``: what a CT's gray values are (``gray_values.Values``), ``otherwise`` what to do about one that is none.
    ``plane``: "axial" slices, those that the file has "stored", or "auto": axial, and refused where they fall apart.
    ``flips``: case -> how to turn it, where its header lies (``contract.flips``); that of "" is every other case's.
    """

    modality: str
    window: Window
    classes: Mapping[str, Sequence[int]]
    background: Sequence[int] | None = ()
    advice: str = ""
    allow_empty: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    values: str = "auto"
    otherwise: str = "leave the case out"
    plane: PlaneOption = "auto"
    flips: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        used: dict[int, str] = {}
        for name, ids in self.classes.items():
            if not ids:
                raise InputError(f"class {name!r}: has no id; give the one it has in the label maps")
            for number in ids:
                if not (isinstance(number, int) and 1 <= number <= HIGHEST_ID):
                    raise InputError(f"class {name!r}: id {number!r} is not a whole number from 1 to {HIGHEST_ID}")
                if number in used:
                    raise InputError(f"class {name!r}: id {number} is {used[number]!r} already; give each its own")
                used[number] = name
        if not 1 <= len(self.classes) <= _MOST_CLASSES:
            raise InputError(f"{len(self.classes)} classes given: there can be 1 to {_MOST_CLASSES} besides background")

    @property
    def organs(self) -> dict[str, int]:
        """Class name -> id in the prepared data."""
        return {name: number for number, name in enumerate(self.classes, start=1)}

    @property
    def settings(self) -> dict[str, Any]:
        """What decides, with its files, what a case is prepared into; ready for JSON."""
        converted = {"values": self.values} if self.values in ("shifted", "windowed") else {}
        return converted | {
            "format": 3,
            "plane": "stored" if self.plane == "stored" else "axial",
            "modality": self.modality,
            "window": asdict(self.window),
            "organs": self.organs,
            "source_ids": {name: list(ids) for name, ids in self.classes.items()},
            "background_ids": None if self.background is None else list(self.background),
        }

    def flip(self, case: str) -> str:
        """How a case is turned after it was read."""
        return self.flips.get(case, self.flips.get("", "none"))

    def case_settings(self, case: str) -> dict[str, Any]:
        """The settings, and what is set for one case alone."""
        return self.settings | {"flip": self.flip(case)}

    def relabel(self, labels: NDArray) -> tuple[NDArray[np.uint8], dict[str, int], dict[str, int]]:
        """Return prepared labels of a label map (Z, H, W) and the voxels of each class, going slice by slice.

        Third come the voxels of each id that became background unnamed (``background`` None). Any real dtype may
        hold the whole numbers. Raises InputError, naming the values, for those that are not whole, and for ids that
        the recipe does not know.
        """
        table = self._table()
        prepared = np.empty(labels.shape, np.uint8)
        voxels = np.zeros(_UNKNOWN + 1, np.int64)
        bad: set[float] = set()
        dropped = Counter[str]()
        for source, target in zip(labels, prepared, strict=True):
            inside = (source >= 0) & (source < len(table))
            target[...] = table[np.where(inside, source, 0).astype(np.intp)]
            target[~inside] = table[-1]
            if source.dtype.kind == "f":
                target[source != np.floor(source)] = _UNKNOWN
            voxels += np.bincount(target.ravel(), minlength=len(voxels))
            bad.update(np.unique(source[target == _UNKNOWN]).tolist())
            if self.background is None:
                ids, counts = np.unique(source[(target == 0) & (source != 0)], return_counts=True)
                dropped.update({f"{number:g}": count for number, count in zip(ids, counts.tolist(), strict=True)})
        if bad:
            shown = ", ".join(f"{value:g}" for value in sorted(bad)[:8]) + (", ..." if len(bad) > 8 else "")
            raise InputError(f"label values {shown} found: {self.advice or 'only whole numbers can be labels'}")
        return prepared, {name: int(voxels[number]) for name, number in self.organs.items()}, dict(dropped)

    def _table(self) -> NDArray[np.uint8]:
        """Return source id -> prepared id; the last entry is what becomes of all higher and negative ones."""
        highest = max(0, *self.background or (), *(number for ids in self.classes.values() for number in ids))
        table = np.full(highest + 2, 0 if self.background is None else _UNKNOWN, np.uint8)
        table[[0, *(self.background or ())]] = 0
        for ids, number in zip(self.classes.values(), self.organs.values(), strict=True):
            table[list(ids)] = number
        return table


def _range(image: NDArray) -> str:
    return f"{float(image.min()):g} to {float(image.max()):g}"
