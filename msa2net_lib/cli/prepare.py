"""The options of ``msa2net prepare DATA``; what the commands do is in ``prepare_commands``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msa2net_lib.cli import prepare_commands as commands
from msa2net_lib.data.catalog import DATASETS

Parsers = Any  # argparse's own class for subparsers is private
Run = Callable[[argparse.Namespace], int]


def add_prepare(subparsers: Parsers) -> None:
    """Add the command with a subcommand for each kind of data."""
    prepare = subparsers.add_parser("prepare", help="bring data into the form that training reads")
    kinds = prepare.add_subparsers(title="data", required=True, metavar="DATA")
    for name, entry in DATASETS.items():
        add_options, run = _OWN_OPTIONS.get(name, (_add_data, commands.by_name))
        add_options(_kind(kinds, name, entry.description, run))
    _add_nnunet(_kind(kinds, "nnunet", "your scans in nnU-Net's format", commands.nnunet))
    _add_scans(_kind(kinds, "scans", "your scans: NIfTI, NRRD, MetaImage or DICOM folders", commands.scans))
    _add_pictures(_kind(kinds, "pictures", "your photographs: PNG or JPEG, with masks", commands.pictures))


def _kind(kinds: Parsers, name: str, help_text: str, run: Run) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=help_text)
    parser.set_defaults(run=run, name=name)
    parser.add_argument("--workers", type=int, metavar="N", help="processes; default: one per core")
    return parser


def _folder(parser: argparse.ArgumentParser, option: str, default: str | None = None, **options: Any) -> None:
    told: dict[str, Any] = {"help": f"default: {default}"} if default else {"required": True}
    parser.add_argument(option, type=Path, metavar="DIR", default=default and Path(default), **(told | options))


def _add_synapse(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--source", type=Path, metavar="PATH", help="raw scans: img/ and label/, or RawData.zip")
    ways.add_argument("--fetch-raw", action="store_true", help="the raw scans, through synapseclient and your account")
    ways.add_argument("--prepared", type=Path, metavar="DIR", help="data that others prepared: examine them there")
    ways.add_argument("--download", action="store_true", help="such data, from Google Drive")
    _folder(parser, "--destination", "data/synapse")
    for option in ("--train-cases", "--test-cases"):
        parser.add_argument(option, type=_list, metavar="0005,...", help="of raw scans; default: the published split")
    parser.add_argument(
        "--label-scheme", metavar="A|B|C|raw", help="numbering of prepared labels, if you know it: lesson 01, section 4"
    )
    parser.add_argument(
        "--flip",
        metavar="none|x|y|z|t...",
        help="axes to reverse in prepared arrays, t first for rows and columns swapped",
    )


def _add_isic(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_mutually_exclusive_group()
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
    where = "default: data/skin, with the settings in its name if they are not the defaults"
    parser.add_argument("--destination", type=Path, metavar="DIR", help=where)
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
    _folder(parser, "--images", help="a file or DICOM folder for each case")
    _folder(parser, "--labels", help="label maps of the same names")
    _folder(parser, "--destination")
    parser.add_argument("--classes", nargs="+", required=True, metavar="NAME=ID", help="such as liver=1 kidney=2,3")
    parser.add_argument("--test-cases", type=_list, default=(), metavar="ID,...", help="cases to score on")
    modality = "decides the window; default: CT"
    parser.add_argument("--modality", default="CT", choices=("CT", "MR", "other"), help=modality)
    parser.add_argument(
        "--others-are-background", action="store_true", help="count ids that --classes leaves out as background"
    )
    _add_scan_options(parser)


def _add_scan_options(parser: argparse.ArgumentParser) -> None:
    window = "values that become 0 and 1; default: -125 275 for CT, else percentiles of each scan"
    parser.add_argument("--window", nargs=2, type=float, metavar=("LOW", "HIGH"), help=window)
    parser.add_argument("--allow-empty", action="store_true", help="accept cases without any labeled voxel")


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    _folder(parser, "--images", help="PNG or JPEG")
    _folder(parser, "--masks", help="one for each picture, of its size")
    _folder(parser, "--destination", help="70, 10 and 20 %% for training, validation and test, by sorted names")
    parser.add_argument(
        "--mask-suffix",
        metavar="TEXT",
        help="after a picture's name in its mask's; default: none, _mask or _segmentation",
    )
    parser.add_argument(
        "--threshold",
        type=int,
        metavar="N",
        help="mask values above it are lesion; default: masks hold 0 and 255, or 0 and 1",
    )
    parser.add_argument("--allow-empty", action="store_true", help="accept masks without any lesion pixel")
    _add_picture_options(parser)


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe", default="dermosegdiff", help="filters and gray values by lineage: dermosegdiff (default) or dlka"
    )
    parser.add_argument("--size", type=int, default=224, metavar="N", help="pixels a side; default: 224")


def _add_data(parser: argparse.ArgumentParser) -> None:
    _folder(parser, "--data", "data")


_OWN_OPTIONS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Run]] = {
    "synapse": (_add_synapse, commands.synapse),
    "isic": (_add_isic, commands.isic),
    "virtual": (_add_virtual, commands.virtual),
    "skin": (_add_skin, commands.skin),
}
"""Data sets with options of their own; the others take the folder of all data."""


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
