"""From a file of one's own and a checkpoint to a label map in the file's own geometry."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msa2net_lib.baselines.spec import config_of
from msa2net_lib.checkpoints import SHIPPED_TINY, read_class_names, read_fingerprint
from msa2net_lib.data.images.recipes import ImageRecipe, resize_color, scale_image
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.placement import (
    FARTHEST_TILT,
    Placement,
    PlaneOption,
    StoredPlane,
    check_plane,
    stored_plane,
)
from msa2net_lib.data.resize import resize_back
from msa2net_lib.data.volumes import Volume
from msa2net_lib.errors import InputError
from msa2net_lib.inference import NOT_CLINICAL, predict_image, predict_volume
from msa2net_lib.official_checkpoints import open_checkpoint
from msa2net_lib.optimize import OptimizedWhenLong
from msa2net_lib.prediction.field_of_view import FieldOption, check_field, match_field_of_view
from msa2net_lib.prediction.intensity import GrayValues, WindowOption, check_window, gray_image, gray_scan
from msa2net_lib.prediction.output import check_output, output_paths, write_prediction
from msa2net_lib.prediction.result import Prediction, image_rows, volume_rows
from msa2net_lib.prediction.source import FlatImage, describe_source, read_source, result_name
from msa2net_lib.utils.devices import choose_device
from msa2net_lib.utils.files import sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from msa2net_lib.data.fingerprint import DatasetFingerprint

SHIPPED_WORDS = "tiny.safetensors, which ships (trained on virtual patients made from one real CT)"


@dataclass(frozen=True, eq=False)
class _Trained:
    """A network, what its classes are, and what it was trained on, as far as its file says."""

    network: nn.Module
    path: Path
    class_names: tuple[str, ...]
    fingerprint: DatasetFingerprint | None
    warnings: tuple[str, ...]

    @property
    def words(self) -> str:
        shipped = self.path.exists() and SHIPPED_TINY.exists() and self.path.samefile(SHIPPED_TINY)
        return SHIPPED_WORDS if shipped else self.path.name

    @property
    def is_for_scans(self) -> bool | None:
        """Whether it was trained on scans; None if neither the file nor the classes tell."""
        if self.fingerprint is not None:
            return self.fingerprint.kind == "scans"
        return True if self.class_names == ORGANS else False if self.class_names == ("lesion",) else None


def predict_file(
    image: str | Path,
    checkpoint: str | Path = SHIPPED_TINY,
    output_dir: str | Path | None = None,
    *,
    field_of_view: FieldOption = "auto",
    window: WindowOption = "auto",
    plane: PlaneOption = "auto",
    series: str | None = None,
    device: str = "auto",
    network: str | None = None,
    network_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Prediction:
    """Predict on a scan or an image without labels: NIfTI, NRRD, MetaImage, a folder of DICOM slices, PNG or JPEG.

    A scan whose pixel size or field of view is far from the training data's is resampled and cropped for the network,
    and the label map mapped back. What was assumed or adapted is in the result's ``warnings``.

    Args:
        image: the file, or the folder of DICOM slices.
        checkpoint: a file of `save_network` or of the reference implementation.
        output_dir: where to write the label map on the image's own grid (``_labels.nii.gz``, or an indexed
            ``_labels.png``), ``_overlay.png``, a table (volumes in ml) and ``_prediction.json``; None writes nothing.
        field_of_view: "auto" matches it, "as-is" does not; or its side in mm.
        window: the values that become 0 and 1; "none" if they are; "auto" as in training.
        plane: the slices that the network sees: "axial", as the file has them "stored", or "auto" as in training.
        series: UID or description, of a DICOM folder with several.
        device: "auto", "cpu", "cuda" or "mps".
        network: what `open_checkpoint` has to be told where the checkpoint's network is not MSA²Net or of this library.
        network_options: of the network's own, changed ones, such as ``samples`` and ``steps`` of DermoSegDiff.
        progress: show a bar.

    Returns:
        The label map, what it was made from, and what was found in it.

    Raises:
        InputError: what cannot be read (a video, a text file, 4-D, several series), gray values that cannot be those
            the network knows, a network of other data, or an output that cannot be written.

    Example:
        >>> from msa2net_lib import predict_file
        >>> found = predict_file("scan.nii.gz", field_of_view="as-is", progress=False)
        >>> found.label.shape, found.class_names[0]
        ((2, 64, 64), 'aorta')

    Source: this project; slices as in the reference implementation's test script.
    """
    started = time.perf_counter()
    image, window, field = Path(image), check_window(window), check_field(field_of_view)
    trained = _open(Path(checkpoint), device, network, network_options)
    source = read_source(image, series)
    name, described = result_name(source), describe_source(source)
    gray = _gray(image, source, trained, window)
    array = source.array if isinstance(source, Volume) else source.pixels
    digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    paths = {}
    if output_dir is not None:  # before the work, not after it
        paths = output_paths(Path(output_dir), name, isinstance(source, Volume))
        check_output(Path(output_dir), image, paths, digest)
    if isinstance(source, Volume):
        made = _predict_scan(name, source, gray, trained, field, check_plane(plane), progress)
    else:
        made = _predict_image(name, source, gray, trained)
    record = _record(image, described, digest, trained, made) | {"seconds": round(time.perf_counter() - started, 1)}
    made = dataclasses.replace(made, record=record, files=paths)
    if paths:
        write_prediction(made, paths)
    return made


def _open(path: Path, device: str, name: str | None, options: Mapping[str, Any] | None) -> _Trained:
    network = open_checkpoint(path, None, name, options).to(choose_device(device))
    names, fingerprint, classes = read_class_names(path), read_fingerprint(path), config_of(network).num_classes
    if names is not None and len(names) != classes - 1:
        raise InputError(f"{path}: names {len(names)} classes and has {classes - 1}; copy or train it again")
    warnings = ()
    if names is None and classes == len(ORGANS) + 1:
        names = ORGANS
        warnings = (f"the checkpoint does not name its classes: taken for the Synapse organs ({', '.join(ORGANS)})",)
    elif names is None:
        names = tuple(f"class {index}" for index in range(1, classes))
        warnings = ("the checkpoint does not name its classes",)
    return _Trained(network, path, names, fingerprint, warnings)


def _gray(image: Path, source: Volume | FlatImage, trained: _Trained, window: WindowOption) -> GrayValues:
    """Bring the values to [0, 1]; colors stay colors. Raises InputError for a network of the other kind of data."""
    classes = ", ".join(trained.class_names[:3]) + (", ..." if len(trained.class_names) > 3 else "")
    network = f"{trained.path.name} ({classes})"
    if isinstance(source, Volume):
        if trained.is_for_scans is False:
            raise InputError(f"{image}: is a scan, {network} was trained on color images; name another checkpoint")
        return gray_scan(source, window, trained.fingerprint)
    if source.is_gray:
        return gray_image(source.pixels, image, window)
    if trained.is_for_scans:
        raise InputError(
            f"{image}: is a color image, {network} was trained on scans; name another checkpoint, or save it as gray"
        )
    if isinstance(window, tuple):
        raise InputError(f"{image}: is a color image, to which no window applies; leave --window out")
    return GrayValues(source.pixels.astype(np.float32) / np.float32(255), None)


def _predict_scan(
    name: str, scan: Volume, gray: GrayValues, trained: _Trained, field: FieldOption, plane: PlaneOption, progress: bool
) -> Prediction:
    as_trained = "axial" if trained.fingerprint is None else trained.fingerprint.plane
    wanted = as_trained if plane == "auto" else plane
    stored, placement = stored_plane(scan), Placement.of(scan, wanted)
    image = placement.slices(gray.image)
    sliced = dataclasses.replace(scan, array=image, spacing=placement.slice_spacing)
    turned = _plane_warnings(stored, image.shape[1:], wanted, as_trained)
    seen, matching, adapted = match_field_of_view(image, sliced, trained.fingerprint, field)
    network = OptimizedWhenLong(trained.network, len(seen))
    label = predict_volume(network, seen, progress=progress)
    if matching is not None:
        label = matching.undo(label, image.shape[1:])
    matched = None if matching is None else dataclasses.asdict(matching)
    return Prediction(
        name,
        image,
        label,
        sliced.spacing,
        placement.on_scan(label),
        trained.class_names,
        volume_rows(label, sliced.spacing, trained.class_names),
        trained.words,
        (*trained.warnings, *scan.notes, *gray.warnings, *turned, *adapted),
        {"window": gray.window, "plane": placement.plane, "field_of_view": {"asked": field, "matched": matched}}
        | {"computed_by": network.way},
        plane=placement.plane,
    )


def _plane_warnings(stored: StoredPlane, shape: tuple[int, ...], wanted: str, as_trained: str) -> list[str]:
    """Say which slices, of what shape, the network sees where the file's own are not axial, or turned."""
    if stored.name == "axial" and max(stored.tilt, stored.in_plane) <= FARTHEST_TILT:
        return []
    if wanted == "stored":
        knows = "as in its training data" if as_trained == "stored" else "it was trained on axial ones"
        return [f"has {stored}: the network sees them as they are, {knows}"]
    if stored.name != "axial":
        size = " x ".join(str(length) for length in shape)
        return [f"has {stored}: axial ones of {size} pixels were cut from them; --plane stored leaves them as they are"]
    if stored.tilt <= FARTHEST_TILT:
        return [f"its slices are turned in their plane by {stored.in_plane:.0f} degrees: nothing was changed"]
    return [f"has {stored}, the network was trained on upright axial slices: nothing was changed"]


