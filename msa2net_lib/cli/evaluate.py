"""``msa2net evaluate``: its options, and what it prints and writes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.cli.networks import add_device, add_network_options, own_options
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.images.dataset import ImageDataset
    from msa2net_lib.evaluation.images import ImageEvaluation
    from msa2net_lib.evaluation.selections import Weights
    from msa2net_lib.evaluation.volumes import Evaluation, Protocol

PROTOCOLS: tuple[Protocol, ...] = ("paper", "strict")
MISSING = "not measured"
OF_IMAGES = ("threshold", "threshold_on", "post_processing", "masks", "split")
OF_SCANS = ("protocol", "resampling")


def add_evaluate(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    parser = commands.add_parser("evaluate", help="score a network on the test cases")
    parser.set_defaults(run=run)
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--checkpoint", type=Path, metavar="FILE", help="this workbook's or the authors'")
    folders = "a training folder: all its weights; several of one training with several seeds: mean and spread too"
    weights.add_argument("--run", dest="run_dirs", type=Path, nargs="+", metavar="DIR", help=folders)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="a prepared data set")
    parser.add_argument("--output", type=Path, metavar="CSV", help="also write every case's scores")
    parser.add_argument(
        "--predictions", type=Path, metavar="DIR", help="also write every case's label map or image's mask"
    )
    best = "with --run: also the weights that were chosen on the test cases; their scores flatter"
    parser.add_argument("--with-best-on-test", action="store_true", help=best)
    parser.add_argument("--interval", action="store_true", help="95 %% intervals over cases or images (Student's t)")
    add_device(parser)
    fast = "optimize the network first: the same to 1e-4, faster; default: where there is enough to predict"
    parser.add_argument("--fast", action=argparse.BooleanOptionalAction, help=fast)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="slices or images at once; default: 16")
    add_network_options(parser)
    scans = parser.add_argument_group("scans")
    scans.add_argument("--protocol", choices=(*PROTOCOLS, "both"), help="default: paper")
    matrix = "scipy (default) as the reference implementation; matrix: the same to 1e-4, on the network's device"
    scans.add_argument("--resampling", choices=("scipy", "matrix"), help=matrix)
    images = parser.add_argument_group("images")
    images.add_argument("--threshold", type=float, metavar="X", help="above it is lesion; default: 0.5")
    on = "what the threshold is on; default: probability. logit: the lesion's less the background's"
    images.add_argument("--threshold-on", choices=("probability", "logit"), help=on)
    after = "dlka: open and fill by 6 x 6 pixels, sizes that D-LKA chose on the test set; default: none"
    images.add_argument("--post-processing", choices=("none", "dlka"), help=after)
    own = "the masks that the images were prepared from: score at their own size"
    images.add_argument("--masks", type=Path, metavar="DIR", help=own)
    images.add_argument("--split", choices=("train", "validation", "test"), help="default: test")


def run(arguments: argparse.Namespace) -> int:
    """Score the weights asked for, print their tables, write what was asked for, and return the exit code."""
    from msa2net_lib.data.catalog import open_prepared
    from msa2net_lib.data.images.dataset import ImageDataset
    from msa2net_lib.evaluation.selections import find_weights
    from msa2net_lib.utils.files import write_text

    _check_arguments(arguments)
    weights = find_weights(arguments.checkpoint, arguments.run_dirs, arguments.with_best_on_test)
    dataset = open_prepared(arguments.dataset)
    is_image_dataset = isinstance(dataset, ImageDataset)
    _refuse_options(arguments, OF_SCANS if is_image_dataset else OF_IMAGES, "images" if is_image_dataset else "scans")
    score = _score_images if is_image_dataset else _score_volumes
    table = score(arguments, weights, dataset)  # type: ignore[arg-type]
    if arguments.output is not None:
        print(f"scores: {write_text(arguments.output, table.to_csv(index=False))}")
    if arguments.predictions is not None:
        print(f"predictions: {arguments.predictions}")
    return 0


def _check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse what can be refused before the work."""
    check_output(arguments.output)
    if arguments.batch_size < 1:
        raise InputError(f"--batch-size {arguments.batch_size}: give 1 or more")
    if arguments.with_best_on_test and arguments.run_dirs is None:
        raise InputError("--with-best-on-test: chooses among the weights of a training folder; give one with --run")


