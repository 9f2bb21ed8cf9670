"""The options of ``msa2net prepare``, by data set, and what is read from them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msa2net_lib.errors import InputError

FOLDER: dict[str, Any] = {"type": Path, "metavar": "DIR"}
TO: dict[str, Any] = FOLDER | {"required": True, "help": "gets the prepared data"}
NUMBER: dict[str, Any] = {"type": int, "metavar": "N"}
IN_DATA = "default: data/{}, with the settings in its name if they are not the defaults"


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _add_synapse(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--source", type=Path, metavar="PATH", help="raw scans: img/ and label/, or RawData.zip")
    ways.add_argument("--fetch-raw", action="store_true", help="the raw scans, through synapseclient and your account")
    ways.add_argument("--prepared", **FOLDER, help="data that others prepared: examine them there")
    ways.add_argument("--download", action="store_true", help="such data, from Google Drive")
    parser.add_argument("--destination", **FOLDER, default=Path("data/synapse"), help="default: data/synapse")
    for option in ("--train-cases", "--test-cases"):
        parser.add_argument(option, type=_list, metavar="0005,...", help="of raw scans; default: the published split")
    scheme = "numbering of prepared labels, if you know it: lesson 01, section 3"
    parser.add_argument("--label-scheme", metavar="A|B|C|raw", help=scheme)
    _add_reading_options(parser)


def _add_isic(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--source", **FOLDER, help="holds the two folders, or the two archives")
    ways.add_argument("--download", action="store_true", help="the two official archives, 11.2 GB")
    parser.add_argument("--destination", **FOLDER, default=Path("data/isic2018"), help="default: data/isic2018")
    _add_split(parser, "that of DermoSegDiff's code, by sorted names, where all 2594 images are there")
    _add_image_options(parser)


def _add_virtual(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", **FOLDER, default=Path("data/example_ct"), help="default: data/example_ct")
    parser.add_argument("--destination", **FOLDER, help=IN_DATA.format("virtual"))
    parser.add_argument("--train", **NUMBER, help="training patients; default: 6")
    parser.add_argument("--test", **NUMBER, help="held-out patients; default: 4")
    parser.add_argument("--seed", **NUMBER, default=2024, help="default: 2024")
    parser.add_argument("--like-synapse", action="store_true", help="18 + 12 patients, 512 x 512, 2211 training slices")


def _add_skin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--destination", **FOLDER, help=IN_DATA.format("skin"))
    parser.add_argument("--count", **NUMBER, default=300, help="images; default: 300")
    parser.add_argument("--seed", **NUMBER, default=2024, help="default: 2024")
    _add_image_options(parser)


def _add_nnunet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", **FOLDER, required=True, help="holds dataset.json, imagesTr/ and labelsTr/")
    parser.add_argument("--destination", **TO)
    parser.add_argument("--test-cases", type=_list, metavar="ID,...", help="default: those of imagesTs with labels")
    parser.add_argument("--channel", **NUMBER, help="of images with several")
    _add_scan_options(parser)


def _add_scans(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", **FOLDER, required=True, help="a file or DICOM folder for each case")
    parser.add_argument("--labels", **FOLDER, required=True, help="label maps of the same names")
    parser.add_argument("--destination", **TO)
    parser.add_argument("--classes", nargs="+", required=True, metavar="NAME=ID", help="such as liver=1 kidney=2,3")
    parser.add_argument(
        "--test-cases", type=_list, default=(), metavar="ID,...", help="cases to score on; default: none"
    )
    modality = "decides the window; default: CT"
    parser.add_argument("--modality", default="CT", choices=("CT", "MR", "other"), help=modality)
    others = "count ids that --classes leaves out as background"
    parser.add_argument("--others-are-background", action="store_true", help=others)
    _add_scan_options(parser)


def _add_scan_options(parser: argparse.ArgumentParser) -> None:
    window = "values that become 0 and 1; default: -125 275 for CT, else percentiles of each scan"
    parser.add_argument("--window", nargs=2, type=float, metavar=("LOW", "HIGH"), help=window)
    parser.add_argument("--allow-empty", action="store_true", help="accept cases without any labeled voxel")
    held_out = "training cases to validate on; default: none"
    parser.add_argument("--validation-cases", type=_list, default=(), metavar="ID,...", help=held_out)
    table = "a table with the columns id and part (train, validation, test), and patient if you like, for all cases"
    parser.add_argument("--split", type=Path, metavar="CSV", help=table)
    _add_reading_options(parser)


def _add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add what is said of scans whose files do not say it, or say it wrongly."""
    values = "what a CT holds; auto (default): HU, else it is refused. hu: HU, whatever it looks like. "
    values += "shifted: HU + 1024 where none is negative. windowed: 0 to 1 or 0 to 255, windowed already"
    parser.add_argument("--values", choices=("auto", "hu", "shifted", "windowed"), default="auto", help=values)
    plane = "slices to prepare; auto (default): axial, and scans that fall apart then are refused. "
    plane += "stored: as the file has them"
    parser.add_argument("--plane", choices=("auto", "axial", "stored"), default="auto", help=plane)
    flip = "axes to reverse where headers lie, or in prepared arrays, t first for rows and columns swapped; CASE=FLIP: "
    flip += "of one case"
    parser.add_argument("--flip", nargs="+", metavar="none|x|y|z|t...", help=flip)


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", **FOLDER, required=True, help="PNG or JPEG")
    parser.add_argument("--masks", **FOLDER, required=True, help="one for each image, of its size")
    parser.add_argument("--destination", **TO)
    suffix = "after an image's name in its mask's; default: none, _mask or _segmentation"
    parser.add_argument("--mask-suffix", metavar="TEXT", help=suffix)
    threshold = "mask values above it are lesion; default: masks hold 0 and 255, or 0 and 1"
    parser.add_argument("--threshold", **NUMBER, help=threshold)
    parser.add_argument("--allow-empty", action="store_true", help="accept masks without any lesion pixel")
    _add_split(parser)
    _add_image_options(parser)


