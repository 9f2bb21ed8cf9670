"""How the slices of a case lie on the scan they were cut from: which plane they show, and the way back to its grid.

`Volume` has every scan in LPS, where slices along the first axis are axial. A scan whose own slices are thick and not
axial falls apart there: axial slices of a sagittal stack are as narrow as the stack has slices. ``stored_plane`` tells
what a file stores, from its own axes; a `Placement` cuts slices in one plane or the other, and puts label maps back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.flips import apply_flip, flip_spacing, undo_flip
from msa2net_lib.data.formats.grid import from_lps, to_lps
from msa2net_lib.data.volumes import Volume, write_volume
from msa2net_lib.errors import InputError

PlaneName = Literal["axial", "coronal", "sagittal"]
PLANES: dict[PlaneName, str] = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIR"}
"""Plane -> where columns, rows and slices run: as they are looked at, the head up or the patient's front."""

PlaneOption = Literal["auto", "axial", "stored"]

FARTHEST_TILT = 15.0
"""Degrees; slices that are turned farther are told."""
_THICK = 1.5
"""Slices that are so many times as far apart as their pixels fall apart when they are cut across."""
_ZYX = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}


class StoredPlane(NamedTuple):
    """The plane of a file's own slices.

    name: the nearest one. tilt: degrees against axial slices. off: degrees against its own name. thick: whether the
    slices are much farther apart than their pixels. in_plane: degrees by which axial slices' axes are turned in all.
    """

    name: PlaneName
    tilt: float
    off: float
    thick: bool
    in_plane: float

    def __str__(self) -> str:
        if self.off <= FARTHEST_TILT:
            return f"{self.name} slices"
        return f"oblique slices, tilted by {self.tilt:.0f} degrees against axial ones"

    @property
    def falls_apart(self) -> bool:
        """Whether axial slices cut from it would be of a few thick slices each."""
        return self.thick and self.name != "axial"


def stored_plane(scan: Volume) -> StoredPlane:
    """Return in which plane the file stores its slices: across its coarsest axis, if one is, else its third."""
    steps = np.array(scan.spacing)
    coarsest = int(steps.argmax())
    thick = steps[coarsest] > _THICK * np.delete(steps, coarsest).max()
    axis = coarsest if thick else _ZYX[scan.file_axes[2]]
    matrix = np.reshape(scan.direction, (3, 3))
    normal = np.abs(matrix[:, 2 - axis])  # columns are x, y, z
    tilt, off = (float(np.degrees(np.arccos(min(1.0, normal[lps])))) for lps in (2, 2 - axis))
    turned = float(np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))))
    return StoredPlane((*PLANES,)[axis], tilt, off, bool(thick), turned)


def check_plane(option: str) -> PlaneOption:
    """Return the option. Raises: `InputError` if it is none."""
    if option not in get_args(PlaneOption):
        raise InputError(f"plane={option!r}: choose one of {', '.join(get_args(PlaneOption))}")
    return option  # type: ignore[return-value]


@dataclass(frozen=True)
class Placement:
    """Where slices lie on a scan.

    spacing (z, y, x) in mm, origin, direction and file_axes: the scan's in LPS, as `Volume` has them. axes: where the
    slices' columns and rows and their order run, one of `PLANES`. flip: how the scan was turned first, where its header
    lies (``contract.flips``); label maps go back to where the header says.
    """

    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    file_axes: str
    axes: str = "LPS"
    flip: str = "none"

    @classmethod
    def of(cls, scan: Volume, plane: str = "axial", flip: str = "none") -> Self:
        """Place slices on a scan: axial ones, or as its file stores them."""
        axes = PLANES[stored_plane(scan).name] if plane == "stored" else "LPS"
        return cls(scan.spacing, scan.origin, scan.direction, scan.file_axes, axes, flip)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], path: Path) -> Self:
        """Read what `record` gave. Raises: `InputError`, naming the file it is from, for anything else."""
        try:
            stored = {name: tuple(map(float, record[name])) for name in ("spacing", "origin", "direction")}
            sizes = [len(values) for values in stored.values()]
            axes, file_axes, flip = (str(record[name]) for name in ("axes", "file_axes", "flip"))
            if sizes != [3, 3, 9] or axes not in PLANES.values() or sorted(_ZYX[one] for one in file_axes) != [0, 1, 2]:
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: the `grid` of a case is damaged; prepare the data again") from error
        return cls(**stored, file_axes=file_axes, axes=axes, flip=flip)  # type: ignore[arg-type]

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def plane(self) -> PlaneName:
        """The plane that the slices show, or nearly so."""
        return next(name for name, axes in PLANES.items() if axes == self.axes)

    @property
    def slice_spacing(self) -> tuple[float, float, float]:
        """Distance of the slices and size of their pixels (slices, rows, columns) in mm."""
        lps = flip_spacing(self.spacing, self.flip)
        slices, rows, columns = (lps[_ZYX[letter]] for letter in reversed(self.axes))
        return slices, rows, columns

    def slices(self, array: NDArray) -> NDArray:
        """Turn an array of the scan (z, y, x) in LPS to slices (slices, rows, columns); nothing is resampled."""
        return from_lps(apply_flip(array, self.flip), np.eye(3, 4), self.axes)[0]

    def in_lps(self, slices: NDArray) -> Volume:
        """Put an array (slices, rows, columns) back on the scan, as it was read."""
        array = undo_flip(to_lps(slices, np.eye(3, 4), self.axes)[0], self.flip)
        return Volume(array, self.spacing, self.origin, self.direction, self.file_axes)

    def on_scan(self, slices: NDArray) -> Volume:
        """Put an array (slices, rows, columns) back on the scan, along its file's own axes."""
        volume = self.in_lps(slices)
        return volume.on_file_axes(volume.array)

    def write_label_map(self, label: NDArray[np.uint8], path: str | Path) -> Path:
        """Write the label map of slices to ``path``, voxel for voxel on the scan it was made from."""
        return write_volume(self.on_scan(label), path)
