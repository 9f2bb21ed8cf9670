"""Which device computes, and how a CPU's memory is taken: one place, light to import."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What commands take for ``--device``."""

_KEEP = {-3: 2**30, -1: -1, -2: 2**26}
"""glibc's options (malloc.h) and their values: M_MMAP_THRESHOLD and M_TOP_PAD in bytes, M_TRIM_THRESHOLD: never."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device named, or for "auto" the best one at hand: CUDA, Apple's MPS, else the CPU.

    Raises: `InputError` for a device that torch does not know or does not see here.
    """
    import torch  # not at the top: commands take `DEVICES` from here for their help

    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [kind for kind, is_here in seen.items() if is_here]
    if name != "auto" and name.partition(":")[0] not in here:
        raise InputError(f"device {name!r}: torch sees none such here; use auto or one of {', '.join(here)}")
    return torch.device(here[0] if name == "auto" else name)


@cache
def keep_freed_memory(device: torch.device) -> bool:
    """Have the C library keep what is freed for the next step or batch, and wait for neither's pages.

    glibc gives large blocks back to the system at once, which then has to clear every page of them anew for the next
    step: a tenth of one of `tiny`, and a third of a batch of 16 slices through `published`, on two cores of a Xeon.
    From here on this process keeps what it once needed, until it ends. Returns whether it is kept: only for a CPU, and
    only where the C library is glibc.
    """
    import ctypes
    import platform

    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        return False
    set_option = ctypes.CDLL(None).mallopt
    done = [set_option(option, value) for option, value in _KEEP.items()]
    return all(done)
