"""``msa2net score``: label maps of any program, scored as ``msa2net evaluate`` scores a network's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.cli.evaluate import PROTOCOLS, check_output, image_scores, volume_intervals, volume_table
from msa2net_lib.cli.prepare_options import parse_classes
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from msa2net_lib.evaluation.label_maps import MatchedFiles


def add_score(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    parser = commands.add_parser("score", help="score label maps of any program against references")
    parser.set_defaults(run=run)
    read = "NIfTI, NRRD, MetaImage, npz or PNG"
    parser.add_argument("--predictions", type=Path, required=True, metavar="DIR", help=f"label maps to score: {read}")
    true = "the true ones, matched by the names' ids; or a prepared data set"
    parser.add_argument("--references", type=Path, required=True, metavar="DIR", help=true)
    names = "how names are made from the id, such as {id}_pred; default: {id}"
    parser.add_argument("--prediction-name", default="{id}", metavar="NAME", help=names)
    parser.add_argument(
        "--reference-name", default="{id}", metavar="NAME", help="the same for the references; default: {id}"
    )
    missing = "a reference without prediction is refused (default), skipped, or scored as if nothing was found"
    parser.add_argument("--missing", choices=("refuse", "skip", "empty"), default="refuse", help=missing)
    grid = "a prediction on other voxels is refused (default), resampled by the nearest; shape: arrays as stored"
    parser.add_argument("--grid", choices=("refuse", "resample", "shape"), default="refuse", help=grid)
    parser.add_argument("--output", type=Path, metavar="CSV", help="also write every case's scores")
    parser.add_argument("--interval", action="store_true", help="95 %% intervals over cases or images (Student's t)")
    scans = parser.add_argument_group("scans")
    classes = "such as liver=1 kidney=2,3; default: nnU-Net's dataset.json, or the references' ids by number"
    scans.add_argument("--classes", nargs="+", metavar="NAME=ID", help=classes)
    default = "default: both where voxel sizes are known, else paper"
    scans.add_argument("--protocol", choices=(*PROTOCOLS, "both"), help=default)
    images = parser.add_argument_group("images")
    images.add_argument("--threshold", type=int, metavar="X", help="masks with other values: lesion above it, of 255")


def run(arguments: argparse.Namespace) -> int:
    """Match, score, print, write what was asked for, and return the exit code."""
    check_output(arguments.output)
    from msa2net_lib.evaluation.label_maps import match_label_maps
    from msa2net_lib.utils.files import write_text

    matched = match_label_maps(
        arguments.predictions,
        arguments.references,
        prediction_name=arguments.prediction_name,
        reference_name=arguments.reference_name,
        missing=arguments.missing,
    )
    check_output(arguments.output, *(path for pair in matched.files.values() for path in pair))
    print(matched.describe())
    table = _score_masks(arguments, matched) if matched.are_masks else _score_volumes(arguments, matched)
    if arguments.output is not None:
        print(f"scores: {write_text(arguments.output, table.to_csv(index=False))}")
    return 0


def _score_volumes(arguments: argparse.Namespace, matched: MatchedFiles) -> pd.DataFrame:
    """Print the scores of label maps and return every case's."""
    from msa2net_lib.evaluation.label_maps import find_classes, score_label_maps

    if arguments.threshold is not None:
        raise InputError("--threshold: is for PNG masks of images, and these are label maps; leave it out")
    folders = arguments.references, arguments.predictions
    classes = parse_classes(arguments.classes) if arguments.classes else None
    if classes is None and matched.reference_data is None:
        classes = find_classes(*folders)
    chosen = (
        None if arguments.protocol is None else PROTOCOLS if arguments.protocol == "both" else (arguments.protocol,)
    )
    evaluation, told = score_label_maps(matched, classes, protocols=chosen, grid=arguments.grid)
    for line in told:
        print(line)
    for protocol in dict.fromkeys(evaluation.scores["protocol"]):
        print(volume_table({"": evaluation}, protocol))
    if arguments.interval:
        print(volume_intervals({"": evaluation}))
    return evaluation.csv_table()


def _score_masks(arguments: argparse.Namespace, matched: MatchedFiles) -> pd.DataFrame:
    """Print the scores of masks and return every image's."""
    from msa2net_lib.evaluation.label_maps import score_masks

    for name in ("classes", "protocol"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name}: is for label maps of scans, and these are masks of images; leave it out")
    result = score_masks(matched, threshold=arguments.threshold, grid=arguments.grid)
    print(image_scores(result, "masks", interval=arguments.interval))
    return result.by_image.reset_index()