def check_output(path: Path | None, *inputs: Path | None, table: bool = True) -> None:
    """Refuse a file to write to that cannot be written, is one of those to be read, or holds something of another kind.

    table: it gets one, and what is there already may be an earlier one.
    """
    from msa2net_lib.utils.files import writable_folder

    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write the scores to")
    writable_folder(path.parent)
    if not path.is_file():
        return
    if any(one is not None and path.samefile(one) for one in inputs):
        raise InputError(f"{path}: is one of the files to be read; name another file to write to")
    with open(path, "rb") as file:
        first = file.readline(1 << 12)
    if table and first and (b"," not in first or b"\0" in first):
        raise InputError(f"{path}: is there already and no table of scores; name another file, or delete it")


def _refuse_options(arguments: argparse.Namespace, others: tuple[str, ...], kind: str) -> None:
    given = [f"--{name.replace('_', '-')}" for name in others if getattr(arguments, name) is not None]
    if given:
        raise InputError(f"{', '.join(given)}: not for {kind}, which {arguments.dataset} holds; leave it out")


def _open_network(path: Path, dataset: PreparedDataset | ImageDataset, arguments: argparse.Namespace) -> Any:
    """Open a checkpoint and see that it was trained on such classes."""
    from msa2net_lib.baselines.spec import config_of
    from msa2net_lib.checkpoints import read_class_names
    from msa2net_lib.official_checkpoints import open_checkpoint
    from msa2net_lib.utils.devices import choose_device

    network = open_checkpoint(path, None, arguments.network, own_options(arguments.network_option))
    fingerprint = read_class_names(path)
    if fingerprint is not None and fingerprint != dataset.class_names:
        raise InputError(
            f"{path}: was trained on {', '.join(fingerprint)}; the data set has {', '.join(dataset.class_names)}"
        )
    if (classes := config_of(network).num_classes) != (wanted := len(dataset.class_names) + 1):
        raise InputError(f"{path}: has {classes} classes, the data set {wanted}; give one trained on such data")
    return network.to(choose_device(arguments.device))


