"""``msa2net prepare DATA``: from the name of a data set, or a folder of your own, to data that training reads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.cli.prepare_options import (
    add_options,
    flips,
    given_options,
    image_split,
    parse_classes,
    progress_option,
    scan_split,
)
from msa2net_lib.errors import InputError
from msa2net_lib.utils.tables import entry_texts

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.images.dataset import ImageDataset


def add_prepare(subparsers: Any) -> None:
    """Add the command with a subcommand for each data set, and for each kind of your own data."""
    prepare = subparsers.add_parser("prepare", help="bring data into the form that training reads")
    kinds = prepare.add_subparsers(title="data", required=True, metavar="DATA")
    named = {name: (text, _NAMED.get(name, _by_name)) for name, text in entry_texts("datasets", "description").items()}
    for name, (help_text, run) in (named | _OWN).items():
        parser = kinds.add_parser(name, help=help_text)
        parser.set_defaults(run=run, name=name)
        add_options(name, parser)


def _synapse(arguments: argparse.Namespace) -> int:
    """Prepare raw scans, or take prepared data, and end with the data contract."""
    from msa2net_lib.data.catalog import show_terms
    from msa2net_lib.data.download.synapse import download_synapse, fetch_raw, find_raw
    from msa2net_lib.data.synapse import prepare_synapse

    destination, downloads = arguments.destination, arguments.destination.parent / "downloads"
    cases = {name: getattr(arguments, name) for name in ("train_cases", "test_cases")}
    running = progress_option()
    if arguments.source or arguments.fetch_raw:
        if arguments.label_scheme:
            raise InputError("--label-scheme: raw scans carry BTCV's ids; leave it out")
        raw = find_raw(arguments.source, **running) if arguments.source else fetch_raw(downloads, **running)
        options = given_options(arguments, "values", "plane", "flip", "workers")
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
    flip = arguments.flip and flips(arguments.flip)
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
    contract = examine(root, label_scheme=label_scheme, flip=flip, **progress_option())
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
    source = arguments.source or download_isic(arguments.destination.parent / "downloads", **progress_option())
    options = given_options(arguments, "recipe", "size", "workers") | image_split(arguments)
    return _report_images(prepare_isic(source, arguments.destination, **options), published=True)


def _virtual(arguments: argparse.Namespace) -> int:
    """Make and prepare virtual patients."""
    from msa2net_lib.data.example_ct import cohort_folder
    from msa2net_lib.data.synapse import prepare_synapse
    from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, write_virtual_cohort

    size = SYNAPSE_SIZE if arguments.like_synapse else None
    wanted: dict[str, Any] = {name: getattr(arguments, name) for name in ("train", "test", "seed")} | {"size": size}
    home = arguments.destination or cohort_folder(Path("data"), **wanted)
    running = given_options(arguments, "workers")
    train, test = write_virtual_cohort(arguments.source, home / "raw", **wanted, **running)
    return _report(prepare_synapse(home / "raw", home / "prepared", train_cases=train, test_cases=test, **running))


def _skin(arguments: argparse.Namespace) -> int:
    """Draw and prepare synthetic skin images."""
    from msa2net_lib.data.skin.prepare import prepare_skin, skin_folder

    wanted = {name: getattr(arguments, name) for name in ("count", "size", "seed", "recipe")}
    home = arguments.destination or skin_folder(Path("data"), **wanted)
    return _report_images(prepare_skin(home, **wanted, **given_options(arguments, "workers")))


def _by_name(arguments: argparse.Namespace) -> int:
    """Prepare a data set that needs no more than its name."""
    from msa2net_lib.data.catalog import open_dataset

    dataset = open_dataset(arguments.name, arguments.data, **progress_option())
    print(f"{dataset.root}: {dataset.counts()}")
    return 0


def _nnunet(arguments: argparse.Namespace) -> int:
    """Prepare an nnU-Net folder."""
    from msa2net_lib.data.scans.nnunet import prepare_nnunet

    options = given_options(arguments, "channel", "window", "allow_empty", "values", "plane", "flip", "workers")
    tested, held_out = scan_split(arguments, arguments.source / "labelsTr", arguments.source / "labelsTs")
    options |= {"test_cases": tested, "validation": held_out}
    return _report(prepare_nnunet(arguments.source, arguments.destination, **options))


def _scans(arguments: argparse.Namespace) -> int:
    """Prepare pairs of scans and label maps."""
    from msa2net_lib.data.scans.own import prepare_pairs

    classes = parse_classes(arguments.classes)
    given = ("modality", "others_are_background", "window", "allow_empty", "values", "plane", "flip", "workers")
    options = given_options(arguments, *given)
    folders = arguments.images, arguments.labels, arguments.destination
    tested, held_out = scan_split(arguments, arguments.labels)
    return _report(prepare_pairs(*folders, classes=classes, test=tested, validation=held_out, **options))


def _images(arguments: argparse.Namespace) -> int:
    """Prepare pairs of photographs and masks."""
    from msa2net_lib.data.images.prepare import prepare_images

    options = given_options(arguments, "mask_suffix", "threshold", "allow_empty", "recipe", "size", "workers")
    options |= image_split(arguments)
    return _report_images(prepare_images(arguments.images, arguments.masks, arguments.destination, **options))


_NAMED = {"synapse": _synapse, "isic": _isic, "virtual": _virtual, "skin": _skin}
"""Commands of data sets that have options of their own."""

_OWN = {
    "nnunet": ("your scans in nnU-Net's format", _nnunet),
    "scans": ("your scans: NIfTI, NRRD, MetaImage or DICOM folders", _scans),
    "images": ("your photographs: PNG or JPEG, with masks", _images),
}
"""Data of your own: what to say of it, and its command."""


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
