"""``msa2net prepare DATA``: from the name of a data set, or a folder of your own, to data that training reads."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.images.dataset import ImageDataset


def synapse(arguments: argparse.Namespace) -> int:
    """Prepare raw scans, or take prepared data, and end with the data contract."""
    from msa2net_lib.data.download.btcv import fetch_raw, find_raw
    from msa2net_lib.data.download.synapse import download_synapse
    from msa2net_lib.data.synapse import prepare_synapse

    destination, downloads = arguments.destination, arguments.destination.parent / "downloads"
    running = _running()
    source: Path | None = arguments.source
    raw_scans = source is not None or arguments.fetch_raw
    if not raw_scans and (arguments.train_cases or arguments.test_cases):
        raise InputError("--train-cases and --test-cases: prepared data bring their own lists; leave them out")
    if raw_scans:
        if arguments.label_scheme or arguments.flip:
            raise InputError("--label-scheme and --flip: raw scans carry both; leave them out")
        raw = fetch_raw(downloads, **running) if source is None else find_raw(source, **running)
        cases = {"train_cases": arguments.train_cases, "test_cases": arguments.test_cases}
        root = prepare_synapse(raw, destination, **cases, workers=arguments.workers, **running).root
    elif arguments.download:
        root = download_synapse(destination, downloads=downloads, **running)
    elif arguments.prepared is None and not destination.exists():
        from msa2net_lib.data.catalog import show_terms

        print(show_terms("synapse"))
        raise InputError(
            f"{destination}: not there yet; say where the data come from: --source PATH, --fetch-raw, "
            "--prepared DIR or --download (`msa2net prepare synapse --help`)"
        )
    else:
        root = arguments.prepared or destination
    return _examine(root, arguments.label_scheme, arguments.flip)


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
            plot_orientation(dataset, alternatives=not contract.passed).savefig(temporary, bbox_inches="tight")
        print(f"look at it: {panel}")
    except (InputError, OSError) as error:  # the table has said already what is wrong with the files
        print(f"no picture: {error}")
    return _report(dataset) if contract.passed else 1


def isic(arguments: argparse.Namespace) -> int:
    """Prepare ISIC 2018, downloaded or brought."""
    from msa2net_lib.data.catalog import show_terms
    from msa2net_lib.data.images.recipes import image_recipe
    from msa2net_lib.data.isic import download_isic, prepare_isic
    from msa2net_lib.data.resize import height_width

    image_recipe(arguments.recipe)  # a typo should not cost a download
    height_width(arguments.size)
    if not (arguments.source or arguments.download):
        print(show_terms("isic2018"))
        raise InputError("say where the pictures come from: --source DIR, or --download (11.2 GB)")
    source = arguments.source or download_isic(arguments.destination.parent / "downloads", **_running())
    return _report_pictures(prepare_isic(source, arguments.destination, **_picture_options(arguments)), published=True)


def virtual(arguments: argparse.Namespace) -> int:
    """Make and prepare virtual patients."""
    from msa2net_lib.data.example_ct import cohort_folder
    from msa2net_lib.data.synapse import prepare_synapse
    from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, write_virtual_cohort

    size = SYNAPSE_SIZE if arguments.like_synapse else None
    wanted: dict[str, Any] = {name: getattr(arguments, name) for name in ("train", "test", "seed")} | {"size": size}
    home = arguments.destination or cohort_folder(Path("data"), **wanted)
    running: dict[str, Any] = {"workers": arguments.workers, **_running()}
    train, test = write_virtual_cohort(arguments.source, home / "raw", **wanted, **running)
    return _report(prepare_synapse(home / "raw", home / "prepared", train_cases=train, test_cases=test, **running))


def skin(arguments: argparse.Namespace) -> int:
    """Draw and prepare synthetic skin pictures."""
    from msa2net_lib.data.skin.prepare import prepare_skin, skin_folder

    wanted = {name: getattr(arguments, name) for name in ("count", "size", "seed", "recipe")}
    home = arguments.destination or skin_folder(Path("data"), **wanted)
    return _report_pictures(prepare_skin(home, **wanted, workers=arguments.workers, **_running()))


def by_name(arguments: argparse.Namespace) -> int:
    """Prepare a data set that needs no more than its name."""
    from msa2net_lib.data.catalog import open_dataset

    dataset = open_dataset(arguments.name, arguments.data, **_running())
    print(f"{dataset.root}: {dataset.counts()}")
    return 0


def nnunet(arguments: argparse.Namespace) -> int:
    """Prepare an nnU-Net folder."""
    from msa2net_lib.data.scans.nnunet import prepare_nnunet

    options = {"test_cases": arguments.test_cases, "channel": arguments.channel, **_scan_options(arguments)}
    return _report(prepare_nnunet(arguments.source, arguments.destination, **options))


def scans(arguments: argparse.Namespace) -> int:
    """Prepare pairs of scans and label maps."""
    from msa2net_lib.data.scans.own import prepare_pairs

    named = [_class(text) for text in arguments.classes]
    classes = dict(named)
    if len(classes) < len(named):
        raise InputError("--classes: names a class twice; write NAME=ID,ID for one class of several ids")
    options = {"modality": arguments.modality, "others_are_background": arguments.others_are_background}
    options |= {"test": arguments.test_cases, **_scan_options(arguments)}
    return _report(prepare_pairs(arguments.images, arguments.labels, arguments.destination, classes=classes, **options))


def pictures(arguments: argparse.Namespace) -> int:
    """Prepare pairs of photographs and masks."""
    from msa2net_lib.data.images.prepare import prepare_images

    options = {name: getattr(arguments, name) for name in ("mask_suffix", "threshold", "allow_empty")}
    options |= _picture_options(arguments)
    return _report_pictures(prepare_images(arguments.images, arguments.masks, arguments.destination, **options))


def _running() -> dict[str, Any]:
    return {"progress": sys.stderr.isatty()}


def _scan_options(arguments: argparse.Namespace) -> dict[str, Any]:
    window = None if arguments.window is None else tuple(arguments.window)
    return {"window": window, "allow_empty": arguments.allow_empty, "workers": arguments.workers, **_running()}


def _picture_options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in ("recipe", "size", "workers")} | _running()


def _class(text: str) -> tuple[str, int | list[int]]:
    """Split NAME=ID or NAME=ID,ID."""
    name, _, ids = text.rpartition("=")
    try:
        numbers = [int(part) for part in ids.split(",")]
    except ValueError:
        numbers = []
    if not (name and numbers):
        raise InputError(f"--classes {text}: write NAME=ID, such as liver=1, or NAME=ID,ID for several ids")
    return name, numbers[0] if len(numbers) == 1 else numbers


def _report(dataset: PreparedDataset) -> int:
    print(f"{dataset.root}: {dataset.counts()}")
    cases = dataset.manifest.get("cases", {}).values()
    for name in dataset.class_names if cases else ():
        if not any(case.get("voxels", {}).get(name) for case in cases):
            print(f"warning: no case has a voxel of {name}")
    if not dataset.train_slices:
        print("warning: nothing to train on; every case is a test case")
    if not dataset.test_cases:
        print("warning: nothing to test on; name cases with --test-cases")
    return 0


def _report_pictures(dataset: ImageDataset, published: bool = False) -> int:
    from msa2net_lib.paper.consistency import prevalence_report

    print(f"{dataset.root}: {dataset.counts()}")
    for part, ids in dataset.ids.items():
        if not ids:
            print(f"warning: no picture for {part}")
    print(prevalence_report(dataset, published=published))
    return 0
