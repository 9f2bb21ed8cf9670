"""One run at a time on one file; the claim ends with the process, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import writable_folder


@contextmanager
def exclusive(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Claim ``path`` (which need not exist) by a hidden lock file beside it, which stays there, empty.

    wait: for work of a moment, until the other run is done; otherwise `InputError` says that there is one.
    """
    writable_folder(path.parent)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=-1 if wait else 0):
            yield
    except Timeout as error:
        raise InputError(f"{path}: another run is at work on it; wait for its end") from error
