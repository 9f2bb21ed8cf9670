"""What a prediction is: the label map on the file's own grid, and how much of each class there is."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from msa2net_lib.data.volumes import Volume


@dataclass(frozen=True, eq=False)
class Prediction:
    """A label map and what it was made from.

    name: of the image. image: what the network was shown before it was matched and resized, in [0, 1]: a volume
    (z, y, x) in LPS, or an image (y, x) or (y, x, 3). label: class ids on it, uint8, 0 is background. spacing: (z, y,
    x) in mm, None for an image. own: of a volume, the same label map along the file's own axes, as it is written.
    rows: of each class its ``id`` and ``voxels``, ``ml`` and ``at_scan_end`` (whether it reaches the
    first or last slice, so that a part may be missing), or ``pixels`` and ``share`` of an image; ``table`` holds the
    same. warnings: what was
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
    rows: dict[str, dict[str, Any]]
    checkpoint: str
    warnings: tuple[str, ...]
    record: dict[str, Any] = field(repr=False)
    files: dict[str, Path] = field(default_factory=dict)
    plane: str = "axial"

    @property
    def table(self) -> pd.DataFrame:
        """One row per class."""
        import pandas as pd  # a command that has no table to show need not wait for it

        return pd.DataFrame.from_dict(self.rows, orient="index").rename_axis("class")

    @property
    def found(self) -> list[str]:
        """The classes that are in the label map."""
        return [name for name, row in self.rows.items() if row[self.counted]]

    @property
    def counted(self) -> str:
        """What is counted: voxels, or pixels."""
        return "pixels" if self.spacing is None else "voxels"

    def csv(self) -> str:
        """The table as CSV, numbers with six digits."""
        rows = [{"class": name, **row} for name, row in self.rows.items()]
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows
        )
        return text.getvalue()

    def __str__(self) -> str:
        """The table in words: what was found, what was not."""
        if not self.found:
            return f"nothing was found: all {self.counted} are background"
        unit = "share" if self.spacing is None else "ml"
        width = max(map(len, self.found))
        lines = [f"{'class':<{width}}{unit:>10}{self.counted:>12}"]
        for name in self.found:
            row = self.rows[name]
            amount = f"{row['ml']:10.1f}" if unit == "ml" else f"{row['share']:10.2%}"
            end = "  reaches the scan's end" if row.get("at_scan_end") else ""
            lines.append(f"{name:<{width}}{amount}{row[self.counted]:>12}{end}")
        missing = [name for name in self.class_names if name not in self.found]
        return "\n".join([*lines, f"not found: {', '.join(missing)}"] if missing else lines)


def volume_rows(
    label: NDArray[np.uint8], spacing: tuple[float, float, float], names: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Count the voxels (z, y, x) of each class; spacing in mm, volumes in ml."""
    counts = np.bincount(label.ravel(), minlength=len(names) + 1).tolist()
    ends = np.bincount(label[[0, -1]].ravel(), minlength=len(names) + 1)
    voxel_ml = float(np.prod(spacing)) / 1000
    return {
        name: {"id": index, "voxels": counts[index], "ml": counts[index] * voxel_ml, "at_scan_end": bool(ends[index])}
        for index, name in enumerate(names, start=1)
    }


def image_rows(label: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Count the pixels (y, x) of each class, and their share of the image."""
    counts = np.bincount(label.ravel(), minlength=len(names) + 1).tolist()
    return {
        name: {"id": index, "pixels": counts[index], "share": counts[index] / label.size}
        for index, name in enumerate(names, start=1)
    }
