"""Stopping a preparation: by Ctrl-C at a chosen call; or from outside, with time for it, and a look at processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

SLOW_RENAMES = """
import os, sys, time
replace = os.replace
def slowly(*paths):  # in workers too, which run this: however late the test looks, there is work left
    time.sleep(0.03)
    replace(*paths)
os.replace = slowly
"""


@contextmanager
def interrupted_at(call: int, owner: Any, name: str) -> Iterator[None]:
    """Let one call of a function, counted from 0, raise KeyboardInterrupt, which must come out of what is inside."""
    calls, whole = count(), getattr(owner, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            yield


def children(pid: int) -> list[int]:
    """Return the processes started by ``pid``, from Linux's process table."""
    with open(f"/proc/{pid}/task/{pid}/children") as handle:
        return [int(child) for child in handle.read().split()]


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
