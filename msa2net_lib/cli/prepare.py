"""``msa2net prepare DATA``: from the name of a data set, or a folder of your own, to data that training reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.images.dataset import ImageDataset

Parsers = Any  # argparse's own class for subparsers is private
FOLDER: dict[str, Any] = {"type": Path, "metavar": "DIR"}
TO: dict[str, Any] = FOLDER | {"required": True, "help": "gets the prepared data"}
NUMBER: dict[str, Any] = {"type": int, "metavar": "N"}
IN_DATA = "default: data/{}, with the settings in its name if they are not the defaults"


def add_prepare(subparsers: Parsers) -> None:
    """Add the command with a subcommand for each data set, and for each kind of your own data."""
    prepare = subparsers.add_parser("prepare", help="bring data into the form that training reads")
    kinds = prepare.add_subparsers(title="data", required=True, metavar="DATA")
    named = {name: (entry.description, *_NAMED.get(name, (_add_by_name, _by_name))) for name, entry in DATASETS.items()}
    for name, (help_text, add_options, run) in (named | _OWN).items():
        parser = kinds.add_parser(name, help=help_text)
        parser.set_defaults(run=run, name=name)
        if run is not _by_name:
            parser.add_argument("--workers", **NUMBER, help="processes; default: one per core")
        add_options(parser)


# ---- options ----------------------------------------------------------------------------------------------


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


def _add_by_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", **FOLDER, default=Path("data"), help="default: data")


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


# ---- commands ---------------------------------------------------------------------------------------------


def _synapse(arguments: argparse.Namespace) -> int:
    """Prepare raw scans, or take prepared data, and end with the data contract."""
    from msa2net_lib.data.catalog import show_terms
    from msa2net_lib.data.download.synapse import download_synapse, fetch_raw, find_raw
    from msa2net_lib.data.synapse import prepare_synapse

    destination, downloads = arguments.destination, arguments.destination.parent / "downloads"
    cases = {name: getattr(arguments, name) for name in ("train_cases", "test_cases")}
    running = _running()
    if arguments.source or arguments.fetch_raw:
        if arguments.label_scheme:
            raise InputError("--label-scheme: raw scans carry BTCV's ids; leave it out")
        raw = find_raw(arguments.source, **running) if arguments.source else fetch_raw(downloads, **running)
        options = _given(arguments, "values", "plane", "flip", "workers")
        return _examine(prepare_synapse(raw, destination, **cases, **options).root, None, None)
    if any(cases.values()):
        raise InputError("--train-cases and --test-cases: prepared data bring their own lists; leave them out")
    if (arguments.values, arguments.plane) != ("auto", "auto") or arguments.workers is not None:
        raise InputError("--values, --plane and --workers: are for raw scans (--source, --fetch-raw); leave them out")
    if arguments.download:
        root = download_synapse(destination, downloads=downloads, **running)
    elif arguments.prepared or destination.exists():
        root = arguments.prepared or destination
    else:
        print(show_terms("synapse"))
        raise InputError(
            f"{destination}: not there yet; say where the data come from: --source PATH, --fetch-raw, "
            "--prepared DIR or --download (`msa2net prepare synapse --help`)"
        )
    flip = arguments.flip and _flip(arguments.flip)
    if not (flip is None or isinstance(flip, str)):
        raise InputError(
            f"--flip {' '.join(arguments.flip)}: prepared data have one flip for all cases; give --flip xy"
        )
    return _examine(root, arguments.label_scheme, flip)


def _examine(root: Path, label_scheme: str | None, flip: str | None) -> int:
    """Print the data contract, record it if it passes, and leave the orientation panel beside the data."""
    from msa2net_lib.data.contract.examine import examine
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.utils.files import atomic_path
    from msa2net_lib.viz.orientation import plot_orientation

    earlier = PreparedDataset.open(root).reading if root.is_dir() else None
    if earlier is not None:  # a contract that holds: what was said then need not be said again
        label_scheme, flip = label_scheme or earlier.label_scheme, flip or earlier.flip
    contract = examine(root, label_scheme=label_scheme, flip=flip, **_running())
    print(contract)
    contract.record()
    dataset = PreparedDataset.open(contract.root)
    if not (contract.own or contract.passed):
        dataset = dataset.read_as(contract.label_scheme or "A", contract.flip or "none")
    panel = contract.root / "orientation.png"
    try:
        with atomic_path(panel) as temporary:
            plot_orientation(dataset, alternatives=not contract.passed).savefig(temporary, dpi=150, bbox_inches="tight")
        print(f"look at it: {panel}")
    except (InputError, OSError) as error:  # the table has said already what is wrong with the files
        print(f"no figure: {error}")
    return _report(dataset) if contract.passed else 1


def _isic(arguments: argparse.Namespace) -> int:
    """Prepare ISIC 2018, downloaded or brought."""
    from msa2net_lib.data.catalog import show_terms
    from msa2net_lib.data.images.recipes import image_recipe
    from msa2net_lib.data.isic import download_isic, prepare_isic
    from msa2net_lib.data.resize import height_width

    image_recipe(arguments.recipe)  # a typo should not cost a download
    height_width(arguments.size)
    if not (arguments.source or arguments.download):
        print(show_terms("isic2018"))
        raise InputError("say where the images come from: --source DIR, or --download (11.2 GB)")
    source = arguments.source or download_isic(arguments.destination.parent / "downloads", **_running())
    options = _given(arguments, "recipe", "size", "workers") | _image_split(arguments)
    return _report_images(prepare_isic(source, arguments.destination, **options), published=True)


def _virtual(arguments: argparse.Namespace) -> int:
    """Make and prepare virtual patients."""
    from msa2net_lib.data.example_ct import cohort_folder
    from msa2net_lib.data.synapse import prepare_synapse
    from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, write_virtual_cohort

    size = SYNAPSE_SIZE if arguments.like_synapse else None
    wanted: dict[str, Any] = {name: getattr(arguments, name) for name in ("train", "test", "seed")} | {"size": size}
    home = arguments.destination or cohort_folder(Path("data"), **wanted)
    running = _given(arguments, "workers")
    train, test = write_virtual_cohort(arguments.source, home / "raw", **wanted, **running)
    return _report(prepare_synapse(home / "raw", home / "prepared", train_cases=train, test_cases=test, **running))


def _skin(arguments: argparse.Namespace) -> int:
    """Draw and prepare synthetic skin images."""
    from msa2net_lib.data.skin.prepare import prepare_skin, skin_folder

    wanted = {name: getattr(arguments, name) for name in ("count", "size", "seed", "recipe")}
    home = arguments.destination or skin_folder(Path("data"), **wanted)
    return _report_images(prepare_skin(home, **wanted, **_given(arguments, "workers")))


def _by_name(arguments: argparse.Namespace) -> int:
    """Prepare a data set that needs no more than its name."""
    from msa2net_lib.data.catalog import open_dataset

    dataset = open_dataset(arguments.name, arguments.data, **_running())
    print(f"{dataset.root}: {dataset.counts()}")
    return 0


def _nnunet(arguments: argparse.Namespace) -> int:
    """Prepare an nnU-Net folder."""
    from msa2net_lib.data.scans.nnunet import prepare_nnunet

    options = _given(arguments, "channel", "window", "allow_empty", "values", "plane", "flip", "workers")
    tested, held_out = _scan_split(arguments, arguments.source / "labelsTr", arguments.source / "labelsTs")
    options |= {"test_cases": tested, "validation": held_out}
    return _report(prepare_nnunet(arguments.source, arguments.destination, **options))


def _scans(arguments: argparse.Namespace) -> int:
    """Prepare pairs of scans and label maps."""
    from msa2net_lib.data.scans.own import prepare_pairs

    classes = parse_classes(arguments.classes)
    given = ("modality", "others_are_background", "window", "allow_empty", "values", "plane", "flip", "workers")
    options = _given(arguments, *given)
    folders = arguments.images, arguments.labels, arguments.destination
    tested, held_out = _scan_split(arguments, arguments.labels)
    return _report(prepare_pairs(*folders, classes=classes, test=tested, validation=held_out, **options))


def _images(arguments: argparse.Namespace) -> int:
    """Prepare pairs of photographs and masks."""
    from msa2net_lib.data.images.prepare import prepare_images

    options = _given(arguments, "mask_suffix", "threshold", "allow_empty", "recipe", "size", "workers")
    options |= _image_split(arguments)
    return _report_images(prepare_images(arguments.images, arguments.masks, arguments.destination, **options))


_NAMED: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]] = {
    "synapse": (_add_synapse, _synapse),
    "isic": (_add_isic, _isic),
    "virtual": (_add_virtual, _virtual),
    "skin": (_add_skin, _skin),
}
"""Data sets with options of their own; the others take the folder of all data."""

_OWN = {
    "nnunet": ("your scans in nnU-Net's format", _add_nnunet, _nnunet),
    "scans": ("your scans: NIfTI, NRRD, MetaImage or DICOM folders", _add_scans, _scans),
    "images": ("your photographs: PNG or JPEG, with masks", _add_images, _images),
}
"""Data of your own: what to say of it, its options and its command."""


def _running() -> dict[str, Any]:
    return {"progress": sys.stderr.isatty()}


def _image_split(arguments: argparse.Namespace) -> dict[str, Any]:
    from msa2net_lib.data.images.split import parse_split

    return {} if arguments.split is None else {"split": parse_split(arguments.split)}


def _scan_split(arguments: argparse.Namespace, *labels: Path) -> tuple[Any, Any]:
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


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return some of the options, and whether to show progress."""
    given: dict[str, Any] = {
        name: _flip(arguments.flip) if name == "flip" else getattr(arguments, name) for name in names
    }
    return {name: tuple(value) if name == "window" and value else value for name, value in given.items()} | _running()


