"""``msa2net reproduce``: train, evaluate, run the lessons and write the report."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path
from typing import Any

from msa2net_lib.cli.networks import add_device
from msa2net_lib.errors import InputError


def add_reproduce(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    parser = commands.add_parser("reproduce", help="train, evaluate, run the lessons, write the report")
    parser.set_defaults(run=run_reproduce)
    parser.add_argument("--profile", default="smoke", help="smoke (default), gpu or paper")
    parser.add_argument("--output", type=Path, default="results", metavar="DIR", help="default: results")
    parser.add_argument("--only", nargs="+", default=[], metavar="LESSON", help="default: all lessons")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="of the main training; default: profile's")
    rows = "of Tables 1 and 2, to train beside MSA²Net; default: the profile's, with all lessons; none without a name"
    parser.add_argument("--networks", nargs="*", metavar="NAME", help=rows)
    add_device(parser)
    parser.add_argument("--cores", type=int, metavar="N", help="to use at the same time; default: all")
    profile = "Snakemake profile, such as workflow/profiles/slurm"
    parser.add_argument("--cluster", type=Path, metavar="DIR", help=profile)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    value = "a lesson's parameter; VALUE is read as Python if it can be, else as text"
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help=value)


def run_reproduce(arguments: argparse.Namespace) -> int:
    """Do what the profile asks for, and return the exit code: 1 if something is left undone."""
    from msa2net_lib.batch.reproduce import profile_plan, reproduce

    parameters = dict(_parameter(text) for text in arguments.parameters)
    plan = profile_plan(
        arguments.profile,
        lessons=arguments.only,
        seeds=arguments.seeds,
        networks=arguments.networks,
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
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # as `ast` says of what it cannot read
        return name, value