def _for_each(
    arguments: argparse.Namespace,
    weights: Sequence[Weights],
    dataset: Any,
    score: Callable[..., Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Score one file of weights after the other, with the options that scans and images share."""
    results = {}
    for one in weights:
        results[one.label] = score(
            _open_network(one.path, dataset, arguments),
            dataset,
            progress=sys.stderr.isatty(),
            keep_predictions=False,
            predictions_dir=one.predictions(arguments.predictions),
            batch_size=arguments.batch_size,
            precision=arguments.precision,
            fast=arguments.fast,
            **options,
        )
    return results


def _score_volumes(arguments: argparse.Namespace, weights: Sequence[Weights], dataset: PreparedDataset) -> pd.DataFrame:
    """Print the scores on the test cases and return every case's."""
    from msa2net_lib.evaluation.selections import by_selection, selected_scores
    from msa2net_lib.evaluation.volumes import evaluate

    if not dataset.test_cases:
        raise InputError(f"{dataset.root}: lists no test case; prepare it with test cases")
    chosen = arguments.protocol or "paper"
    protocols = PROTOCOLS if chosen == "both" else (chosen,)
    options = {"protocols": protocols, "resampling": arguments.resampling or "scipy"}
    results = _for_each(arguments, weights, dataset, evaluate, options)
    for protocol in protocols:
        print(volume_table(results, protocol))
    if arguments.interval:
        print(volume_intervals(results))
    for selection, seeds in by_selection(weights, results).items():
        print(_over_seeds(selection, seeds))
    tables = {label: result.csv_table() for label, result in results.items()}
    return tables[""] if "" in tables else selected_scores(tables)


def volume_table(results: Mapping[str, Evaluation], protocol: Protocol) -> str:
    """The scores of one protocol as text: one line per organ and the mean over organs, columns by selection."""
    from msa2net_lib.evaluation.selections import selection_table

    table = selection_table(results, protocol)
    if "" in results:
        table = table[""]
    told = [(label, line(protocol)) for label, one in results.items() for line in (one.set_by_rule, one.missed_warning)]
    lines = [f"{label}: {line}" if label else line for label, line in told if line]
    return "\n".join([f"{protocol} protocol", table.to_string(float_format="%.4f", na_rep=MISSING), *lines])


def volume_intervals(results: Mapping[str, Evaluation]) -> str:
    lines = ["means with 95 % intervals"]
    for label, result in results.items():
        table = result.summary().query("organ == 'mean'").drop(columns=["organ", "seeds", "sd"])
        lines += [label] * bool(label)
        lines.append(table.to_string(index=False, float_format="%.4f", na_rep=MISSING))
    return "\n".join(lines)


def _over_seeds(selection: str, seeds: Mapping[int, Evaluation]) -> str:
    from msa2net_lib.evaluation.table import summarize_seeds

    table = summarize_seeds(seeds)[["protocol", "organ", "score", "unit", "cases", "mean", "sd", "low", "high"]]
    lines = [f"{selection}: mean and sd over {len(seeds)} seeds, 95 % interval by Student's t over cases and seeds"]
    return "\n".join([*lines, table.to_string(index=False, float_format="%.4f", na_rep=MISSING)])


def _score_images(arguments: argparse.Namespace, weights: Sequence[Weights], dataset: ImageDataset) -> pd.DataFrame:
    """Print the scores on the images and return every image's."""
    from msa2net_lib.evaluation.images import evaluate_images
    from msa2net_lib.evaluation.mask_rules import MaskRule
    from msa2net_lib.evaluation.selections import by_selection, selected_scores

    named = {name: getattr(arguments, name) for name in ("threshold", "threshold_on", "post_processing")}
    rule = MaskRule(**{name: value for name, value in named.items() if value is not None})
    split = arguments.split or "test"
    options = {"rule": rule, "masks": arguments.masks, "split": split}
    results = _for_each(arguments, weights, dataset, evaluate_images, options)
    what = "synthetic images" if dataset.is_synthetic else "images"
    for label, result in results.items():
        print(image_scores(result, f"{split} {what}", label, arguments.interval))
    for selection, seeds in by_selection(weights, results).items():
        print(_images_over_seeds(selection, seeds))
    tables = {label: result.by_image.reset_index() for label, result in results.items()}
    return tables[""] if "" in tables else selected_scores(tables)


def image_scores(result: ImageEvaluation, what: str, label: str = "", interval: bool = False) -> str:
    """The scores on images as text: how many of ``what`` there are, what a lesion is, a line per average."""
    head = f"{len(result.by_image)} {what}, {result.prevalence:.4f} of the pixels lesion"
    lines = [head + (f": {label}" if label else ""), f"at the {result.size} size; lesion: {result.rule.describe()}"]
    lines.append(result.scores.rename_axis(None).to_string(float_format="%.4f", na_rep=MISSING))
    for average in result.scores.index if interval else ():
        low, high = result.interval(average)
        lines.append(f"{average} DSC: 95 % interval {low:.4f} to {high:.4f} (Student's t over images)")
    return "\n".join(lines)


def _images_over_seeds(selection: str, seeds: Mapping[int, ImageEvaluation]) -> str:
    import pandas as pd

    keyed: dict[Any, Any] = {seed: result.scores for seed, result in seeds.items()}
    scores = pd.concat(keyed).groupby(level=1, sort=False)
    lines, tables = [], {name: scores.agg(name) for name in ("mean", "std")}
    for name, table in tables.items():
        lines.append(f"{selection}: {'sd' if name == 'std' else name} over {len(seeds)} seeds")
        lines.append(table.rename_axis(None).to_string(float_format="%.4f", na_rep=MISSING))
    return "\n".join(lines)
