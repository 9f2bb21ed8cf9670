"""Archives (.zip, .tar, .tar.gz): verify them, and unpack them so that a folder is either whole or not there.

``zipfile`` and ``tarfile`` read them; here is what they take for sound and is not. Only plain files and folders that
stay in their own folder, on every system's disk, may be unpacked.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import BadGzipFile, GzipFile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from msa2net_lib.data.formats.stream import last_line
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import is_disk_full, read_json, sha256
from msa2net_lib.utils.locks import exclusive
from msa2net_lib.utils.progress import progress_bar

MARK = ".unpacked-from.json"
"""The file, in an unpacked folder, that says which archive it came from."""

_IMPOSSIBLE = 1 << 62
"""A size in bytes that no file has, and that the libraries cannot go past either."""
_CHUNK_BYTES = 1 << 20
_ZIP_TAIL_BYTES = (1 << 16) + 22 + 20 + 56  # the longest comment and the fixed parts of the three records at the end
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, BadGzipFile, zlib.error, lzma.LZMAError, EOFError)
_DAMAGED += (UnicodeDecodeError, RecursionError)  # what the two libraries make of headers of nonsense
# By whether the name ends in "/", which alone decides what zipfile writes, and Unix's type of file, 0 if not stored.
_ZIP_KINDS = {(False, 0): "file", (False, stat.S_IFREG): "file", (True, 0): "folder", (True, stat.S_IFDIR): "folder"}


def verify(archive: str | Path, *, progress: bool = True) -> None:
    """Read a .zip, .tar or .tar.gz archive from end to end, with every checksum that it carries.

    A .zip has one a member, a .tar.gz one for the whole; a plain .tar has none, only its structure is checked.
    Raises: `InputError` for what is no archive, encrypted, damaged, cut short, or not safe to unpack.
    """
    with _opened(Path(archive), progress) as reader:
        for member in reader.each("verifying", list(checked(reader.members(), reader.archive))):
            reader.read(member)


def unpack(archive: str | Path, destination: str | Path, *, progress: bool = True) -> Path:
    """Unpack a .zip, .tar or .tar.gz archive into the new folder ``destination`` and return it.

    The work is done in a hidden folder beside it, which takes the name when it is complete; one that a stopped run left
    is removed first. A folder that was unpacked from this very archive before is left as it is.
    Raises: `InputError` as for ``verify``, for members larger than the free disk, a full disk, or a
    destination that holds something else; then nothing is left of the attempt.
    """
    archive, destination = Path(archive), Path(destination)
    hidden = destination.with_name(f".unpack-{destination.name}")
    with exclusive(destination), _opened(archive, progress) as reader:
        shutil.rmtree(hidden, ignore_errors=True)
        origin = {"archive": archive.name, "sha256": sha256(archive, progress)}
        done = _origin(destination) == origin
        free = None if done else shutil.disk_usage(destination.parent).free
        members = list(checked(reader.members(), archive, free))
        if done and _has_files(destination, members):
            return destination
        try:
            if destination.is_dir() and not any(destination.iterdir()):
                destination.rmdir()
            elif destination.exists():
                why = "is there already, and not from this archive; move it away or name another"
                raise InputError(f"{destination}: {why}")
            hidden.mkdir()
            for member in reader.each("unpacking", members):
                reader.extract(member, hidden)
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
        return read_json(folder / MARK)
    except (OSError, ValueError):
        return None


def _has_files(folder: Path, members: list[Member]) -> bool:
    """Tell whether a folder still has all files, with their sizes."""
    files = {folder / member.path: member.size for member in members if member.kind == "file" and member.name != MARK}
    return all(path.is_file() and path.stat().st_size == size for path, size in files.items())


# ---- which members may be unpacked --------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """One member: its name and size in bytes as the archive declares them, "file", "folder" or what else it is.

    ``info`` is the reading library's own record of it (ZipInfo, TarInfo).
    """

    name: str
    size: int
    kind: str
    info: Any

    @property
    def path(self) -> PurePosixPath:
        """The path within the folder that the archive is unpacked into."""
        return PurePosixPath(self.name)


def checked(members: Iterable[Member], archive: Path, free: int | None = None) -> Iterator[Member]:
    """Yield the members, each after it was looked at; ``free`` is the room for them in bytes (None: any).

    Raises: `InputError` that names the first one that is no plain file or folder, has a name that leads out of
    the folder or that some system cannot have, is there twice (as a disk that ignores case sees it), or
    makes the whole too large; and if there is no file among them.
    """
    places: dict[str, tuple[str, bool]] = {}
    total, files = 0, 0
    for member in members:
        if why := _unsafe(member) or _taken(member, places):
            raise InputError(f"{archive}: member {member.name!r} {why}; nothing was unpacked, get another copy")
        total, files = total + member.size, files + (member.kind == "file")
        if free is not None and total > free:
            needs = f"{total / 1e9:.3g} GB or more, but only {free / 1e9:.3g} GB of the disk are free"
            raise InputError(f"{archive}: unpacks to {needs}; make room")
        yield member
    if not files:
        raise InputError(f"{archive}: holds no file; get another copy")


def _unsafe(member: Member) -> str:
    """Say what is wrong with a member by itself; "" if nothing is."""
    name = member.name
    if member.kind not in ("file", "folder"):
        return f"is a {member.kind}, not a file or folder"
    if name.startswith("/") or PureWindowsPath(name).drive:
        return "has an absolute path"
    if "\\" in name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "has a backslash, a control character or bytes that are no text in its name"
    if ".." in member.path.parts:
        return "leads out of its folder"
    if not 0 <= member.size < _IMPOSSIBLE:
        return f"says that it has {member.size} bytes"
    if member.kind == "file" and (not member.path.name or name.endswith("/")):
        return "is a file without a name"
    return ""


def _taken(member: Member, places: dict[str, tuple[str, bool]]) -> str:
    """Note the member and the folders it lies in; say what else has one of those places, "" if nothing has.

    places: the name as a disk that ignores case and spelling of accents sees it -> (name, whether a file).
    """
    for path in [member.path, *member.path.parents][:-1]:
        mine = (str(path), path == member.path and member.kind == "file")
        there = places.setdefault(unicodedata.normalize("NFC", str(path)).casefold(), mine)
        if there is not mine and (there != mine or mine[1]):
            return "is there twice" if there == mine else f"takes the place of {there[0]!r}"
    return ""


# ---- reading ------------------------------------------------------------------------------------------------


@contextmanager
def _opened(archive: Path, progress: bool) -> Iterator[_Zip | _Tar]:
    """Open an archive by what it holds, not by its name.

    Raises: `InputError` for what is no archive; and, whenever in the block it shows, for one that is
    damaged, cut short, encrypted or compressed in a way that Python does not read.
    """
    if not archive.is_file():
        raise InputError(f"{archive}: no such file; check the path")
    try:
        with open(archive, "rb") as raw:
            head = raw.read(tarfile.BLOCKSIZE)
            raw.seek(0)
            # zipfile would look for a zip archive at the end only, and so see one in a .tar that holds it.
            if head.startswith((b"PK\3\4", b"PK\5\6")):
                yield _Zip(archive, raw, progress)
            else:
                yield _Tar(archive, raw, progress, head)
    except _DAMAGED as error:
        raise InputError(f"{archive}: damaged or cut short ({last_line(error)}); download it again") from error
    except OSError as error:
        raise InputError(f"{archive}: cannot be read ({error.strerror or error}); copy or download it again") from error
    except NotImplementedError as error:
        why = f"compressed in a way that Python does not read ({last_line(error)})"
        raise InputError(f"{archive}: {why}; unpack it with another tool, such as 7-Zip") from error


class _Reader:
    """What both kinds of archive have."""

    def __init__(self, archive: Path, raw: BinaryIO, progress: bool):
        self.archive, self.raw, self.progress = archive, raw, progress

    def bar(self, what: str, total: int) -> Any:
        return progress_bar(total=total, desc=what, unit="B", unit_scale=True, enabled=self.progress)

    def each(self, what: str, members: list[Member]) -> Iterator[Member]:
        """Yield the members with a progress bar of their sizes."""
        with self.bar(what, sum(member.size for member in members)) as bar:
            for member in members:
                yield member
                bar.update(member.size)


class _Zip(_Reader):
    """A zip archive; ``zipfile`` compares the checksum of each member as it is read."""

    def __init__(self, archive: Path, raw: BinaryIO, progress: bool):
        super().__init__(archive, raw, progress)
        try:  # many tools write names in UTF-8 without saying so
            self.file = zipfile.ZipFile(raw, metadata_encoding="utf-8")
        except UnicodeDecodeError:
            self.file = zipfile.ZipFile(raw)

    def members(self) -> Iterator[Member]:
        """Yield the members in the order in which they are stored."""
        for info in self.file.infolist():
            if info.flag_bits & 1:
                raise InputError(f"{self.archive}: encrypted; unpack it with another tool and its password")
            name = info.orig_filename  # which still has what zipfile cuts off or replaces
            kind = _ZIP_KINDS.get((name.endswith("/"), stat.S_IFMT(info.external_attr >> 16)), "link or device")
            yield Member(name, info.file_size, kind, info)
        if len(self.file.infolist()) != self._announced():
            raise zipfile.BadZipFile("it does not hold as many members as it says")

    def read(self, member: Member) -> None:
        """Read a member to its end and compare its checksum."""
        with self.file.open(member.info) as stream:
            while stream.read(_CHUNK_BYTES):
                pass

    def extract(self, member: Member, folder: Path) -> None:
        """Write a member below ``folder``."""
        self.file.extract(member.info, folder)

    def _announced(self) -> int:
        """Return how many members it says it has, which ``zipfile`` does not read (APPNOTE 4.3.14, 4.3.16)."""
        size = self.raw.seek(0, os.SEEK_END)
        self.raw.seek(max(0, size - _ZIP_TAIL_BYTES))
        tail = self.raw.read()
        end = tail.rfind(b"PK\5\6")
        count = int.from_bytes(tail[end + 10 : end + 12], "little")
        wide = tail.rfind(b"PK\6\6", 0, end)
        return int.from_bytes(tail[wide + 32 : wide + 40], "little") if count == 0xFFFF and wide >= 0 else count


class _Tar(_Reader):
    """A tar archive, plain or within gzip; going through its members reads, and so checks, all of it."""

    def __init__(self, archive: Path, raw: BinaryIO, progress: bool, head: bytes):
        super().__init__(archive, raw, progress)
        self.stream = GzipFile(fileobj=raw) if head.startswith(b"\x1f\x8b") else raw
        try:
            self.file = tarfile.open(fileobj=self.stream, mode="r:")  # noqa: SIM115 - reads `raw`, which is closed
        except tarfile.ReadError as error:
            start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
            page = start.startswith((b"<!doctype html", b"<html", b"<head", b"<!--"))  # instead of a refusal
            what = "a web page" if page else "something else"
            raise InputError(f"{archive}: no .zip, .tar or .tar.gz archive but {what}; get the right file") from error

    def members(self) -> Iterator[Member]:
        """Yield the members in the order in which they are stored."""
        with self.bar("reading", self.archive.stat().st_size) as bar:
            for info in self.file:
                bar.update(self.raw.tell() - bar.n)
                kind = "file" if info.isreg() else "folder" if info.isdir() else "link, pipe or device"
                yield Member(info.name, info.size, kind, info)
        # What tarfile takes for whole: a cut between two members, and a block of zeros before the end.
        self.stream.seek(self.file.offset)  # where it found no further member
        if self.stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the mark of its end is missing")
        while chunk := self.stream.read(_CHUNK_BYTES):  # to its very end, where gzip has its checksum
            if chunk.count(0) != len(chunk):
                raise tarfile.ReadError("there is more after the mark of its end")

    def read(self, member: Member) -> None:
        """Nothing is left to read; plain .tar has no checksums of contents."""

    def extract(self, member: Member, folder: Path) -> None:
        """Write a member below ``folder``."""
        self.file.extract(member.info, folder, filter="data")
