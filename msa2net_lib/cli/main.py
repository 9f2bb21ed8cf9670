"""The command line: ``msa2net doctor | prepare | train | evaluate | score | compare | predict | export | reproduce``.

A mistake in a file or an argument is one line on stderr and exit code 2; Ctrl-C is 130, and SIGTERM (143) and SIGHUP
(129) are told like it. The subcommands import what they need themselves, so that ``msa2net --help`` answers at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from msa2net_lib.cli.compare import add_compare
from msa2net_lib.cli.doctor import add_doctor
from msa2net_lib.cli.evaluate import add_evaluate
from msa2net_lib.cli.evaluate import run as run_evaluate
from msa2net_lib.cli.export import add_export, run_export
from msa2net_lib.cli.predict import add_predict, run_predict
from msa2net_lib.cli.prepare import add_prepare
from msa2net_lib.cli.reproduce import add_reproduce
from msa2net_lib.cli.score import add_score
from msa2net_lib.cli.train import add_train
from msa2net_lib.errors import InputError
from msa2net_lib.utils.interrupts import Stopped, stoppable

COMMANDS = (
    add_doctor,
    add_prepare,
    add_train,
    add_evaluate,
    add_score,
    add_compare,
    add_predict,
    add_export,
    add_reproduce,
)
"""One function a command, each in its own file: it adds the command's options, and what runs it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not all is well, 2 wrong input, 128 + n for a signal n."""
    arguments = _parser().parse_args(argv)
    try:
        with stoppable():
            return arguments.run(arguments)
    except FloatingPointError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 1
    except InputError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        onwards = "start over" if arguments.run in (run_evaluate, run_predict, run_export) else "go on"
        print(f"stopped; run the same command again to {onwards}", file=sys.stderr)
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="msa2net", description="MSA²Net as a workbook: its batch commands.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add_command in COMMANDS:
        add_command(commands)
    return parser
