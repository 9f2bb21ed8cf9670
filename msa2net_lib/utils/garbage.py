"""Python's garbage collector in a process that does one thing: it runs rarely, and not at all at the end."""

from __future__ import annotations

import atexit
import gc
import sys

COMPLAINING = ("triton",)
"""Packages that tell on stderr of each of their objects that is left when a process ends."""


def collect_rarely() -> None:
    """Spend less on garbage in a process of a command's own; not for a library's caller, a notebook or a server.

    Imports make many objects and no garbage: to look through them takes a quarter of the time in which torch and timm
    are imported, and over a second when Python has taken them all down again at the end.
    """
    gc.set_threshold(100_000, 20, 20)
    atexit.register(_leave)


def _leave() -> None:
    """Leave what is in memory to the system: what has no other owner is freed as ever, what refers to itself is not."""
    if not any(name in sys.modules for name in COMPLAINING):
        gc.freeze()
