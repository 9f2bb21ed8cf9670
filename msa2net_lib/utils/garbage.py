"""Python's garbage collector where it finds nothing: while packages are imported, and when a process ends."""

from __future__ import annotations

import atexit
import gc
import sys
from typing import Any

_WHILE_IMPORTING = 1_000_000
COMPLAINING = ("triton",)
"""Packages that tell on stderr of each of their objects that is left when a process ends."""


def collect_rarely() -> None:
    """Spend less on garbage in a process of a command's own; not for a library's caller, a notebook or a server.

    Imports make many objects and no garbage: to look through them takes a quarter of the time in which torch and timm
    are imported, and over a second when Python has taken them all down again at the end.
    """
    gc.set_threshold(100_000, 20, 20)
    atexit.register(_leave)


def collect_after_this_cell() -> None:
    """Leave garbage where it is until the cell of a notebook that imports its packages has ended; elsewhere do nothing.

    Nor is it looked for when the kernel ends, as in `collect_rarely`. A million objects more are looked through even
    then: where a notebook runs as a script, no cell ends. A collector turned off by a threshold of 0 stays off.
    """
    jupyter = sys.modules.get("IPython")
    before = gc.get_threshold()
    if jupyter is None or (shell := jupyter.get_ipython()) is None or not 0 < before[0] < _WHILE_IMPORTING:
        return

    def go_on(*_: Any) -> None:
        gc.set_threshold(*before)
        shell.events.unregister("post_run_cell", go_on)

    shell.events.register("post_run_cell", go_on)
    gc.set_threshold(_WHILE_IMPORTING, *before[1:])
    atexit.register(_leave)


def _leave() -> None:
    """Leave what is in memory to the system: what has no other owner is freed as ever, what refers to itself is not."""
    if not any(name in sys.modules for name in COMPLAINING):
        gc.freeze()
