"""The files of a prediction: label map, overlay, table and, when they are there, the record of it all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from msa2net_lib.data.volumes import write_volume
from msa2net_lib.errors import InputError
from msa2net_lib.inference import NOT_CLINICAL
from msa2net_lib.prediction.result import Prediction
from msa2net_lib.utils.files import atomic_path, read_json, writable_folder, write_text
from msa2net_lib.utils.interrupts import deferred_interrupt

DPI = 130
_QUICK = {"compress_level": 1}  # of a drawing smaller than the default, in two thirds of the time


def output_paths(folder: Path, name: str, is_volume: bool) -> dict[str, Path]:
    """Where the files of a prediction go, by kind, in the order in which they are written; the record comes last."""
    endings = {
        "label map": "_labels.nii.gz" if is_volume else "_labels.png",
        "overlay": "_overlay.png",
        "table": "_volumes.csv" if is_volume else "_areas.csv",
        "record": "_prediction.json",
    }
    return {kind: folder / f"{name}{ending}" for kind, ending in endings.items()}


def check_output(folder: Path, image: Path, paths: dict[str, Path], voxels_sha256: str) -> None:
    """Make the folder and look whether anything is in the way. Raises: `InputError`.

    In the way are a folder that cannot be written, one that is or lies in the DICOM folder that is read, the image
    itself, the prediction of another image of the same name, and files of these names that no prediction left, such as
    labels drawn by hand.
    """
    if image.is_dir() and folder.resolve().is_relative_to(image.resolve()):
        raise InputError(f"{folder}: lies in the folder of slices that is read; name another one (--output DIR)")
    writable_folder(folder)
    for path in paths.values():
        if path.exists() and path.samefile(image):
            raise InputError(f"{path}: is the image itself; name another folder (--output DIR)")
    record = paths["record"]
    try:
        earlier = read_json(record)["image"]["voxels_sha256"]
    except FileNotFoundError as error:
        if there := [path for path in paths.values() if path.exists()]:
            raise InputError(
                f"{there[0]}: is there already, and no record of a prediction beside it; name another folder "
                "(--output DIR), or delete it"
            ) from error
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record}: is not a prediction's record; name another folder (--output DIR)") from error
    if earlier != voxels_sha256:
        raise InputError(
            f"{record}: is of another image of this name; name another folder (--output DIR), or delete it"
        )


def write_prediction(prediction: Prediction, paths: dict[str, Path]) -> dict[str, Path]:
    """Write the files of a prediction to ``paths`` (`output_paths`) and return them.

    Each is renamed into place when it is whole. Ctrl-C waits until all are written. Raises: `InputError` if one
    cannot be written, as on a full disk; then those that were not there before are not there after it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from msa2net_lib.prediction.overlay import draw_overlay

    table, figure = prediction.csv(), draw_overlay(prediction)
    new = [path for path in paths.values() if not path.exists()]
    with deferred_interrupt():
        try:
            if prediction.own is not None:
                write_volume(prediction.own, paths["label map"])
            else:
                _write_indexed(prediction, paths["label map"])
            with atomic_path(paths["overlay"]) as temporary:
                figure.set_dpi(DPI)  # not by savefig, which draws once more for a layout that is done
                FigureCanvasAgg(figure).print_png(temporary, pil_kwargs=_QUICK)
            write_text(paths["table"], table)
            write_text(paths["record"], json.dumps(prediction.record, indent=2, ensure_ascii=False) + "\n")
        except BaseException:
            for path in new:
                path.unlink(missing_ok=True)
            raise
    return paths


def _write_indexed(prediction: Prediction, path: Path) -> None:
    """Write the class ids of an image as an indexed PNG, with the classes' names in its text."""
    from msa2net_lib.viz.colors import indexed_palette

    image = Image.fromarray(np.ascontiguousarray(prediction.label)).convert("L")
    image.putpalette(indexed_palette(prediction.class_names))
    text = PngInfo()
    names = ["background", *prediction.class_names]
    text.add_text("Description", f"classes predicted by {prediction.checkpoint}; {NOT_CLINICAL}")
    text.add_itxt("Classes", json.dumps(dict(enumerate(names)), ensure_ascii=False))
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", bits=8, pnginfo=text)
