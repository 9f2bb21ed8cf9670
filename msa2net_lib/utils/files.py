"""Writing files so that a reader never sees half of one, a full disk told in one line; and reading JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.utils.progress import progress_bar

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full (your quota on it is used up)",
    errno.EFBIG: "the disk is full for this file (it, or `ulimit -f`, allows no larger one)",
}
# What writers say that hide the error number: HDF5, ITK, safetensors; then NumPy and torch in words of their own.
_WORDS = {
    errno.ENOSPC: r"No space left on device|not enough space on the disk"
    r"|\d+ requested and \d+ written|unexpected pos \d+ vs \d+",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
}
_PROBE_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20
_LONG = 200  # bytes of a name, where file systems allow 255 and a temporary name is longer
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"  # folders may be shared: process ids are one machine's


class DiskFullError(InputError):
    """The disk takes no more of ``path``: what was begun is removed, and what was there before is as it was.

    ``size``: bytes that have to be free, as far as known; 0 if not at all.
    """

    def __init__(self, path: str, reason: str, size: int) -> None:
        super().__init__(path, reason, size)  # as `args`, which is what travels between processes
        self.path, self.reason, self.size = path, reason, size

    def __str__(self) -> str:
        space = f"{math.ceil(self.size / 1e6)} MB" if self.size else "some space"
        return f"{self.path}: {self.reason}; free {space} and run the same command again"


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an exception, or one it was raised from, means a full disk, a used-up quota or a file size limit.

    Python says so by ``errno``; HDF5, ITK, NumPy, safetensors and torch in words, each in its own. ITK says
    nothing when it writes NIfTI; `atomic_path` notices by itself.
    """
    return _full_reason(error) is not None


@contextmanager
def atomic_path(destination: str | Path, size: int = 0) -> Iterator[Path]:
    """Yield a path beside ``destination`` to write to; rename it into place when the block succeeds.

    The temporary name keeps the destination's suffixes (``.nii.gz`` decides how SimpleITK writes) and
    carries the process id, so that parallel workers never share one. If the block raises, also on
    Ctrl-C, the temporary file is removed and an existing destination stays as it was; what a killed process left
    goes by `remove_partials`. Permissions are those of the umask, whatever the writer sets. ``size``: bytes to be
    written, where known, for the advice if the disk is full. Raises: `InputError`, before anything is written,
    if ``destination`` is a folder or nothing can be written there; its kind `DiskFullError`, whatever the
    writer makes of a full disk.
    """
    destination = Path(destination)
    temporary = destination.with_name(f".partial-{os.getpid()}-{_MACHINE}-{_shortened(destination.name)}")
    if destination.is_dir():
        raise InputError(f"{destination}: is a folder; name a file")
    with tell_disk_full(destination, size), _tell_unwritable(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # writers have many words for what may not be written; this has one
        mode = temporary.stat().st_mode
        temporary.unlink()
    try:
        yield temporary
        # ITK leaves a NIfTI file short without a word; a disk that was full to it is full to some bytes more.
        if error := _try_to_grow(temporary):
            raise error
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        with suppress(OSError):  # safetensors writes for its owner alone; some drives have no permissions
            temporary.chmod(mode)
        with _tell_unwritable(destination):
            os.replace(temporary, destination)
    except DiskFullError:
        raise
    except Exception as error:  # writers have each their own kind; what is no full disk goes on as it is
        if reason := _full_reason(error) or _full_reason(_try_to_grow(temporary)):
            raise DiskFullError(str(destination), reason, size or _size(temporary)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONG else f"{zlib.crc32(encoded):08x}-{name[-_LONG // 4 :]}"


def remove_partials(*folders: str | Path, claimed: bool = False) -> None:
    """Remove what `atomic_path` left behind in folders where a process of this machine was killed.

    claimed: the folders are locked, so that no writer is alive, and all goes, other machines' too.
    """
    import psutil

    for folder in folders:
        for partial in Path(folder).glob(".partial-*"):
            named = re.match(rf"\.partial-(\d+)-{_MACHINE}-", partial.name)
            if claimed or (named and not psutil.pid_exists(int(named[1]))):
                partial.unlink(missing_ok=True)


@contextmanager
def tell_disk_full(path: str | Path, size: int = 0) -> Iterator[None]:
    """Turn what the block raises for a full disk into `DiskFullError` about ``path``; ``size`` in bytes, if known."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if reason := _full_reason(error):
            raise DiskFullError(str(path), reason, size) from error
        raise


@contextmanager
def _tell_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); check permissions, or name another file"
        ) from error


def write_text(destination: str | Path, text: str) -> Path:
    """Write ``text`` as UTF-8 to ``destination`` atomically and return the path."""
    content = text.encode("utf-8")
    with atomic_path(destination, len(content)) as temporary:
        temporary.write_bytes(content)
    return Path(destination)


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds.

    Raises: `OSError` and `ValueError` as `open` and `json` do, and `ValueError` for an object that holds a name twice;
    `InputError`, a `ValueError`, for what is nested deeper than can be read.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_named_once)
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply to be read; restore the file, or write it anew") from error


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} stands twice in one object")
        found[name] = value
    return found


def writable_folder(folder: str | Path) -> Path:
    """Make a folder, try it, and clear it of `remove_partials`; better no work than work that cannot be saved.

    Raises: `InputError`.
    """
    folder = Path(folder)
    try:
        with tell_disk_full(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                remove_partials(folder)
                return folder
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}); name another output folder") from error


def sha256(path: str | Path, progress: bool = False) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits; of a folder, that of its files' names and sums.

    progress: show a bar, for files of many gigabytes.
    """
    path, digest = Path(path), hashlib.sha256()
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n".encode())
        return digest.hexdigest()
    bar = progress_bar(total=path.stat().st_size, desc="checksum", unit="B", unit_scale=True, enabled=progress)
    with open(path, "rb") as handle, bar:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _full_reason(error: BaseException | None) -> str | None:
    """Return how a full disk is told, if that is what an exception, or one it was raised from, means."""
    while error is not None:
        if isinstance(error, DiskFullError):
            return error.reason
        for number, reason in _REASONS.items():
            if getattr(error, "errno", None) == number or re.search(_WORDS[number], str(error)):
                return reason
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _try_to_grow(path: Path) -> OSError | None:
    """Append some bytes to a file and take them off again; return the error if the disk refused them."""
    try:
        with open(path, "rb+") as handle:
            end = handle.seek(0, os.SEEK_END)
            try:
                handle.write(bytes(_PROBE_BYTES))
                handle.flush()
            finally:
                handle.truncate(end)
    except OSError as error:
        return error
    return None
