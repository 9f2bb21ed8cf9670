"""``msa2net prepare DATA``: from the name of a data set, or a folder of your own, to data that training reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.pictures.dataset import PictureDataset

Parsers = Any  # argparse's own class for subparsers is private
Run = Callable[[argparse.Namespace], int]


def add_prepare(commands: Parsers) -> None:
    """Add the command with a subcommand for each kind of data."""
    prepare = commands.add_parser("prepare", help="bring data into the form that training reads")
    kinds = prepare.add_subparsers(title="data", required=True, metavar="DATA")
    _add_synapse(_kind(kinds, "synapse", "the Synapse multi-organ data (BTCV)", _synapse))
    _add_isic(_kind(kinds, "isic", "ISIC 2018, skin lesions", _isic))
    _add_virtual(_kind(kinds, "virtual", "virtual patients, made from a shipped CT", _virtual))
    _add_skin(_kind(kinds, "skin", "synthetic skin pictures", _skin))
    _add_nnunet(_kind(kinds, "nnunet", "your scans in nnU-Net's format", _nnunet))
    _add_scans(_kind(kinds, "scans", "your scans: NIfTI, NRRD, MetaImage or DICOM folders", _scans))
    _add_pictures(_kind(kinds, "pictures", "your photographs: PNG or JPEG, with masks", _pictures))


def _kind(kinds: Parsers, name: str, help_text: str, run: Run) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=help_text)
    parser.set_defaults(run=run)
    parser.add_argument("--workers", type=int, metavar="N", help="processes; default: one a core")
    return parser


def _folder(parser: argparse.ArgumentParser, option: str, default: str | None = None, **options: Any) -> None:
    told: dict[str, Any] = {"help": f"default: {default}"} if default else {"required": True}
    parser.add_argument(option, type=Path, metavar="DIR", default=default and Path(default), **(told | options))


def _add_synapse(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--source", type=Path, metavar="PATH", help="raw scans: img/ and label/, or RawData.zip")
    ways.add_argument("--fetch-raw", action="store_true", help="the raw scans, through synapseclient and your account")
    ways.add_argument("--prepared", type=Path, metavar="DIR", help="data that others prepared: examine them there")
    ways.add_argument("--download", action="store_true", help="the same, from Google Drive")
    _folder(parser, "--destination", "data/synapse")
    for option in ("--train-cases", "--test-cases"):
        parser.add_argument(option, type=_list, metavar="0005,...", help="of raw scans; default: the published split")
    parser.add_argument("--label-scheme", metavar="A|B|C|raw", help="numbering of prepared labels, if you know it")
    parser.add_argument("--flip", metavar="none|x|y|z|t...", help="how prepared arrays are turned, if you know it")


def _add_isic(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--source", type=Path, metavar="DIR", help="holds the two folders, or the two archives")
    ways.add_argument("--download", action="store_true", help="the two official archives, 11.2 GB")
    _folder(parser, "--destination", "data/isic2018")
    _add_picture_options(parser)


def _add_virtual(parser: argparse.ArgumentParser) -> None:
    _folder(parser, "--source", "data/example_ct")
    where = "default: data/virtual, with the settings in its name if they are not the defaults"
    parser.add_argument("--destination", type=Path, metavar="DIR", help=where)
    parser.add_argument("--train", type=int, metavar="N", help="training patients; default: 6")
    parser.add_argument("--test", type=int, metavar="N", help="held-out patients; default: 4")
    parser.add_argument("--seed", type=int, default=2024, metavar="N", help="default: 2024")
    parser.add_argument("--like-synapse", action="store_true", help="18 + 12 patients, 512 x 512, 2211 training slices")


def _add_skin(parser: argparse.ArgumentParser) -> None:
    _folder(parser, "--destination", "data/skin")
    parser.add_argument("--count", type=int, default=300, metavar="N", help="pictures; default: 300")
    parser.add_argument("--seed", type=int, default=2024, metavar="N", help="default: 2024")
    _add_picture_options(parser)


def _add_nnunet(parser: argparse.ArgumentParser) -> None:
    _folder(parser, "--source", help="holds dataset.json, imagesTr/ and labelsTr/")
    _folder(parser, "--destination")
    parser.add_argument("--test-cases", type=_list, metavar="ID,...", help="default: those of imagesTs with labels")
    parser.add_argument("--channel", type=int, metavar="N", help="of images with several")
    _add_scan_options(parser)


def _add_scans(parser: argparse.ArgumentParser) -> None:
    for option in ("--images", "--labels", "--destination"):
        _folder(parser, option)
    parser.add_argument("--classes", nargs="+", required=True, metavar="NAME=ID", help="such as liver=1 kidney=2,3")
    parser.add_argument("--test-cases", type=_list, default=(), metavar="ID,...", help="cases to score on")
    parser.add_argument("--modality", default="CT", help="CT (default), MR or other")
    parser.add_argument("--others-are-background", action="store_true", help="ids that --classes leaves out")
    _add_scan_options(parser)


def _add_scan_options(parser: argparse.ArgumentParser) -> None:
    window = "values that become 0 and 1; default: -125 275 for CT, else percentiles of each scan"
    parser.add_argument("--window", nargs=2, type=float, metavar=("LOW", "HIGH"), help=window)
    parser.add_argument("--allow-empty", action="store_true", help="cases without any labelled voxel")


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    for option in ("--images", "--masks", "--destination"):
        _folder(parser, option)
    parser.add_argument("--mask-suffix", metavar="TEXT", help="between a picture's name and its mask's ending")
    parser.add_argument("--threshold", type=int, metavar="N", help="mask values above it are lesion")
    _add_picture_options(parser)


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", default="dermosegdiff", help="dermosegdiff (default) or dlka")
    parser.add_argument("--size", type=int, default=224, metavar="N", help="pixels a side; default: 224")


def _synapse(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.btcv import fetch_raw, find_raw
    from msa2net_lib.data.obtain import download_synapse
    from msa2net_lib.data.synapse import prepare_synapse

    destination, downloads = arguments.destination, arguments.destination.parent / "downloads"
    running = _running()
    source: Path | None = arguments.source
    if source is not None or arguments.fetch_raw:
        if arguments.label_scheme or arguments.flip:
            raise InputError("--label-scheme and --flip: raw scans carry both; leave them out")
        raw = fetch_raw(downloads, **running) if source is None else find_raw(source, **running)
        cases = {"train_cases": arguments.train_cases, "test_cases": arguments.test_cases}
        root = prepare_synapse(raw, destination, **cases, workers=arguments.workers, **running).root
    elif arguments.download:
        root = download_synapse(destination, downloads=downloads, **running)
    elif arguments.prepared is None and not destination.exists():
        from msa2net_lib.data.terms import show_terms

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
    from msa2net_lib.files import atomic_path
    from msa2net_lib.workbook.contract_plots import plot_orientation

    contract = examine(root, label_scheme=label_scheme, flip=flip, **_running())
    print(contract)
    if contract.passed:
        contract.write()
    dataset = PreparedDataset.open(contract.root)
    if not (contract.own or contract.passed):
        dataset = dataset.read_as(contract.label_scheme or "A", contract.flip or "none")
    panel = contract.root / "orientation.png"
    try:
        with atomic_path(panel) as temporary:
            plot_orientation(dataset, alternatives=not contract.passed).savefig(temporary, bbox_inches="tight")
        print(f"look at it: {panel}")
    except InputError as error:  # the table has said what is wrong with the files; there is just no picture of them
        print(f"no picture: {error}")
    return _report(dataset) if contract.passed else 1


def _isic(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.isic import download_isic, prepare_isic

    source = arguments.source or download_isic(arguments.destination.parent / "downloads", **_running())
    return _report_pictures(prepare_isic(source, arguments.destination, **_picture_options(arguments)))


def _virtual(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.catalog import cohort_folder
    from msa2net_lib.data.synapse import prepare_synapse
    from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, write_virtual_cohort

    size = SYNAPSE_SIZE if arguments.like_synapse else None
    wanted: dict[str, Any] = {name: getattr(arguments, name) for name in ("train", "test", "seed")} | {"size": size}
    home = arguments.destination or cohort_folder(Path("data"), **wanted)
    running: dict[str, Any] = {"workers": arguments.workers, **_running()}
    train, test = write_virtual_cohort(arguments.source, home / "raw", **wanted, **running)
    return _report(prepare_synapse(home / "raw", home / "prepared", train_cases=train, test_cases=test, **running))


def _skin(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.catalog import prepare_skin

    options = {"count": arguments.count, "seed": arguments.seed, **_picture_options(arguments)}
    return _report_pictures(prepare_skin(arguments.destination, **options))


def _nnunet(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.scans.nnunet import prepare_nnunet

    options = {"test_cases": arguments.test_cases, "channel": arguments.channel, **_scan_options(arguments)}
    return _report(prepare_nnunet(arguments.source, arguments.destination, **options))


def _scans(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.scans.own import prepare_pairs

    classes = dict(_class(text) for text in arguments.classes)
    options = {"modality": arguments.modality, "others_are_background": arguments.others_are_background}
    options |= {"test": arguments.test_cases, **_scan_options(arguments)}
    return _report(prepare_pairs(arguments.images, arguments.labels, arguments.destination, classes=classes, **options))


def _pictures(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.pictures.prepare import prepare_pictures

    options = {"mask_suffix": arguments.mask_suffix, "threshold": arguments.threshold}
    options |= _picture_options(arguments)
    return _report_pictures(prepare_pictures(arguments.images, arguments.masks, arguments.destination, **options))


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


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _report(dataset: PreparedDataset) -> int:
    print(f"{dataset.root}: {dataset.counts()}")
    return 0


def _report_pictures(dataset: PictureDataset) -> int:
    from msa2net_lib.picture_evaluation import prevalence_report

    print(f"{dataset.root}: {dataset.counts()}")
    print(prevalence_report(dataset))
    return 0
