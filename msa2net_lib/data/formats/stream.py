"""Reading the voxels' bytes: all that a header declares, undamaged, and not one more.

Other readers fill what is missing with zeros and carry on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from msa2net_lib.errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")

_CHUNK_BYTES = 1 << 22


class Readable(Protocol):
    """An open file, plain or gzip."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        ...


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Turn what goes wrong while ``path`` is read and unpacked into an InputError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except PermissionError as error:
        raise InputError(f"{path}: reading it is not permitted; change its permissions") from error
    except (EOFError, zlib.error, OSError) as error:
        detail = last_line(error)
        raise InputError(f"{path}: truncated or corrupt ({detail}); copy or download it again") from error


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read from; InputError that names it for what is none, and for what goes wrong meanwhile."""
    refuse_dangling(path)
    with intact(path):
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            raise InputError(f"{path}: is {kind}, not a file; save what it gives to a file, and name that")
        with open(path, "rb") as stream:
            yield stream


def refuse_dangling(path: Path) -> None:
    """Raise InputError for a link whose file is not there, as in data sets that are fetched in parts."""
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path}: is a link to a file that is not there ({path.readlink()}); fetch it, or remove it")


def chunks(stream: Readable) -> Iterator[bytes]:
    """Yield what is left of an open file, piece by piece."""
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def inflated(stream: Readable) -> Iterator[bytes]:
    """Yield the content of one zlib stream, which must reach to the end of the file; zlib.error if it does not."""
    decoder = zlib.decompressobj()
    for packed in chunks(stream):
        while packed:
            if decoder.eof:
                raise zlib.error("there is more behind the compressed voxels")
            yield decoder.decompress(packed, _CHUNK_BYTES)
            packed = decoder.unconsumed_tail or decoder.unused_data
    yield decoder.flush()
    if not decoder.eof:
        raise EOFError("the compressed voxels end too early")


def voxel_bytes(path: Path, pieces: Iterable[bytes], header_path: Path, expected: int) -> bytearray:
    """Return the bytes of ``pieces``; InputError unless they are exactly ``expected``.

    ``path`` is the file that they are read from, ``header_path`` the one that declares them.
    """
    source = "its header" if header_path == path else header_path.name
    declared = f"the {expected} bytes of voxels that {source} declares"
    raw = bytearray()
    with intact(path):
        for piece in pieces:
            raw += piece
            if len(raw) > expected:
                raise InputError(f"{path}: holds more than {declared}; export it again")
    if len(raw) < expected:
        raise InputError(f"{path}: truncated, {len(raw)} of {declared}; copy or download it again")
    return raw


def has_magic(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` calls itself DICOM."""
    return head[128:132] == b"DICM"


def is_bare(head: bytes) -> bool:
    """Tell whether ``head`` begins as DICOM does whose preamble is missing: with an element of group 2 or 8."""
    if head[:2] not in (b"\2\0", b"\x08\0"):
        return False
    from pydicom.valuerep import VR  # other files need not wait for pydicom

    return head[4:6].decode("latin-1") in [*VR] or head[5:8] == bytes(3)


def last_line(error: BaseException) -> str:
    """Return the last line of an exception's text, or its type where it has none."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[-1].strip())


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that would break a message's one line, or could not be printed."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
