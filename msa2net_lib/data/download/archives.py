"""Archives: verify them, and unpack them so that a folder is either whole or not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from msa2net_lib.data.download.manifest import checksum
from msa2net_lib.data.download.members import Member, checked
from msa2net_lib.data.download.readers import Reader, opened
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import is_disk_full
from msa2net_lib.utils.locks import exclusive
from msa2net_lib.utils.progress import progress_bar

MARK = ".unpacked-from.json"
"""The file, in an unpacked folder, that says which archive it came from."""


def verify(archive: str | Path, *, progress: bool = True) -> None:
    """Read a .zip, .tar or .tar.gz archive from end to end, with every checksum that it carries.

    A .zip has one a member, a .tar.gz one for the whole; a plain .tar has none, only its structure is checked.
    Raises: `InputError` for what is no archive, encrypted, damaged, cut short, or not safe to unpack.
    """
    archive = Path(archive)
    with opened(archive, progress=progress) as reader:
        members = list(checked(reader.members(), archive))
        with _bar(members, "verifying", progress) as bar:
            for member in members:
                reader.read(member)
                bar.update(member.size)


def unpack(archive: str | Path, destination: str | Path, *, progress: bool = True) -> Path:
    """Unpack a .zip, .tar or .tar.gz archive into the new folder ``destination`` and return it.

    The work is done in a hidden folder beside it, which takes the name when it is complete; one that a stopped run left
    is removed first. A folder that was unpacked from this very archive before is left as it is. Errors:
    `InputError` as for ``verify``, for members larger than the free disk, a full disk, or a
    destination that holds something else; then nothing is left of the attempt.
    """
    archive, destination = Path(archive), Path(destination)
    hidden = destination.with_name(f".unpack-{destination.name}")
    with exclusive(destination), opened(archive, progress=progress) as reader:
        shutil.rmtree(hidden, ignore_errors=True)
        origin = {"archive": archive.name, "sha256": checksum(archive, progress=progress)}
        done = _origin(destination) == origin
        room = None if done else shutil.disk_usage(destination.parent).free
        members = list(checked(reader.members(), archive, room))
        if done and _has_files(destination, members):
            return destination
        try:
            _require_free(destination)
            hidden.mkdir()
            _extract(reader, members, hidden, progress)
            (hidden / MARK).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
            hidden.replace(destination)
        except OSError as error:
            if error.errno is None:
                raise  # no disk said so, but a decompressor
            why = "the disk is full; make room" if is_disk_full(error) else f"cannot be written ({error.strerror})"
            raise InputError(f"{destination}: {why}; nothing is left of unpacking {archive}") from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    return destination


def _origin(folder: Path) -> object:
    """Return which archive a folder was unpacked from, None if it does not say."""
    try:
        return json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _has_files(folder: Path, members: list[Member]) -> bool:
    """Tell whether a folder still has all files, with their sizes."""
    files = {folder / member.path: member.size for member in members if member.kind == "file" and member.name != MARK}
    return all(path.is_file() and path.stat().st_size == size for path, size in files.items())


def _require_free(destination: Path) -> None:
    if destination.is_dir() and not any(destination.iterdir()):
        destination.rmdir()
    elif destination.exists():
        raise InputError(f"{destination}: is there already, and not from this archive; move it away or name another")


def _extract(reader: Reader, members: list[Member], folder: Path, progress: bool) -> None:
    with _bar(members, "unpacking", progress) as bar:
        for member in members:
            reader.extract(member, folder)
            bar.update(member.size)


def _bar(members: list[Member], what: str, progress: bool):
    total = sum(member.size for member in members)
    return progress_bar(total=total, desc=what, unit="B", unit_scale=True, enabled=progress)
