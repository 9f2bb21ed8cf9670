"""``msa2net predict IMAGE``: a label map for a scan or an image of one's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.cli.networks import add_device, add_network_options, own_options
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.prediction.field_of_view import FieldOption
    from msa2net_lib.prediction.intensity import WindowOption


def add_predict(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser("predict", help="segment a scan or an image of your own")
    parser.set_defaults(run=run_predict)
    image = "NIfTI, NRRD, MetaImage, a folder of DICOM slices, PNG or JPEG; no labels needed"
    parser.add_argument("image", type=Path, metavar="IMAGE", nargs="?", help=image)
    checkpoint = "this workbook's or the authors'; default: the small network that ships, trained on virtual patients"
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help=checkpoint)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("predictions"),
        metavar="DIR",
        help="gets label map, overlay, table and record; default: predictions",
    )
    series = "UID or description, where a DICOM folder holds several; left out, they are listed"
    parser.add_argument("--series", metavar="NAME", help=series)
    window = "the values that become black and white, or `none` if they are 0 and 1; default: as in training"
    parser.add_argument("--window", nargs="+", metavar=("LOW HIGH | none", "..."), help=window)
    field = "as-is: resample nothing; MM: cut so much out around the body; default: match the training data if far off"
    parser.add_argument("--field-of-view", default="auto", metavar="auto|as-is|MM", help=field)
    plane = "slices that the network sees: axial, or as the file has them stored; default: as in training"
    parser.add_argument("--plane", choices=("auto", "axial", "stored"), default="auto", help=plane)
    add_device(parser)
    add_network_options(parser)


def run_predict(arguments: argparse.Namespace) -> int:
    from msa2net_lib.checkpoints import SHIPPED_TINY
    from msa2net_lib.prediction.run import predict_file

    image, window = _split(arguments.image, arguments.window)
    made = predict_file(
        image,
        arguments.checkpoint or SHIPPED_TINY,
        arguments.output,
        field_of_view=_field(arguments.field_of_view),
        window=window,
        plane=arguments.plane,
        series=arguments.series,
        device=arguments.device,
        network=arguments.network,
        network_options=own_options(arguments.network_option),
        progress=sys.stderr.isatty(),
    )
    for line in made.warnings:
        print(f"warning: {line}", file=sys.stderr)
    none_named = "" if arguments.checkpoint else "; no --checkpoint was named"
    print(f"image: {made.name}, {made.record['image']['is']}")
    print(f"checkpoint: {made.checkpoint}{none_named}")
    print(made)
    for kind, path in made.files.items():
        print(f"{kind}: {path}")
    print(made.record["mind"])
    return 0


def _split(image: Path | None, given: list[str] | None) -> tuple[Path, WindowOption]:
    """Return image and window: an image that stands behind the window's values was read as one of them."""
    values = list(given or [])
    if image is None and values and values != ["none"] and not _is_number(values[-1]):
        image = Path(values.pop())
    if image is None:
        raise InputError("IMAGE is missing: name a scan or an image, such as `msa2net predict scan.nii.gz`")
    if given is None:
        return image, "auto"
    if values == ["none"]:
        return image, "none"
    if len(values) != 2 or not all(map(_is_number, values)):
        raise InputError(f"--window {' '.join(values)}: give LOW and HIGH, such as -125 275, or none")
    return image, (float(values[0]), float(values[1]))


def _field(text: str) -> FieldOption:
    if text in ("auto", "as-is"):
        return text
    if not _is_number(text):
        raise InputError(f"--field-of-view {text}: give auto, as-is, or its width in mm, such as 350")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
