"""The one table of networks: those that can be built by name, and what the paper's tables compare.

Every list of networks, option, report row and test parameter is derived from it. A new network takes its own file in
this folder, an entry in `tables/networks.toml` and a test. The table is light: builders load torch when called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msa2net_lib.baselines.recipes import OWN_RECIPES, OwnRecipe
from msa2net_lib.errors import InputError
from msa2net_lib.utils.tables import read_table

if TYPE_CHECKING:
    from torch import nn

    from msa2net_lib.baselines.spec import NetworkSpec


@dataclass(frozen=True)
class NetworkEntry:
    """A network that can be built by name.

    build: (num_classes, image_size, **options) -> a module, (b, 1|3, h, w) -> logits (b, num_classes, h, w); the
    function itself, or "module:function" below `msa2net_lib.baselines`, which is imported when it is called, or
    "preset:name" of MSA²Net, whose options are the fields of `NetworkConfig`, and ``gate``. source: paper, section, or
    repository and commit that it follows; license: of that repository. tables: of the paper, those that it stands in;
    row: its name there; paper: whose it is, with its number in the paper's reference list. skip: what it does with a
    skip connection before its decoder goes on: "none", "concatenation", "addition", "attention gate", "channel
    transformer", "cross attention", "bridge" or "MASAG". size: the only side in pixels that it takes, or None;
    multiple: what sides have to be multiples of. classes: the only number of classes, or None. weights: timm's tags of
    its pretrained encoder; empty for a network without. unused: the parts that never get a gradient. remark: what its
    code does that a reader of its paper would not expect. no_export: why it cannot be one ONNX or pt2 file, where it
    cannot. own: registered by the reader, in this process.
    """

    title: str
    source: str
    build: Callable[..., nn.Module] | str
    tables: tuple[str, ...] = ()
    row: str = ""
    paper: str = ""
    skip: str = "concatenation"
    license: str = ""
    size: int | None = None
    multiple: int = 1
    classes: int | None = None
    weights: str = ""
    unused: str = ""
    remark: str = ""
    no_export: str = ""
    own: bool = False

    def check(self, spec: NetworkSpec) -> None:
        """Refuse a size, classes or weights that the network does not take. Raises: `InputError`."""
        name, size, sides = spec.name, spec.image_size, spec.height_width
        if self.size is not None and set(sides) != {self.size}:
            raise InputError(f"image_size={size}: {name} takes {self.size} x {self.size} pixels only")
        if any(side < self.multiple or side % self.multiple for side in sides):
            lower = max(self.multiple, min(sides) // self.multiple * self.multiple)
            raise InputError(
                f"image_size={size} is not a multiple of {self.multiple}, which {name} needs: use {lower} or "
                f"{lower + self.multiple}"
            )
        if self.classes not in (None, spec.num_classes):
            raise InputError(
                f"num_classes={spec.num_classes}: {name} takes {self.classes} only, background counts as one"
            )
        if spec.pretrained and not self.weights:
            raise InputError(f"pretrained={spec.pretrained!r}: {name} has no pretrained encoder; leave it out")

    def own_recipe(self) -> OwnRecipe | None:
        """How its own repository trains it; None where that was not released."""
        return OWN_RECIPES.get(self.row)


NETWORKS: dict[str, NetworkEntry] = {name: NetworkEntry(**entry) for name, entry in read_table("networks").items()}
"""Every network by name, in the order in which lessons and tables show them."""

STAND_INS = {
    "MSA²Net": ("msa2net_published", "msa2net", "msa2net_released", "msa2net_tiny"),
    "DermoSegDiff": ("dermosegdiff", "dermosegdiff_small"),
}
"""Networks that stand for a row of Tables 1 and 2, the first one for choice; every other row has one."""


def networks_of(row: str) -> tuple[str, ...]:
    """Networks that stand for a published row, the first one for choice; () for a name that is no row."""
    return STAND_INS.get(row) or tuple(name for name, entry in NETWORKS.items() if row and entry.row == row)


def tables_of(name: str) -> tuple[str, ...]:
    """Which of Tables 1 and 2 a network stands in, itself or for its row; () for one that stands in none."""
    first = next(iter(networks_of(row_of(name))), "")
    return tuple(table for table in NETWORKS[first].tables if table in ("1", "2")) if first else ()


def row_of(name: str) -> str:
    """The published row that a network stands for, itself or instead of another; "" for none."""
    return next((entry.row for entry in NETWORKS.values() if name in networks_of(entry.row)), "")