def _flip(given: Sequence[str] | None) -> str | dict[str, str]:
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


def _report(dataset: PreparedDataset) -> int:
    from msa2net_lib.data.contract.look_at import look_at, scan_remarks

    print(f"{dataset.root}: {dataset.counts()}")
    cases = dataset.manifest.get("cases", {}).values()
    for name in dataset.class_names if cases else ():
        if not any(case.get("voxels", {}).get(name) for case in cases):
            print(f"warning: no case has a voxel of {name}")
    if not dataset.train_slices:
        print("warning: nothing to train on; every case is a test case")
    if not dataset.test_cases:
        print("warning: nothing to test on; name cases with --test-cases")
    if found := look_at(scan_remarks(dataset.manifest)):
        print(found)
    return 0


def _report_images(dataset: ImageDataset, published: bool = False) -> int:
    from msa2net_lib.data.contract.look_at import look_at
    from msa2net_lib.data.images.look_at import image_remarks
    from msa2net_lib.paper.consistency import prevalence_report

    print(f"{dataset.root}: {dataset.counts()}")
    for part, ids in dataset.ids.items():
        if not ids:
            print(f"warning: no image for {part}")
    print(prevalence_report(dataset, published=published))
    if found := look_at(image_remarks(dataset.manifest)):
        print(found)
    return 0
