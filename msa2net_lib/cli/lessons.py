"""``msa2net lessons DIR`` and ``msa2net data example``: what an installed wheel carries, copied to where you work."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_lessons(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    parser = commands.add_parser("lessons", help="copy the lessons, and the data beside them, to a folder")
    parser.set_defaults(run=run_lessons)
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="gets notebooks/, data/, docs/, workflow/ and benchmarks/results/"
    )


def add_data(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    parser = commands.add_parser("data", help="copy the two CT scans that ship to a data folder")
    parser.set_defaults(run=run_data)
    parser.add_argument("name", choices=("example",))
    parser.add_argument("--data", type=Path, default="data", metavar="DIR", help="default: data")


def run_lessons(arguments: argparse.Namespace) -> int:
    """Copy everything that lessons need, and say how to begin."""
    from msa2net_lib.lessons.shipped import LESSONS

    _copy(LESSONS, arguments.folder)
    print(f"begin with: jupyter lab {arguments.folder / 'notebooks' / '00_start_here.ipynb'}")
    return 0


def run_data(arguments: argparse.Namespace) -> int:
    """Copy the example scans and the lists of cases."""
    from msa2net_lib.lessons.shipped import EXAMPLE

    _copy(EXAMPLE, arguments.data)
    return 0


def _copy(part: str, folder: Path) -> None:
    from msa2net_lib.lessons.shipped import copy_shipped

    written, kept = copy_shipped(part, folder)
    print(f"{folder}: {len(written)} files written")
    for path in kept:
        print(f"{path}: kept, it differs from what ships; rename it to get that")
