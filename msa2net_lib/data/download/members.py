"""Which members of an archive may be unpacked: plain files and folders that stay in their own folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from msa2net_lib.errors import InputError

_IMPOSSIBLE = 1 << 62
"""A size in bytes that no file has, and that the libraries cannot go past either."""


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
            raise InputError(
                f"{archive}: unpacks to {_giga(total)} or more, but only {_giga(free)} of the disk are free; make room"
            )
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


def _giga(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
