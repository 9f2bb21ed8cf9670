"""The command line: ``msa2net lessons | data | doctor | prepare | train | evaluate | score | compare | predict | ...``.

A mistake in a file or an argument is one line on stderr and exit code 2; Ctrl-C is 130, and SIGTERM (143) and SIGHUP
(129) are told like it. Only the command that is asked for is imported, and it imports what it needs when it runs, so
that help answers at once.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.utils.garbage import collect_rarely
from msa2net_lib.utils.interrupts import Stopped, stoppable

COMMANDS = {
    "lessons": "lessons",
    "data": "lessons",
    **{name: name for name in ("doctor", "prepare", "train", "evaluate", "score", "compare", "predict", "export")},
    "reproduce": "reproduce",
}
"""The module of each command: its function ``add_NAME`` adds the command's options, and what runs it."""


READ = ("image", "checkpoint", "dataset", "run_dirs", "source", "prepared", "images", "labels", "masks", "references",
        "scores", "cluster")  # fmt: skip
"""Arguments that name what has to be there."""


GOING_ON = ("lessons", "data", "prepare", "train", "reproduce")
"""Commands that leave what they have done when they are stopped, and go on from there."""

_ADVICE = {
    errno.EACCES: "check its permissions, or name another",
    errno.EPERM: "check its permissions, or name another",
    errno.EROFS: "name a place on another disk",
    errno.ENAMETOOLONG: "take a shorter name",
    errno.ELOOP: "mend the links, or name another",
}
"""What to do about a path that the system refuses, by the error's number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not all is well, 2 wrong input, 128 + n for a signal n."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter gets a question mark for it
    try:
        with _told_output():
            if argv is None:  # a process of its own
                collect_rarely()
            words = sys.argv[1:] if argv is None else argv
            return _run(_parser(words[0] if words else None).parse_args(words))
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except InputError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    try:
        _check_paths(arguments)
        with stoppable():
            return arguments.run(arguments)
    except FloatingPointError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # of a path that no command looks at by itself
        if error.filename is None or error.errno not in _ADVICE:
            raise
        raise InputError(f"{error.filename}: {error.strerror}; {_ADVICE[error.errno]}") from error
    except KeyboardInterrupt as stop:
        onwards = "go on" if arguments.command in GOING_ON else "start over"
        print(f"stopped; run the same command again to {onwards}", file=sys.stderr)
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def _check_paths(arguments: argparse.Namespace) -> None:
    """Replace ``~`` in paths, and refuse those that are not there: to load what a command needs takes seconds."""
    for name, value in vars(arguments).items():
        paths = value if isinstance(value, list) else [value]
        if not all(isinstance(path, Path) for path in paths):
            continue
        paths = [Path(os.path.expanduser(path)) for path in paths]
        setattr(arguments, name, paths if isinstance(value, list) else paths[0])
        if missing := [path for path in paths if name in READ and not os.path.exists(path)]:
            what = "checkpoint" if name == "checkpoint" else "file or folder"
            advice = "run msa2net data example" if missing[0].name == "example_ct" else "check the name"
            raise InputError(f"{missing[0]}: no such {what}; {advice}")


@contextmanager
def _told_output() -> Iterator[None]:
    """Tell what standard output says no to: `BrokenPipeError` where nobody reads on, `InputError` for a full disk."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        try:
            print(flush=error.filename is None)  # fails again if it was this that failed
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left has nowhere to go
            if isinstance(error, BrokenPipeError):
                raise
            raise InputError(f"standard output: cannot be written ({error.strerror}); send it elsewhere") from error
        raise


class _Parser(argparse.ArgumentParser):
    """One that reads -1e3, -5. and -inf as values; argparse itself takes them for options."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._negative_number_matcher = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)


class _Version(argparse.Action):
    """Say which version is installed; looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from msa2net_lib.utils.system_info import library_version

        print(f"msa2net {library_version()}")
        parser.exit()


def _parser(asked_for: str | None = None) -> argparse.ArgumentParser:
    """The command line of one command, or of all where it is none of them."""
    parser = _Parser(prog="msa2net", description="MSA²Net as a workbook: its batch commands.")
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version is installed, and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name in (asked_for,) if asked_for in COMMANDS else COMMANDS:
        getattr(import_module(f"msa2net_lib.cli.{COMMANDS[name]}"), f"add_{name}")(commands)
    return parser
