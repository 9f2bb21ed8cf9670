"""Names of the released code's state dict, key by key, for networks built from the released presets.

Source: github.com/xmindflow/MSA-2Net, commit 209ca72. One map for all, `tables/released_names.toml`: each of our names
is a chain of prefixes, and each table gives, for one kind of module, the released name of each part of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msa2net_lib.utils.tables import read_table

NAMES = read_table("released_names")


def _rename(key: str, table: Mapping[str, str]) -> tuple[str, str]:
    """Split ``key`` by the first prefix of the table that fits: (released prefix, rest of our key)."""
    for ours, theirs in table.items():
        if key.startswith(ours):
            return theirs, key[len(ours) :]
    raise KeyError(f"{key!r} has no counterpart in the released code")


def official_level_key(key: str, block: str) -> str:
    """Released name of a parameter of one decoder level whose blocks are of kind ``block``."""
    prefix, rest = _rename(key, NAMES["level"] | NAMES["level_blocks"][block])
    if kind := NAMES["children"].get(prefix):
        child, rest = _rename(rest, NAMES[kind])
        prefix += child
    return prefix + rest


def official_key(key: str, blocks: tuple[str, ...]) -> str:
    """Released name of an entry of `MSA2Net`'s state dict; ``blocks`` names the four levels' kinds.

    Raises: KeyError for an entry that the released network does not have.
    """
    prefix, rest = _rename(key, NAMES["network"])
    if prefix.startswith("decoder_") and not prefix.endswith("last_layer."):
        return prefix + official_level_key(rest, blocks[int(prefix[len("decoder_")])])
    return prefix + rest
