"""One run at a time on one file or folder; the claim ends with the process, however it ends."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import tell_disk_full, writable_folder


class BusyError(InputError):
    """Another run holds what was asked for."""


@contextmanager
def exclusive(
    path: str | Path,
    *,
    lock: str | Path | None = None,
    wait: float = 0.0,
    busy: str = "another run is at work on it; wait for its end",
    needed: bool = True,
) -> Iterator[int | None]:
    """Claim ``path`` (which need not exist) for the block; the lock file stays, empty.

    Yields the lock file's descriptor: a process started with it (`pass_fds`) keeps the claim if this one is killed.

    Args:
        path: what messages name.
        lock: the lock file; by default hidden beside ``path``.
        wait: seconds to wait for another run, -1 for as long as it takes.
        busy: what to say of ``path`` then.
        needed: refuse a disk that has no locks; else a warning is all.

    Raises:
        BusyError: (an `InputError`) another run has it for longer than ``wait``.
        InputError: the lock file cannot be written, or the disk has no locks.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock") if lock is None else Path(lock)
    held = FileLock(lock)
    _acquire(held, path, wait, busy, needed)
    try:
        yield held._context.lock_file_fd
    finally:
        held.release()  # which does nothing where none was had


def hold(path: str | Path, lock: str | Path, busy: str) -> FileLock:
    """Claim ``path`` for this process, until it ends or calls ``release`` on what is returned.

    To claim again what it has is no conflict; on a disk without locks a warning is all. Raises: as `exclusive`.
    """
    held = FileLock(lock, is_singleton=True)
    if not held.is_locked:
        _acquire(held, Path(path), 0.0, busy, needed=False)
    return held


def _acquire(held: FileLock, path: Path, wait: float, busy: str, needed: bool) -> None:
    lock = Path(held.lock_file)
    writable_folder(lock.parent)
    try:
        with tell_disk_full(lock):
            held.acquire(timeout=wait)
    except Timeout as error:
        raise BusyError(f"{path}: {busy}") from error
    except (OSError, NotImplementedError) as error:  # some network drives have no locks
        reason = getattr(error, "strerror", None) or error
        if needed:
            raise InputError(f"{path}: cannot be locked ({reason}); name another folder") from error
        warnings.warn(f"{path}: cannot be locked ({reason}); let no other run write there", stacklevel=4)
