"""How the original repositories train the networks of Tables 1 and 2, as their code says, and as it is run here.

Read at the commits that `baselines.table` names. Where an entry is missing, no training code was released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msa2net_lib.utils.tables import read_table


@dataclass(frozen=True)
class OwnRecipe:
    """One repository's training, in words as short as its code allows.

    images: values that enter the network. chosen: which weights are reported, and on which data that was decided.
    where: files and lines. settings: fields of `TrainConfig` that do the same here. unit: images in [0, 1] enter the
    network, not (x - 0.5) / 0.5. otherwise: what of it is done otherwise here. drawn: rate and
    epochs are drawn at random for each run.
    """

    optimizer: str
    batch: str
    epochs: str
    loss: str
    augmentation: str
    images: str
    chosen: str
    where: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    unit: bool = False
    otherwise: str = ""
    drawn: bool = False


def _by_row() -> dict[str, OwnRecipe]:
    found: dict[str, dict[str, Any]] = {}
    for entry in read_table("own_recipes")["recipe"]:
        base = found.get(entry.pop("like", ""), {})
        settings = {"settings": base.get("settings", {}) | entry.get("settings", {})}
        found |= dict.fromkeys(entry.pop("rows"), base | entry | settings)
    return {row: OwnRecipe(**fields) for row, fields in found.items()}


OWN_RECIPES: dict[str, OwnRecipe] = _by_row()
"""By the name of the row in the paper's tables. ScaleFormer's and FAT-Net's repositories hold no training code."""