def _add_split(parser: argparse.ArgumentParser, default: str = "0.7,0.1,0.2 by sorted names") -> None:
    split = "one part for all images (test), shares of training, validation and test such as 0.7,0.1,0.2, or a table: "
    split += f"id,part or id,patient; default: {default}"
    parser.add_argument("--split", metavar="TEXT|CSV", help=split)


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    recipe = "filters and gray values by lineage: dermosegdiff (default) or dlka"
    parser.add_argument("--recipe", default="dermosegdiff", help=recipe)
    parser.add_argument("--size", **NUMBER, default=224, help="pixels a side; default: 224")


_ADD = {
    "synapse": _add_synapse,
    "isic": _add_isic,
    "virtual": _add_virtual,
    "skin": _add_skin,
    "nnunet": _add_nnunet,
    "scans": _add_scans,
    "images": _add_images,
}
"""By data set, or kind of your own data; the other data sets take the folder of all data."""


def add_options(name: str, parser: argparse.ArgumentParser) -> None:
    """Add what can be said of a data set, or of a kind of your own data."""
    if name not in _ADD:
        parser.add_argument("--data", **FOLDER, default=Path("data"), help="default: data")
        return
    parser.add_argument("--workers", **NUMBER, help="processes; default: one per core")
    _ADD[name](parser)


# ---- what they say ----------------------------------------------------------------------------------------


def progress_option() -> dict[str, Any]:
    """Return that progress is shown where somebody looks."""
    return {"progress": sys.stderr.isatty()}


def image_split(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return --split for images, if it was given."""
    from msa2net_lib.data.images.split import parse_split

    return {} if arguments.split is None else {"split": parse_split(arguments.split)}


def scan_split(arguments: argparse.Namespace, *labels: Path) -> tuple[Any, Any]:
    """Return the cases to test and to validate on, as they are named or as the table of --split says of all."""
    from msa2net_lib.data.scans.files import find_scans
    from msa2net_lib.data.splits import read_split

    if arguments.split is None:
        return arguments.test_cases, arguments.validation_cases
    if arguments.test_cases or arguments.validation_cases:
        raise InputError("--split: says the part of every case; leave --test-cases and --validation-cases out")
    parts = read_split(arguments.split)
    known = {case for folder in labels if folder.is_dir() for case in find_scans(folder, folders=True)}
    listed = {case for cases in parts.values() for case in cases}
    for odd, what in ((known - listed, "does not list"), (listed - known, "lists, but there are no labels of,")):
        if odd:
            raise InputError(f"{arguments.split}: {what} case {min(odd)} ({len(odd)} such); correct the table")
    return parts["test"], parts["validation"]


def given_options(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return some of the options, and whether to show progress."""
    given = {name: getattr(arguments, name) for name in names}
    if "flip" in given:
        given["flip"] = flips(arguments.flip)
    if given.get("window"):
        given["window"] = tuple(arguments.window)
    return given | progress_option()


def flips(given: Sequence[str] | None) -> str | dict[str, str]:
    """Return one flip for all cases, or case -> flip from CASE=FLIP; one without a case is that of all others."""
    named = {case: flip for case, _, flip in (text.rpartition("=") for text in given or ["none"])}
    return named[""] if [*named] == [""] else named


def parse_classes(texts: Sequence[str]) -> dict[str, list[int]]:
    """Read NAME=ID or NAME=ID,ID of each class. Raises: `InputError` for any other text, and a name given twice."""
    classes: dict[str, list[int]] = {}
    for text in texts:
        name, _, ids = text.rpartition("=")
        try:
            numbers = [int(part) for part in ids.split(",")]
        except ValueError:
            numbers = []
        if not (name and numbers):
            raise InputError(f"--classes {text}: write NAME=ID, such as liver=1, or NAME=ID,ID for several ids")
        if name in classes:
            raise InputError("--classes: names a class twice; write NAME=ID,ID for one class of several ids")
        classes[name] = numbers
    return classes
