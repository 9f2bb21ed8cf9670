"""What several commands ask about networks: which one, its own options, and where it runs."""

from __future__ import annotations

import argparse
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.utils.devices import DEVICES


def add_network_options(parser: argparse.ArgumentParser, options: bool = True) -> None:
    """Add --network for a checkpoint that does not say enough, and --network-option for a network's own options."""
    name = (
        "whose original code wrote the checkpoint, such as swin_unet; or package.module:function of a network of yours"
    )
    parser.add_argument("--network", metavar="NAME", help=name)
    if options:
        add_own_options(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    best = "what computes; auto (default): CUDA, else Apple's mps, else the CPU"
    parser.add_argument("--device", choices=DEVICES, default="auto", help=best)


def add_own_options(parser: argparse.ArgumentParser) -> None:
    """Add --network-option."""
    own = "an option of the network's own, such as steps=10 of dermosegdiff; may be given again"
    parser.add_argument("--network-option", action="append", default=[], metavar="NAME=VALUE", help=own)


def own_options(given: list[str]) -> dict[str, Any]:
    """The options of --network-option by name: numbers and lists as JSON, anything else as text."""
    import json

    options = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"--network-option {pair}: give NAME=VALUE, such as steps=10")
        try:
            options[name] = json.loads(value)
        except (ValueError, RecursionError):
            options[name] = value
    return options
