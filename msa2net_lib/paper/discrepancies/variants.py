"""The discrepancies that this library has as variants, one by one, on any preset."""

from __future__ import annotations

from dataclasses import replace

from msa2net_lib.config import NetworkConfig

AS_WRITTEN = "as the paper writes it"
DENSE = "dense dilated convolution"
SCRAMBLED = "scrambled token layout"
UNUSED = "unused deepest level"
ALL = "all three"


def discrepancy_variants(base: NetworkConfig) -> dict[str, NetworkConfig]:
    """The base network (`AS_WRITTEN`), each variant of the reference implementation, and all three together.

    base: a config of the paper's form, "paper" or "tiny".
    """
    deepest = replace(base.levels[3], unused=("blocks",))
    unused = (*base.levels[:3], deepest)
    return {
        AS_WRITTEN: base,
        DENSE: replace(base, dilated="dense"),
        SCRAMBLED: replace(base, layout="reinterpreted"),
        UNUSED: replace(base, levels=unused),
        ALL: replace(base, dilated="dense", layout="reinterpreted", levels=unused),
    }
