"""What the library knows as data: the TOML files in `tables/`."""

from __future__ import annotations

import pkgutil
import re
from typing import Any


def read_table(name: str) -> dict[str, Any]:
    """Read a table of the library, with tuples for lists, as its dataclasses have them.

    Args:
        name: of the file in `tables/`, without its ending.

    Returns:
        Its entries by name.

    Example:
        >>> list(read_table("recipes"))
        ['smoke', 'gpu', 'synapse', 'isic']
    """
    import tomllib  # help, which tells names alone, answers without it

    return _with_tuples(tomllib.loads(_text(name)))


def entry_texts(name: str, key: str = "") -> dict[str, str]:
    """What the entries of a table say under a key, or, without one, their names alone, with nothing.

    For help, of which a fifth of the time would be to read a whole table: headings and plain texts are looked for.

    Args:
        name: of the file in `tables/`, without its ending.
        key: of a text on one line, without quotes or backslashes in it.

    Returns:
        Text by entry, in the table's order; empty where an entry has none.

    Example:
        >>> list(entry_texts("recipes"))
        ['smoke', 'gpu', 'synapse', 'isic']
        >>> entry_texts("datasets", "short")["virtual"]
        'virtual patients'
    """
    texts: dict[str, str] = {}
    for heading, text in re.findall(rf'^\[([\w-]+).*\]$|^{key} = "([^"\\]*)"$', _text(name), re.MULTILINE):
        if heading:
            texts.setdefault(heading, "")
        else:
            texts[[*texts][-1]] = text
    return texts


def _text(name: str) -> str:
    found = pkgutil.get_data("msa2net_lib", f"tables/{name}.toml") or b""
    return found.decode().replace("\r\n", "\n")  # as Git writes them on Windows


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_tuples(part) for name, part in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
