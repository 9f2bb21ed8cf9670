"""The command line: ``msa2net doctor | prepare | train | evaluate | reproduce``.

A mistake in a file or an argument is one line on stderr and exit code 2; Ctrl-C is 130. The subcommands
import what they need themselves, so that ``msa2net --help`` answers at once.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.errors import InputError
from msa2net_lib.files import writable_folder, write_text
from msa2net_lib.prepare_options import add_prepare
from msa2net_lib.train_config import CHOICES

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.pictures.dataset import PictureDataset
    from msa2net_lib.evaluation import Evaluation, Protocol
    from msa2net_lib.nn.network import MSA2Net

DEVICES = ("auto", "cpu", "cuda", "mps")
COUNTS = ("steps", "epochs", "batch_size", "accumulate", "validate_every", "seed")
NAMED = ("augment", "precision", "compilation", "selection")
BOTH: tuple[Protocol, ...] = ("paper", "strict")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not all is well, 2 wrong input, 130 stopped."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except FloatingPointError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 1
    except InputError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = ", with -p RESUME=True for a stopped training" if arguments.run is _reproduce else ""
        onwards = "start over" if arguments.run is _evaluate else "go on"
        print(f"stopped; run the same command again to {onwards}{hint}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="msa2net", description="MSA²Net as a workbook: its batch commands.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="say what is here, what is missing and what to do about it")
    doctor.add_argument("--data", type=Path, default="data", metavar="DIR", help="default: data")
    doctor.set_defaults(run=_doctor)
    add_prepare(commands)
    _add_train(commands.add_parser("train", help="train a network, or go on with a stopped run"))
    _add_evaluate(commands.add_parser("evaluate", help="score a network on the test cases"))
    _add_reproduce(commands.add_parser("reproduce", help="run the lessons in batch"))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_train)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="a prepared data set")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets state and weights")
    parser.add_argument("--preset", default="tiny", help="the network; default: tiny")
    parser.add_argument("--recipe", default="smoke", help="the training; default: smoke")
    for name in COUNTS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help="default: the recipe's")
    parser.add_argument("--learning-rate", type=float, metavar="RATE", help="default: the recipe's")
    scaling = "multiply the rate by batch / 24 as the released script does; default: the recipe's"
    parser.add_argument("--scale-rate", action=argparse.BooleanOptionalAction, help=scaling)
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="default: the preset's")
    for name in NAMED:
        parser.add_argument(f"--{name}", choices=CHOICES[name], help="default: the recipe's")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    imagenet = "start the encoder from ImageNet weights: FILE, or a download without one"
    parser.add_argument("--pretrained", nargs="?", const=True, default=False, metavar="FILE", help=imagenet)
    parser.add_argument("--half", action="store_true", help="store the weights in float16")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_evaluate)
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="ours or the authors'")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="a prepared data set")
    parser.add_argument("--output", type=Path, metavar="CSV", help="also write every case's scores")
    parser.add_argument("--protocol", choices=(*BOTH, "both"), default="paper")
    parser.add_argument("--device", choices=DEVICES, default="auto")


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_reproduce)
    parser.add_argument("--profile", default="smoke", help="smoke (default), gpu or paper")
    parser.add_argument("--output", type=Path, default="results", metavar="DIR", help="default: results")
    parser.add_argument("--only", nargs="+", metavar="LESSON", help="default: all lessons")
    value = "a lesson's parameter; VALUE is read as Python if it can be, else as text"
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help=value)


def _doctor(arguments: argparse.Namespace) -> int:
    from msa2net_lib.workbook.doctor import examine

    findings = examine(arguments.data)
    print(*findings, sep="\n")
    return int(any(found.needed and not found.ok for found in findings))


def _train(arguments: argparse.Namespace) -> int:
    from msa2net_lib.checkpoints import save_network
    from msa2net_lib.config import NetworkConfig
    from msa2net_lib.data.catalog import open_prepared
    from msa2net_lib.train_config import TrainConfig
    from msa2net_lib.training import train

    given = {name: getattr(arguments, name) for name in (*COUNTS, *NAMED, "learning_rate", "scale_rate")}
    config = TrainConfig.from_recipe(arguments.recipe, **{k: v for k, v in given.items() if v is not None})
    dataset = open_prepared(arguments.dataset)
    size = {} if arguments.image_size is None else {"image_size": arguments.image_size}
    network = NetworkConfig.from_preset(
        arguments.preset, pretrained=arguments.pretrained, num_classes=len(dataset.class_names) + 1, **size
    )
    result = train(network, config, dataset, arguments.output, device=arguments.device, progress=sys.stderr.isatty())
    if int(os.environ.get("RANK", "0")) > 0:  # one of several processes speaks for all
        return 0
    weights = result.weights or arguments.output / "weights.safetensors"
    if arguments.half:
        save_network(result.network, weights, half=True, class_names=dataset.class_names)
    steps = int(result.history[-1]["step"])
    print(f"weights: {weights} ({steps} steps; {result.minutes:.1f} min in this run)")
    if result.best is not None:
        print(f"best on {config.selection} data: {result.best} (mean DSC {result.best_score:.4f})")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from msa2net_lib.checkpoints import read_class_names
    from msa2net_lib.data.catalog import open_prepared
    from msa2net_lib.data.pictures.dataset import PictureDataset
    from msa2net_lib.official_checkpoints import open_checkpoint
    from msa2net_lib.training import choose_device

    if arguments.output is not None:  # before the work, not after it
        _check_output(arguments.output)
    network, dataset = open_checkpoint(arguments.checkpoint), open_prepared(arguments.dataset)
    trained_on = read_class_names(arguments.checkpoint)
    if trained_on is not None and trained_on != dataset.class_names:
        raise InputError(
            f"{arguments.checkpoint}: was trained on {', '.join(trained_on)}; the data set has "
            f"{', '.join(dataset.class_names)}"
        )
    if (classes := network.config.num_classes) != (wanted := len(dataset.class_names) + 1):
        raise InputError(
            f"{arguments.checkpoint}: has {classes} classes, the data set {wanted}; give one trained on such data"
        )
    network = network.to(choose_device(arguments.device))
    if isinstance(dataset, PictureDataset):
        scores = _score_pictures(network, dataset)
    else:
        protocols = BOTH if arguments.protocol == "both" else (arguments.protocol,)
        scores = _score_volumes(network, dataset, protocols)
    if arguments.output is not None:
        print(f"scores: {write_text(arguments.output, scores)}")
    return 0


def _check_output(path: Path) -> None:
    """Raise InputError unless a file of this name can be written."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write the scores to")
    writable_folder(path.parent)


