"""Ids of cases, slices and images: which may become a file's name, and the one place where a path is made of one.

Ids come from lists, ``dataset.json`` and the names of files, which others wrote. One that climbs out of its folder,
that no file system takes, or that stands for two files is refused where it is met.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from msa2net_lib.errors import InputError

LONGEST = 180
"""Bytes of the longest id: file systems take 255, of which endings and the names of unfinished files need some."""

_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are no UTF-8, line and paragraph separators


def check_id(name: object, where: str | Path) -> str:
    """Return an id that can be part of a file's name. ``where`` it stands begins the message.

    Raises: `InputError` for what is no text, is empty, begins with a dot, holds a separator or a control character, or
    has more than `LONGEST` bytes.
    """
    if not isinstance(name, str) or not name.strip():
        why = "is no name"
    elif "/" in name or "\\" in name:
        why = "holds a separator, which leads to another folder"
    elif name.startswith("."):
        why = "begins with a dot, as hidden files and folders above do"
    elif any(unicodedata.category(letter) in _UNPRINTABLE for letter in name):
        why = "holds a control character, or bytes that are no UTF-8"
    elif (length := len(os.fsencode(name))) > LONGEST:
        why = f"has {length} bytes, more than {LONGEST}"
    else:
        return name
    text, place = ascii(name), str(where)
    place = place if place.isprintable() else ascii(place)[1:-1]
    raise InputError(f"{place}: id {text if len(text) < 60 else text[:56] + '...'} {why}; rename its files and entries")


def check_ids(names: Iterable[object], where: str | Path) -> list[str]:
    """Return ids, each as `check_id` does. Raises: `InputError` as that, and for one that is there twice."""
    found: dict[str, None] = {}
    for name in names:
        if check_id(name, where) in found:
            raise InputError(f"{where}: lists {name} twice; list it once")
        found[str(name)] = None
    return list(found)


def id_path(folder: str | Path, name: str, ending: str) -> Path:
    """Return the file of an id in a folder. Raises: `InputError` as `check_id`."""
    return Path(folder, check_id(name, folder) + ending)


def listed(names: Sequence[object], most: int = 4) -> str:
    """Write the first few of some names, and how many more there are."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
