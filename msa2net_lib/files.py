"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msa2net_lib.errors import InputError


@contextmanager
def atomic_path(destination: str | Path) -> Iterator[Path]:
    """Yield a path beside ``destination`` to write to; rename it into place when the block succeeds.

    The temporary name keeps the destination's suffixes (``.nii.gz`` decides how SimpleITK writes) and
    carries the process id, so that parallel workers never share one. If the block raises, also on
    Ctrl-C, the temporary file is removed and an existing destination stays as it was.
    """
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".partial-{os.getpid()}-{destination.name}")
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, destination)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(destination: str | Path, text: str) -> Path:
    """Write ``text`` as UTF-8 to ``destination`` atomically and return the path."""
    with atomic_path(destination) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(destination)


def writable_folder(folder: str | Path) -> Path:
    """Make a folder and try it: better no work than work that cannot be saved. Errors: `InputError`."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}); name another output folder") from error


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