def _score_volumes(network: MSA2Net, dataset: PreparedDataset, protocols: Sequence[Protocol]) -> str:
    """Print the scores on the test cases and return every case's as CSV."""
    from msa2net_lib.evaluation import HD95_UNIT, evaluate

    if not dataset.test_cases:
        raise InputError(f"{dataset.root}: lists no test case; prepare it with test cases")
    result = evaluate(network, dataset, protocols=protocols, progress=sys.stderr.isatty())
    for protocol in protocols:
        print(_table(result, protocol, HD95_UNIT[protocol]))
    return result.scores.assign(hd95_unit=result.scores.protocol.map(HD95_UNIT)).to_csv(index=False)


def _score_pictures(network: MSA2Net, dataset: PictureDataset) -> str:
    """Print the scores on the test pictures and return every picture's as CSV."""
    from msa2net_lib.picture_evaluation import evaluate_pictures

    result = evaluate_pictures(network, dataset, progress=sys.stderr.isatty())
    what = "synthetic pictures" if dataset.is_synthetic else "pictures"
    print(f"{len(result.predictions)} test {what}, {result.prevalence:.4f} of the pixels lesion")
    print(result.scores.rename_axis(None).to_string(float_format="%.4f", na_rep="not measured"))
    return result.by_picture.to_csv()


def _table(result: Evaluation, protocol: Protocol, unit: str) -> str:
    """The scores of one protocol as text: one line per organ and the mean over organs."""
    rows = result.by_organ(protocol).rename_axis(None)
    rows.loc["mean"] = result.mean(protocol)
    rows.columns = ["DSC (0 to 1)", f"HD95 ({unit})"]
    return f"{protocol} protocol\n" + rows.to_string(float_format="%.4f", na_rep="not measured")


def _reproduce(arguments: argparse.Namespace) -> int:
    from msa2net_lib.workbook.execute import run_all

    parameters = dict(_parameter(text) for text in arguments.parameters)
    failed = run_all(arguments.profile, arguments.output, only=arguments.only, parameters=parameters)
    return int(failed > 0)


def _parameter(text: str) -> tuple[str, Any]:
    """Split NAME=VALUE; the value is a Python literal if it reads as one, else the text itself."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"-p {text}: write NAME=VALUE, such as -p SEED=1")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
