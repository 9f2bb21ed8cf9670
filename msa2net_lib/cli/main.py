"""The command line: ``msa2net doctor | prepare | train | evaluate | predict | export | reproduce``.

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
from typing import Any

from msa2net_lib.cli.evaluate import add_evaluate
from msa2net_lib.cli.evaluate import run as run_evaluate
from msa2net_lib.cli.export import add_export, run_export
from msa2net_lib.cli.predict import add_predict, run_predict
from msa2net_lib.cli.prepare import add_prepare
from msa2net_lib.config import DEVICES
from msa2net_lib.errors import InputError
from msa2net_lib.train_config import CHOICES

COUNTS = ("steps", "epochs", "batch_size", "accumulate", "validate_every", "checkpoint_every", "log_every", "seed")
NAMED = ("augment", "precision", "compilation", "selection")


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
        onwards = "start over" if arguments.run in (run_evaluate, run_predict, run_export) else "go on"
        print(f"stopped; run the same command again to {onwards}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="msa2net", description="MSA²Net as a workbook: its batch commands.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="say what is here, what is missing and what to do about it")
    doctor.add_argument("--data", type=Path, default="data", metavar="DIR", help="default: data")
    doctor.set_defaults(run=_doctor)
    add_prepare(commands)
    _add_train(commands.add_parser("train", help="train a network, or go on with a stopped run"))
    add_evaluate(commands)
    add_predict(commands)
    add_export(commands)
    _add_reproduce(commands.add_parser("reproduce", help="train, evaluate, run the lessons, write the report"))
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


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_reproduce)
    parser.add_argument("--profile", default="smoke", help="smoke (default), gpu or paper")
    parser.add_argument("--output", type=Path, default="results", metavar="DIR", help="default: results")
    parser.add_argument("--only", nargs="+", default=[], metavar="LESSON", help="default: all lessons")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="of the main training; default: profile's")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--cores", type=int, metavar="N", help="to use at the same time; default: all")
    profile = "Snakemake profile, such as workflow/profiles/slurm"
    parser.add_argument("--cluster", type=Path, metavar="DIR", help=profile)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    value = "a lesson's parameter; VALUE is read as Python if it can be, else as text"
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help=value)


def _doctor(arguments: argparse.Namespace) -> int:
    from msa2net_lib.cli.doctor import examine

    findings = examine(arguments.data)
    print(*findings, sep="\n")
    return int(any(found.needed and not found.ok for found in findings))


def _train(arguments: argparse.Namespace) -> int:
    from msa2net_lib.checkpoints import read_fingerprint, save_network
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
        fingerprint = read_fingerprint(weights)
        save_network(result.network, weights, half=True, class_names=dataset.class_names, fingerprint=fingerprint)
    steps = int(result.history[-1]["step"])
    print(f"weights: {weights} ({steps} steps; {result.minutes:.1f} min in this run)")
    if result.best is not None:
        print(f"best on {config.selection} data: {result.best} (mean DSC {result.best_score:.4f})")
    return 0


def _reproduce(arguments: argparse.Namespace) -> int:
    from msa2net_lib.batch.reproduce import profile_plan, reproduce

    parameters = dict(_parameter(text) for text in arguments.parameters)
    plan = profile_plan(
        arguments.profile,
        lessons=arguments.only,
        seeds=arguments.seeds,
        parameters=parameters,
        device=arguments.device,
        on_cluster=arguments.cluster is not None,
    )
    undone = reproduce(
        plan, arguments.output, cores=arguments.cores, cluster=arguments.cluster, dry_run=arguments.dry_run
    )
    return int(undone > 0)


def _parameter(text: str) -> tuple[str, Any]:
    """Split NAME=VALUE; the value is a Python literal if it reads as one, else the text itself."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"-p {text}: write NAME=VALUE, such as -p SEED=1")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
