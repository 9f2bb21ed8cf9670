"""The one table of networks: those that can be built by name, and what the paper's tables compare.

Every list of networks, option, report row and test parameter is derived from it. A new network takes its own file in
this folder, an entry here and a test. The table is light to import: builders load torch when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from msa2net_lib.config import require_choice
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NetworkEntry:
    """A network that can be built by name.

    build: (num_classes, image_size, **options) -> a module, (b, 1|3, h, w) -> logits (b, num_classes, h, w); the
    function itself, or "module:function" below `msa2net_lib.baselines`, which is imported when it is called. source:
    paper, section or code that it follows. tables: of the paper, those that it stands in.
    """

    title: str
    source: str
    build: Callable[..., nn.Module] | str
    tables: tuple[str, ...] = ()


def _preset(preset: str) -> Callable[..., nn.Module]:
    """The builder of a preset of MSA²Net; options are the fields of `NetworkConfig`, and ``gate``."""

    def build(num_classes: int, image_size: int | tuple[int, int], **options: Any) -> nn.Module:
        from msa2net_lib.nn.network import MSA2Net

        return MSA2Net.from_preset(preset, num_classes=num_classes, image_size=image_size, **options)

    return build


NETWORKS: dict[str, NetworkEntry] = {
    "msa2net": NetworkEntry("MSA²Net", "MSA²Net, section 3 and its equations", _preset("paper")),
    "msa2net_published": NetworkEntry(
        "MSA²Net, published form", "the network that Tables 1 and A count", _preset("published"), ("1", "2", "A")
    ),
    "msa2net_released": NetworkEntry(
        "MSA²Net, released code", "github.com/xmindflow/MSA-2Net, commit 209ca72, as it executes", _preset("released")
    ),
    "msa2net_tiny": NetworkEntry("MSA²Net, tiny", "the paper's form on a small MaxViT, for laptops", _preset("tiny")),
}
"""Every network by name, in the order in which lessons and tables show them."""


def list_networks() -> list[str]:
    """List the names of all networks.

    Returns:
        Names for `build_network`, in the order of lessons and tables.

    Example:
        >>> from msa2net_lib import list_networks
        >>> list_networks()[0]
        'msa2net'

    Source: `baselines.registry.NETWORKS`.
    """
    return list(NETWORKS)


def build_network(
    name: str, num_classes: int = 9, image_size: int | tuple[int, int] = 224, **options: Any
) -> nn.Module:
    """Build a network of `NETWORKS` by its name, untrained.

    Args:
        name: one of `list_networks`.
        num_classes: K, background included.
        image_size: pixels of the input, one number or (height, width).
        options: its own; of the MSA²Nets, fields of `NetworkConfig`, and ``gate``.

    Returns:
        A module: images (B, 1 or 3, H, W) -> logits (B, K, H, W).

    Raises:
        InputError: an unknown name, or a size or an option that the network does not take.

    Example:
        >>> import torch
        >>> from msa2net_lib import build_network
        >>> network = build_network("msa2net_tiny", num_classes=2, image_size=64)
        >>> network(torch.randn(1, 3, 64, 64)).shape
        torch.Size([1, 2, 64, 64])

    Source: `NETWORKS`, entry by entry; Tables 1 and 2.
    """
    require_choice("network", name, tuple(NETWORKS))
    build = NETWORKS[name].build
    if isinstance(build, str):
        module, _, function = build.partition(":")
        build = getattr(import_module(f"msa2net_lib.baselines.{module}"), function)
    return build(num_classes, image_size, **options)


def register_network(name: str, entry: NetworkEntry) -> None:
    """Add a network of one's own to the table, for as long as the process runs. Raises: `InputError`, name taken."""
    if name in NETWORKS:
        raise InputError(f"network={name!r} is registered already: take another name")
    NETWORKS[name] = entry
