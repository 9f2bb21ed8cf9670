"""Which device computes, and how a CPU's memory is taken: one place, light to import."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

import torch

from msa2net_lib.errors import InputError

_KEEP = {-3: 2**30, -1: -1, -2: 2**26}
"""glibc's options (malloc.h) and their values: M_MMAP_THRESHOLD and M_TOP_PAD in bytes, M_TRIM_THRESHOLD: never."""
_HEAP, _PAGE, _MADV_HUGEPAGE = 2**32, 2**12, 14
"""Bytes of heap that are asked for in large pages, bytes of a small one, and Linux's word for it (mman.h)."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device named, or for "auto" the best one at hand: CUDA, Apple's MPS, else the CPU.

    Raises: `InputError` for a device that torch does not know or does not see here.
    """
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [kind for kind, is_here in seen.items() if is_here]
    if name != "auto" and name.partition(":")[0] not in here:
        raise InputError(f"device {name!r}: torch sees none such here; use auto or one of {', '.join(here)}")
    return torch.device(here[0] if name == "auto" else name)


@cache
def keep_freed_memory(device: torch.device) -> bool:
    """Have the C library keep what is freed for the next step or batch, in large pages: on a CPU about a fifth of both.

    glibc gives large blocks back to the system at once, which then has to clear every page of them anew for the next
    step. From here on this process keeps what it once needed, until it ends. And Linux maps memory in pages of 4 KiB,
    of which a step touches more than a processor can look up at once; many systems give 2 MiB only to who asks for it.
    The heap is therefore grown by `_HEAP` bytes, which take no memory before they are used, and asks for them. Returns
    whether freed memory is kept: only for a CPU, and only where the C library is glibc.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        return False
    import resource  # which Windows lacks

    libc = ctypes.CDLL(None)
    done = [libc.mallopt(option, value) for option, value in _KEEP.items()]
    libc.malloc.restype = ctypes.c_void_p
    size = 2**30 - _PAGE  # a block above 1 GiB would not lie in the heap
    limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY  # nothing to spare
    blocks = [libc.malloc(ctypes.c_size_t(size)) for _ in range(0 if limited else _HEAP // size)]
    for start in filter(None, blocks):
        libc.madvise(ctypes.c_void_p(start - start % _PAGE), ctypes.c_size_t(size), _MADV_HUGEPAGE)
        libc.free(ctypes.c_void_p(start))
    return all(done)
