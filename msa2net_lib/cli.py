"""The command line: ``msa2net doctor | prepare | train | evaluate | reproduce``.

A mistake in a file or an argument is one line on stderr and exit code 2; Ctrl-C is 130. The subcommands
import what they need themselves, so that ``msa2net --help`` answers at once.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.evaluation import Evaluation, Protocol

DEVICES = ("auto", "cpu", "cuda", "mps")
BOTH: tuple[Protocol, ...] = ("paper", "strict")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not all is well, 2 wrong input, 130 stopped."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except InputError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        hint = ", with -p RESUME=True for a stopped training" if arguments.run is _reproduce else ""
        print(f"stopped; run the same command again to go on{hint}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="msa2net", description="MSA²Net as a workbook: its batch commands.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="say what is here, what is missing and what to do about it")
    doctor.add_argument("--data", type=Path, default="data", metavar="DIR", help="default: data")
    doctor.set_defaults(run=_doctor)
    prepare = commands.add_parser("prepare", help="bring scans into the form that training reads")
    kinds = prepare.add_subparsers(title="data", required=True, metavar="DATA")
    _add_synapse(kinds.add_parser("synapse", help="scans in the BTCV layout"))
    _add_virtual(kinds.add_parser("virtual", help="virtual patients, made from a shipped CT"))
    _add_train(commands.add_parser("train", help="train a network, or go on with a stopped run"))
    _add_evaluate(commands.add_parser("evaluate", help="score a network on the test cases"))
    _add_reproduce(commands.add_parser("reproduce", help="run the lessons in batch"))
    return parser


def _add_synapse(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_prepare, virtual=False)
    parser.add_argument("--source", type=Path, required=True, metavar="DIR", help="holds img/ and label/")
    parser.add_argument("--destination", type=Path, required=True, metavar="DIR")
    for option in ("--train-cases", "--test-cases"):
        parser.add_argument(option, type=_list, metavar="0005,...", help="default: the published split")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; default: one a core")


def _add_virtual(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_prepare, virtual=True)
    parser.add_argument("--source", type=Path, default="data/example_ct", metavar="DIR")
    where = "default: data/virtual, with the settings in its name if they are not the defaults"
    parser.add_argument("--destination", type=Path, metavar="DIR", help=where)
    parser.add_argument("--train", type=int, default=6, metavar="N", help="training patients; default: 6")
    parser.add_argument("--test", type=int, default=4, metavar="N", help="held-out patients; default: 4")
    parser.add_argument("--seed", type=int, default=2024, metavar="N", help="default: 2024")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; default: one a core")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_train)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="a prepared data set")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets state and weights")
    parser.add_argument("--preset", default="tiny", help="the network; default: tiny")
    parser.add_argument("--recipe", default="smoke", help="the training; default: smoke")
    for option in ("--steps", "--batch-size", "--seed"):
        parser.add_argument(option, type=int, metavar="N", help="default: the recipe's")
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


def _prepare(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.catalog import cohort_folder
    from msa2net_lib.data.synapse import prepare_synapse
    from msa2net_lib.data.virtual import write_virtual_cohort

    source, destination = arguments.source, arguments.destination
    running: dict[str, Any] = {"progress": sys.stderr.isatty()}
    if arguments.virtual:
        wanted = {name: getattr(arguments, name) for name in ("train", "test", "seed")}
        destination = destination or cohort_folder(Path("data"), **wanted)
        train, test = write_virtual_cohort(source, destination / "raw", **wanted, **running)
        source, destination = destination / "raw", destination / "prepared"
    else:
        train, test = arguments.train_cases, arguments.test_cases
    running["workers"] = arguments.workers
    dataset = prepare_synapse(source, destination, train_cases=train, test_cases=test, **running)
    counts = f"{len(dataset.train_slices)} training slices, {len(dataset.test_cases)} test cases"
    print(f"{dataset.root}: {counts}")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from msa2net_lib.checkpoints import save_network
    from msa2net_lib.config import NetworkConfig, TrainConfig
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.training import train

    given = {name: getattr(arguments, name) for name in ("steps", "batch_size", "seed")}
    config = TrainConfig.from_recipe(arguments.recipe, **{k: v for k, v in given.items() if v is not None})
    network = NetworkConfig.from_preset(arguments.preset, pretrained=arguments.pretrained)
    dataset = PreparedDataset.open(arguments.dataset)
    result = train(network, config, dataset, arguments.output, device=arguments.device, progress=sys.stderr.isatty())
    weights = result.weights or arguments.output / "weights.safetensors"
    if arguments.half:
        save_network(result.network, weights, half=True)
    print(f"weights: {weights} ({config.steps} steps; {result.minutes:.1f} min in this run)")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.labels import ORGANS
    from msa2net_lib.evaluation import HD95_UNIT, evaluate
    from msa2net_lib.files import write_text
    from msa2net_lib.official_checkpoints import open_checkpoint
    from msa2net_lib.training import choose_device

    network, dataset = open_checkpoint(arguments.checkpoint), PreparedDataset.open(arguments.dataset)
    if (classes := network.config.num_classes) != len(ORGANS) + 1:
        raise InputError(f"{arguments.checkpoint}: has {classes} classes, the data set {len(ORGANS) + 1}")
    if not dataset.test_cases:
        raise InputError(f"{arguments.dataset}: lists no test case; prepare it with test cases")
    network = network.to(choose_device(arguments.device))
    protocols = BOTH if arguments.protocol == "both" else (arguments.protocol,)
    result = evaluate(network, dataset, protocols=protocols, progress=sys.stderr.isatty())
    for protocol in protocols:
        print(_table(result, protocol, HD95_UNIT[protocol]))
    if arguments.output is not None:
        scores = result.scores.assign(hd95_unit=result.scores.protocol.map(HD95_UNIT))
        print(f"scores: {write_text(arguments.output, scores.to_csv(index=False))}")
    return 0


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


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
