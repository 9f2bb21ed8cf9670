"""What the library knows as data: the TOML files in `tables/`."""

from __future__ import annotations

import pkgutil
import tomllib
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
    return _with_tuples(tomllib.loads((pkgutil.get_data("msa2net_lib", f"tables/{name}.toml") or b"").decode()))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_tuples(part) for name, part in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
