"""Stopping a preparation from outside: a script prologue that leaves time for it, and a look at processes (Linux)."""

from __future__ import annotations

SLOW_RENAMES = """
import os, sys, time
replace = os.replace
def slowly(*paths):  # in workers too, which run this: however late the test looks, there is work left
    time.sleep(0.03)
    replace(*paths)
os.replace = slowly
"""


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
