"""What a network was trained on, as far as an image that comes later has to be like it; stored in checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np

from msa2net_lib.errors import InputError
from msa2net_lib.utils.plain import parse_json

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset, TrainingData


class Range(NamedTuple):
    """The spread of a length over the training cases, in mm."""

    lowest: float
    median: float
    highest: float

    def excess(self, value: float) -> float:
        """By which factor (1 or more) a value lies outside; 1 inside."""
        return max(self.lowest / value, value / self.highest, 1.0)


@dataclass(frozen=True)
class DatasetFingerprint:
    """The kind and the geometry of training data; None or "" for what is not recorded.

    window: ``low``, ``high`` and ``unit`` of the gray values that became 0 and 1 (`data.scans.recipe.Window`). recipe:
    that of images (`data.images.recipes.ImageRecipe`), prepared at ``height_width`` pixels. slice_mm: distance
    of slices. length_mm: of the scans, across their slices. pixel_mm, field_of_view_mm: of whole slices, along (y, x).
    plane: "axial" slices, or those that the files had "stored".
    """

    kind: Literal["scans", "images"]
    modality: str = ""
    window: dict[str, Any] | None = None
    recipe: dict[str, Any] | None = None
    height_width: tuple[int, int] | None = None
    slice_mm: Range | None = None
    length_mm: Range | None = None
    pixel_mm: tuple[Range, Range] | None = None
    field_of_view_mm: tuple[Range, Range] | None = None
    plane: str = "axial"

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises: `InputError` for anything else."""
        try:
            stored = parse_json(text, "its description of the training data")
            for name in ("pixel_mm", "field_of_view_mm"):
                if stored[name] is not None:
                    y, x = stored[name]
                    stored[name] = _stored_range(y), _stored_range(x)
            for name in ("slice_mm", "length_mm"):
                if stored[name] is not None:
                    stored[name] = _stored_range(stored[name])
            if stored["height_width"] is not None:
                height, width = stored["height_width"]
                stored["height_width"] = _number(height, int), _number(width, int)
            if stored["window"] is not None:
                _require(stored["window"], {"low": float, "high": float, "unit": str})
            if stored["recipe"] is not None:
                kinds = dict.fromkeys(("name", "image_filter", "mask_filter", "intensity"), str) | {"notes": dict}
                _require(stored["recipe"], kinds)
            if stored["kind"] not in ("scans", "images") or not isinstance(stored["modality"], str):
                raise ValueError("kind or modality")
            return cls(**stored)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("its description of the training data is damaged; copy or train it again") from error


def _number(value: Any, kind: type) -> float:
    """A length as it is stored: a number, and more than 0."""
    if not isinstance(value, int | kind) or isinstance(value, bool) or value <= 0:
        raise ValueError(value)
    return kind(value)


def _stored_range(values: Any) -> Range:
    lowest, median, highest = (_number(value, float) for value in values)
    if not lowest <= median <= highest:
        raise ValueError(values)
    return Range(lowest, median, highest)


def _require(stored: Any, kinds: dict[str, type]) -> None:
    """Raise ValueError unless ``stored`` is a dictionary of these keys and kinds."""
    if not isinstance(stored, dict) or stored.keys() != kinds.keys():
        raise ValueError(stored)
    for name, kind in kinds.items():
        if not isinstance(stored[name], (int, float) if kind is float else kind):
            raise ValueError(name)


def describe(data: TrainingData) -> DatasetFingerprint | None:
    """Describe a prepared data set from what was recorded when it was prepared; None for data of another kind.

    Data that others prepared store no voxel size, so that the lengths stay None.
    """
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.images.dataset import ImageDataset

    if isinstance(data, ImageDataset):
        return DatasetFingerprint("images", recipe=data.manifest["recipe"], height_width=data.height_width)
    if isinstance(data, PreparedDataset):
        return _describe_scans(data)
    return None


def _describe_scans(data: PreparedDataset) -> DatasetFingerprint:
    from msa2net_lib.data.prepared_files import slices_by_case
    from msa2net_lib.data.volumes import WINDOW_HU

    window = data.manifest.get("window") or {"low": WINDOW_HU[0], "high": WINDOW_HU[1], "unit": "HU"}
    known = data.manifest.get("cases", {})
    cases = [known[name] for name in slices_by_case(data.train_slices) if name in known]
    spaced = [case for case in cases if case.get("spacing_mm") and case.get("shape")]
    plane = data.manifest.get("plane", "axial")
    described = DatasetFingerprint("scans", data.manifest.get("modality", "CT"), window, plane=plane)
    if not spaced:
        return described
    spacing = np.array([case["spacing_mm"] for case in spaced])
    extent = spacing * np.array([case["shape"] for case in spaced])
    return replace(
        described,
        slice_mm=_range(spacing[:, 0]),
        length_mm=_range(extent[:, 0]),
        pixel_mm=(_range(spacing[:, 1]), _range(spacing[:, 2])),
        field_of_view_mm=(_range(extent[:, 1]), _range(extent[:, 2])),
    )


def _range(values: Iterable[float]) -> Range:
    ordered = sorted(round(float(value), 4) for value in values)
    return Range(ordered[0], round(float(np.median(ordered)), 4), ordered[-1])
