"""A process that reads damaged files, so that a hang, a crash or a huge allocation is one file's failure."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_formats import FORMATS, Arrays

from msa2net_lib.errors import InputError

SECONDS = 20.0
"""How long one file may take; a good one takes milliseconds."""

MEMORY_BYTES = 1 << 29
"""How much more than at its start our reader's process may claim; the good files hold kilobytes."""

READERS = ["cv2", "h5py", "nibabel", "nrrd", "pydicom", "SimpleITK", "msa2net_lib.data.datasets"]
"""Packages that take a second to import, which is done once and not in each process."""

MISBEHAVIOR: dict[str, Callable[[Path], Any]] = {
    "crash": lambda _: ctypes.string_at(0),
    "hang": lambda _: time.sleep(3600),
    "allocate": lambda _: np.zeros(2 * MEMORY_BYTES, np.uint8),
}
"""What a decoder may do instead of reading, to test that it is noticed."""


class Reader:
    """Reads in another process and answers ("read", arrays), ("refused", line) or ("failed", what happened).

    ``whose``: "ours", "theirs", "second" or "misbehavior".
    """

    def __init__(self, whose: str) -> None:
        self._whose = whose
        self._start()

    def read(self, name: str, path: Path) -> tuple[str, Any]:
        """Read one file of a format; a process that crashed or hangs is replaced by a new one."""
        self._pipe.send((name, path))
        try:
            if self._pipe.poll(SECONDS):
                return self._pipe.recv()
            what = f"no answer in {SECONDS} s"
        except EOFError:
            self._process.join()
            what = f"the process died with exit code {self._process.exitcode}"
        self.close()
        self._start()
        return "failed", what

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(READERS)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._whose), daemon=True)
        self._process.start()
        theirs.close()
        assert self._pipe.recv() == "ready"


def _serve(pipe: Any, whose: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if whose in ("ours", "misbehavior"):
        _limit_memory()
    pipe.send("ready")
    while True:
        name, path = pipe.recv()
        pipe.send(_answer(MISBEHAVIOR[name] if whose == "misbehavior" else getattr(FORMATS[name], whose), path))


def _answer(read: Callable[[Path], Any], path: Path) -> tuple[str, Arrays | str]:
    try:
        return "read", read(path)
    except InputError as error:
        return "refused", str(error)
    except BaseException:  # a panic of a decoder in Rust is no Exception
        return "failed", traceback.format_exc()


def _limit_memory() -> None:
    """Make a huge allocation fail, where the system can be told to (Linux)."""
    if not Path("/proc/self/statm").exists():
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
