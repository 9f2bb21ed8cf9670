"""What the two formats with a header of text share: numbers of its fields, and a data file beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from msa2net_lib.data.formats.stream import open_file, printable
from msa2net_lib.errors import InputError

MOST_HEADER_BYTES = 1 << 20
"""No header of text is longer; what is, is no header."""


def decode(raw: bytes) -> str:
    """Turn a line of a header into text that can be shown, without its end."""
    return printable(raw.rstrip(b"\r\n").replace(b"\t", b" ").decode("utf-8", "backslashreplace"))


def numbers(path: Path, fields: Mapping[str, str], key: str, count: int) -> list[float]:
    """Return the ``count`` numbers of a field; InputError if it is missing or holds something else."""
    try:
        values = [float(word) for word in fields[key].split()]
    except (KeyError, ValueError):
        values = []
    if len(values) != count:
        raise InputError(f"{path}: its header needs `{key}` with {count} numbers; export it again")
    return values


def whole_numbers(path: Path, fields: Mapping[str, str], key: str) -> tuple[int, ...]:
    """Return the whole numbers of a field, at least one; InputError if it is missing or holds something else."""
    words = fields.get(key, "").split()
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise InputError(f"{path}: its header needs `{key}` with whole numbers; export it again")
    return tuple(int(word) for word in words)


@contextmanager
def opened_data(path: Path, stream: BinaryIO, name: str | None) -> Iterator[tuple[Path, BinaryIO]]:
    """Give the file of the voxels and its open stream: what follows in the header's own, or the file ``name``.

    That file lies in the same folder and nowhere else.
    """
    if name is None:
        yield path, stream
        return
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise InputError(f"{path}: its data file `{name}` is not in the same folder; put it beside the header")
    if not (found := path.with_name(name)).exists():
        raise InputError(f"{path}: its data file `{name}` is missing; put it beside the header")
    with open_file(found) as data:
        yield found, data
