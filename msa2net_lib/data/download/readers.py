"""Reading .zip, .tar and .tar.gz through one interface, with every checksum that they carry."""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import BinaryIO, Protocol

from msa2net_lib.data.download.members import Member
from msa2net_lib.errors import InputError
from msa2net_lib.utils.progress import progress_bar

_CHUNK_BYTES = 1 << 20
_ZIP_TAIL_BYTES = (1 << 16) + 22 + 20 + 56  # the longest comment and the fixed parts of the three records at the end
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, BadGzipFile, zlib.error, lzma.LZMAError, EOFError)
_DAMAGED += (UnicodeDecodeError, RecursionError)  # what the two libraries make of headers of nonsense
# By whether the name ends in "/", which alone decides what zipfile writes, and Unix's type of file, 0 if not stored.
_ZIP_KINDS = {(False, 0): "file", (False, stat.S_IFREG): "file", (True, 0): "folder", (True, stat.S_IFDIR): "folder"}


class Reader(Protocol):
    """What both kinds of archive can do."""

    def members(self) -> Iterator[Member]:
        """Yield the members in the order in which they are stored."""
        ...

    def read(self, member: Member) -> None:
        """Read a member to its end and compare its checksum."""
        ...

    def extract(self, member: Member, folder: Path) -> None:
        """Write a member below ``folder``."""
        ...


@contextmanager
def opened(archive: Path, *, progress: bool) -> Iterator[Reader]:
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
                with _open_zip(raw) as file:
                    yield _Zip(file, raw, archive)
            else:
                stream = GzipFile(fileobj=raw) if head.startswith(b"\x1f\x8b") else raw
                with _open_tar(archive, stream, head) as file:
                    yield _Tar(file, stream, raw, progress)
    except _DAMAGED as error:
        raise InputError(f"{archive}: damaged or cut short ({last_line(error)}); download it again") from error
    except OSError as error:
        raise InputError(f"{archive}: cannot be read ({error.strerror or error}); copy or download it again") from error
    except NotImplementedError as error:
        why = f"compressed in a way that Python does not read ({last_line(error)})"
        raise InputError(f"{archive}: {why}; unpack it with another tool, such as 7-Zip") from error


class _Zip:
    """A zip archive; ``zipfile`` compares the checksum of each member as it is read."""

    def __init__(self, file: zipfile.ZipFile, raw: BinaryIO, archive: Path):
        self.file, self.raw, self.archive = file, raw, archive

    def members(self) -> Iterator[Member]:
        for info in self.file.infolist():
            if info.flag_bits & 1:
                raise InputError(f"{self.archive}: encrypted; unpack it with another tool and its password")
            name = info.orig_filename  # which still has what zipfile cuts off or replaces
            kind = _ZIP_KINDS.get((name.endswith("/"), stat.S_IFMT(info.external_attr >> 16)), "link or device")
            yield Member(name, info.file_size, kind, info)
        if len(self.file.infolist()) != _announced(self.raw):
            raise zipfile.BadZipFile("it does not hold as many members as it says")

    def read(self, member: Member) -> None:
        with self.file.open(member.info) as stream:
            while stream.read(_CHUNK_BYTES):
                pass

    def extract(self, member: Member, folder: Path) -> None:
        self.file.extract(member.info, folder)


class _Tar:
    """A tar archive, plain or within gzip; going through its members reads, and so checks, all of it."""

    def __init__(self, file: tarfile.TarFile, stream: BinaryIO | GzipFile, raw: BinaryIO, progress: bool):
        self.file, self.stream, self.raw, self.progress = file, stream, raw, progress

    def members(self) -> Iterator[Member]:
        size = Path(self.raw.name).stat().st_size
        with progress_bar(total=size, desc="reading", unit="B", unit_scale=True, enabled=self.progress) as bar:
            for info in self.file:
                bar.update(self.raw.tell() - bar.n)
                kind = "file" if info.isreg() else "folder" if info.isdir() else "link, pipe or device"
                yield Member(info.name, info.size, kind, info)
            self._read_end()

    def read(self, member: Member) -> None:
        """Nothing is left to read; plain .tar has no checksums of contents."""

    def extract(self, member: Member, folder: Path) -> None:
        self.file.extract(member.info, folder, filter="data")

    def _read_end(self) -> None:
        """Refuse what ``tarfile`` takes for whole: a cut between two members, and a block of zeros before the end."""
        self.stream.seek(self.file.offset)  # where tarfile found no further member
        if self.stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the mark of its end is missing")
        while chunk := self.stream.read(_CHUNK_BYTES):  # to its very end, where gzip has its checksum
            if chunk.count(0) != len(chunk):
                raise tarfile.ReadError("there is more after the mark of its end")


def looks_like_html(head: bytes) -> bool:
    """Tell whether a file that begins like this is a web page: what servers send instead of a refusal."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<head", b"<!--"))


def last_line(error: BaseException) -> str:
    """Return what an exception says in one line, or its name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _open_zip(raw: BinaryIO) -> zipfile.ZipFile:
    """Open with names in UTF-8, which many tools write without saying so, or else as the format has it."""
    try:
        return zipfile.ZipFile(raw, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(raw)


def _announced(raw: BinaryIO) -> int:
    """Return how many members a zip archive says it has, which ``zipfile`` does not read (APPNOTE 4.3.14, 4.3.16)."""
    size = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, size - _ZIP_TAIL_BYTES))
    tail = raw.read()
    end = tail.rfind(b"PK\5\6")
    count = int.from_bytes(tail[end + 10 : end + 12], "little")
    wide = tail.rfind(b"PK\6\6", 0, end)
    return int.from_bytes(tail[wide + 32 : wide + 40], "little") if count == 0xFFFF and wide >= 0 else count


def _open_tar(archive: Path, stream: BinaryIO | GzipFile, head: bytes) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r:")
    except tarfile.ReadError as error:
        what = "a web page" if looks_like_html(head) else "something else"
        raise InputError(f"{archive}: no .zip, .tar or .tar.gz archive but {what}; get the right file") from error
