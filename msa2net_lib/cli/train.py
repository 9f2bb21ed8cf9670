"""``msa2net train``: its options, and what it trains and says."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.cli.networks import add_device, add_own_options, own_options
from msa2net_lib.errors import InputError
from msa2net_lib.train_choices import CHOICES
from msa2net_lib.utils.tables import entry_texts

if TYPE_CHECKING:
    from msa2net_lib.baselines.spec import Config

COUNTS = {
    "steps": "of the optimizer",
    "epochs": "passes over the training data, in place of steps",
    "batch_size": "samples a step",
    "accumulate": "passes that a batch is taken in, for less memory",
    "validate_every": "epochs from one selection to the next",
    "checkpoint_every": "steps from one saved state to the next",
    "log_every": "steps from one line of the log to the next",
    "seed": "of everything random",
}
NAMED = ("augment", "precision", "compilation", "selection")


def add_train(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    parser = commands.add_parser("train", help="train a network, or go on with a stopped run")
    parser.set_defaults(run=run_train)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="a prepared data set")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets state and weights")
    networks = parser.add_mutually_exclusive_group()
    presets, recipes = (", ".join(names) for names in map(entry_texts, ("presets", "recipes")))
    networks.add_argument("--preset", help=f"a form of MSA²Net: {presets}; default: tiny")
    others = "any other network: a name such as swin_unet (see docs/networks.md), or package.module:function of yours"
    networks.add_argument("--network", metavar="NAME", help=others)
    add_own_options(parser)
    recipe = f"the training: {recipes}, or own, that of the network's own repository; default: smoke"
    parser.add_argument("--recipe", default="smoke", help=recipe)
    for name, what in COUNTS.items():
        told = f"{what}; default: the recipe's"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=told)
    parser.add_argument("--learning-rate", type=float, metavar="RATE", help="default: the recipe's")
    scaling = "multiply the rate by batch / 24 as the released script does; default: the recipe's"
    parser.add_argument("--scale-rate", action=argparse.BooleanOptionalAction, help=scaling)
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="default: the preset's, of other networks 224")
    for name in NAMED:
        parser.add_argument(f"--{name}", choices=CHOICES[name], help="default: the recipe's")
    add_device(parser)
    imagenet = "start the encoder from ImageNet weights: FILE, or a download without one"
    parser.add_argument(
        "--pretrained", nargs="?", const=True, default=False, type=os.path.expanduser, metavar="FILE", help=imagenet
    )
    parser.add_argument("--half", action="store_true", help="store the weights in float16")


def run_train(arguments: argparse.Namespace) -> int:
    """Train, or go on; say where the weights are, and return the exit code."""
    from msa2net_lib.baselines.registry import own_training
    from msa2net_lib.checkpoints import read_fingerprint, save_network
    from msa2net_lib.data.catalog import open_prepared
    from msa2net_lib.train_config import TrainConfig
    from msa2net_lib.training import train
    from msa2net_lib.training.files import WEIGHTS_FILE

    given = {name: getattr(arguments, name) for name in (*COUNTS, *NAMED, "learning_rate", "scale_rate")}
    given = {name: value for name, value in given.items() if value is not None}
    own: dict[str, Any] = {}
    if arguments.recipe == "own":
        config, own = own_training(arguments.network or f"msa2net_{arguments.preset or 'tiny'}", **given)
    else:
        config = TrainConfig.from_recipe(arguments.recipe, **given)
    dataset = open_prepared(arguments.dataset)
    network = _choose_network(arguments, len(dataset.class_names) + 1, own)
    if otherwise := config.notes.get("otherwise"):
        print(f"its own recipe, but: {otherwise}")
    result = train(network, config, dataset, arguments.output, device=arguments.device, progress=sys.stderr.isatty())
    if int(os.environ.get("RANK", "0")) > 0:  # one of several processes speaks for all
        return 0
    weights = result.weights or arguments.output / WEIGHTS_FILE
    if arguments.half:
        fingerprint = read_fingerprint(weights)
        save_network(result.network, weights, half=True, class_names=dataset.class_names, fingerprint=fingerprint)
    steps = int(result.history[-1]["step"])
    print(f"weights: {weights} ({steps} steps; {result.minutes:.1f} min in this run)")
    if result.best is not None:
        print(f"best on {config.selection} data: {result.best} (mean DSC {result.best_score:.4f})")
    return 0


def _choose_network(arguments: argparse.Namespace, num_classes: int, own: dict[str, Any]) -> Config:
    """What to build, by --preset or --network, refused here where it cannot be built: before anything is written.

    own: options that go with the network's own recipe.
    """
    from msa2net_lib.baselines.registry import find_network
    from msa2net_lib.baselines.spec import NetworkSpec
    from msa2net_lib.config import NetworkConfig

    size = {} if arguments.image_size is None else {"image_size": arguments.image_size}
    options = own_options(arguments.network_option)
    if arguments.network is None:
        if options:
            raise InputError("--network-option: is for --network; an MSA²Net has --preset only")
        preset = arguments.preset or "tiny"
        return NetworkConfig.from_preset(preset, pretrained=arguments.pretrained, num_classes=num_classes, **size)
    options = own | options
    spec = NetworkSpec(arguments.network, num_classes, size.get("image_size", 224), options, arguments.pretrained)
    find_network(spec.name).check(spec)
    return spec
