"""How a CPU's memory is taken."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives large freed blocks back at once")
def test_freed_memory_is_kept_for_the_next_step():
    """In a process of its own, for it holds until the process ends: page faults of 64 MiB taken and freed, many times.

    The median of the times counts: what else the process takes may end up behind a freed block and move the next.
    """
    code = """
import resource, statistics, torch
from msa2net_lib.utils.devices import keep_freed_memory
def faults():
    found = []
    for _ in range(25):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(2**24).fill_(1)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return int(statistics.median(found))
assert not keep_freed_memory(torch.device("cuda"))
given_back = faults()
assert keep_freed_memory(torch.device("cpu"))
print(given_back, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back >= 32, "64 MiB in pages of 2 MiB, if not of 4 KiB"
    assert kept < given_back / 20
