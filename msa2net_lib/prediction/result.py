"""What a prediction is: the label map on the file's own grid, and how much of each class there is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msa2net_lib.data.volumes import Volume


@dataclass(frozen=True, eq=False)
class Prediction:
    """A label map and what it was made from.

    name: of the image. image: what the network was shown before it was matched and resized, in [0, 1]: a volume
    (z, y, x) in LPS, or an image (y, x) or (y, x, 3). label: class ids on it, uint8, 0 is background. spacing: (z, y,
    x) in mm, None for an image. own: of a volume, the same label map along the file's own axes, as it is written.
    table: one row per class with its ``id`` and ``voxels``, ``ml`` and ``at_scan_end`` (whether it reaches the
    first or last slice, so that a part may be missing), or ``pixels`` and ``share`` of an image. warnings: what was
    assumed, and what was done about an image unlike the training data. files: what was written, by kind.
    record: all of this that JSON can hold, with checksums and versions. plane: what the slices of a volume show;
    those of the stored plane may be coronal (z, y, x are then slices, rows, columns) or sagittal.
    """

    name: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    spacing: tuple[float, float, float] | None
    own: Volume | None
    class_names: tuple[str, ...]
    table: pd.DataFrame
    checkpoint: str
    warnings: tuple[str, ...]
    record: dict[str, Any] = field(repr=False)
    files: dict[str, Path] = field(default_factory=dict)
    plane: str = "axial"

    @property
    def found(self) -> list[str]:
        """The classes that are in the label map."""
        return [str(name) for name in self.table.index[self.table.iloc[:, 1] > 0]]

    def __str__(self) -> str:
        """The table in words: what was found, what was not."""
        rows = self.table.loc[self.found].reset_index().to_dict("records")
        counted = str(self.table.columns[1])
        if not rows:
            return f"nothing was found: all {counted} are background"
        unit = "ml" if "ml" in self.table else "share"
        width = max(len(str(row["class"])) for row in rows)
        lines = [f"{'class':<{width}}{unit:>10}{counted:>12}"]
        for row in rows:
            amount = f"{row['ml']:10.1f}" if unit == "ml" else f"{row['share']:10.2%}"
            end = "  reaches the scan's end" if row.get("at_scan_end") else ""
            lines.append(f"{row['class']:<{width}}{amount}{row[counted]:>12}{end}")
        missing = [name for name in self.class_names if name not in self.found]
        return "\n".join([*lines, f"not found: {', '.join(missing)}"] if missing else lines)


def volume_table(label: NDArray[np.uint8], spacing: tuple[float, float, float], names: tuple[str, ...]) -> pd.DataFrame:
    """Count the voxels (z, y, x) of each class; spacing in mm, volumes in ml."""
    counts = np.bincount(label.ravel(), minlength=len(names) + 1)
    ends = np.bincount(label[[0, -1]].ravel(), minlength=len(names) + 1)
    rows = {
        "id": range(1, len(names) + 1),
        "voxels": counts[1:],
        "ml": counts[1:] * float(np.prod(spacing)) / 1000,
        "at_scan_end": ends[1:] > 0,
    }
    return pd.DataFrame(rows, index=pd.Index(names, name="class"))


def image_table(label: NDArray[np.uint8], names: tuple[str, ...]) -> pd.DataFrame:
    """Count the pixels (y, x) of each class, and their share of the image."""
    counts = np.bincount(label.ravel(), minlength=len(names) + 1)[1:]
    rows = {"id": range(1, len(names) + 1), "pixels": counts, "share": counts / label.size}
    return pd.DataFrame(rows, index=pd.Index(names, name="class"))