def _predict_image(name: str, image: FlatImage, gray: GrayValues, trained: _Trained) -> Prediction:
    warnings = [*trained.warnings, *image.notes, *gray.warnings]
    recipe = None if trained.fingerprint is None else trained.fingerprint.recipe
    if trained.is_for_scans:
        warnings.append("an image has no HU and no pixel size: taken as windowed already, field of view not checked")
        warnings.append("taken as an upright axial slice with the patient's right on the left")
    elif image.is_gray:
        warnings.append("a gray image; the network was trained on color")
    if recipe is None:
        label = predict_image(trained.network, gray.image)
    else:
        size = trained.fingerprint and trained.fingerprint.height_width
        label = _predict_by_recipe(trained.network, gray.image, ImageRecipe(**recipe), size)
    return Prediction(
        name,
        gray.image,
        label,
        None,
        None,
        trained.class_names,
        image_rows(label, trained.class_names),
        trained.words,
        tuple(warnings),
        {"window": gray.window},
    )


def _predict_by_recipe(
    network: nn.Module, image: NDArray[np.float32], recipe: ImageRecipe, prepared: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """Predict on an image (y, x) or (y, x, 3) made as the training images were, through the size they had."""
    pixels = np.rint(image * 255).astype(np.uint8)
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    prepared = prepared or config_of(network).height_width
    for size in (prepared, config_of(network).height_width):
        pixels = resize_color(pixels, size, recipe)
    label = predict_image(network, scale_image(pixels, recipe))
    return resize_back(resize_back(label, prepared), image.shape[:2])


def _record(path: Path, described: str, digest: str, trained: _Trained, made: Prediction) -> dict[str, Any]:
    from msa2net_lib.utils.system_info import versions

    fingerprint = trained.fingerprint
    return {
        "mind": NOT_CLINICAL,
        "image": {"name": path.resolve().name, "is": described, "voxels_sha256": digest},
        "checkpoint": {
            "name": trained.path.name,
            "sha256": sha256(trained.path),
            "preset": config_of(trained.network).preset,
            "fingerprint": None if fingerprint is None else dataclasses.asdict(fingerprint),
        },
        "classes": {"0": "background"} | {str(i): name for i, name in enumerate(trained.class_names, start=1)},
        **made.record,
        "found": {name: made.rows[name] for name in made.found},
        "warnings": list(made.warnings),
        "device": str(next(trained.network.parameters()).device),
        "versions": versions(),
    }
