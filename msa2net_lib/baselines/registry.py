"""Networks by name: listed, built, rebuilt from what they say of themselves, and added to the table of networks."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from msa2net_lib.baselines.recipes import OWN_RECIPES
from msa2net_lib.baselines.table import NETWORKS, NetworkEntry, row_of
from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.utils.plain import override, require_choice
from msa2net_lib.utils.tables import read_table

if TYPE_CHECKING:
    from torch import nn

    from msa2net_lib.baselines.spec import Config


def list_networks() -> list[str]:
    """List the names of all networks.

    Returns:
        Names for `build_network`, in the order of lessons and tables.

    Example:
        >>> from msa2net_lib import list_networks
        >>> list_networks()[0]
        'msa2net'

    Source: `baselines.table.NETWORKS`.
    """
    return list(NETWORKS)


def build_network(
    name: str,
    num_classes: int = 9,
    image_size: int | tuple[int, int] = 224,
    pretrained: bool | str = False,
    **options: Any,
) -> nn.Module:
    """Build a network by its name, untrained or on a pretrained encoder.

    Args:
        name: one of `list_networks`, or "package.module:function" of a function of yours, which is called with
            ``num_classes``, ``image_size`` and ``options``.
        num_classes: K, background included.
        image_size: pixels of the input, one number or (height, width).
        pretrained: start the encoder from published weights, where it has some: True downloads them, a path reads a
            file.
        options: its own; of the MSA²Nets, fields of `NetworkConfig`, and ``gate``. Of every other network
            ``input_range="unit"``, too: it sees images in [0, 1], given in [-1, 1] as to all.

    Returns:
        A module: images (B, 1 or 3, H, W) -> logits (B, K, H, W). ``network.config`` says what it is.

    Raises:
        InputError: an unknown name, a size or an option that the network does not take, a function that cannot be
            found or fails, and logits of another shape.

    Example:
        >>> import torch
        >>> from msa2net_lib import build_network
        >>> network = build_network("msa2net_tiny", num_classes=2, image_size=64)
        >>> network(torch.randn(1, 3, 64, 64)).shape
        torch.Size([1, 2, 64, 64])

    Source: `NETWORKS`, entry by entry; Tables 1 and 2.
    """
    from msa2net_lib.baselines import spec as specs

    entry = find_network(name)
    plain = {key: value for key, value in options.items() if not name.startswith("msa2net")}
    spec = specs.NetworkSpec(name, num_classes, image_size, plain, pretrained)
    entry.check(spec)
    if pretrained:
        options["pretrained"] = pretrained
    input_range = "signed" if name.startswith("msa2net") else options.pop("input_range", "signed")
    require_choice("input_range", input_range, ("signed", "unit"))
    try:
        network = _builder(entry.build)(num_classes=num_classes, image_size=image_size, **options)
    except InputError:
        raise
    except Exception as error:
        if not (entry.own or plain or isinstance(error, TypeError)):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"network {name!r} cannot be built: {reason}") from error
    if isinstance(getattr(network, "config", None), NetworkConfig):
        return network
    if input_range == "unit":
        network.register_forward_pre_hook(specs.to_unit_range)
    return specs.mark(network, spec, try_it=entry.own)


def rebuild_network(config: Config) -> nn.Module:
    """Build a network from what it says of itself, untrained: a `NetworkConfig` or a `NetworkSpec`.

    Raises: `InputError` for a name that is not registered in this process.
    """
    if isinstance(config, NetworkConfig):
        from msa2net_lib.nn.network import MSA2Net

        return MSA2Net(config)
    if config.name not in NETWORKS:
        raise InputError(
            f"network {config.name!r} is not of this library: call register_network({config.name!r}, ...) first, or "
            "give --network package.module:function"
        )
    return build_network(config.name, config.num_classes, config.image_size, config.pretrained, **config.options)


def rebuild_empty(config: Config) -> nn.Module:
    """Build a network without memory for weights, on torch's "meta" device; one of the reader's as it is.

    Raises: `InputError` for what cannot be built, whatever sizes it asks for.
    """
    import torch

    if is_own(config):
        return rebuild_network(config)
    with torch.device("meta"):
        return rebuild_network(replace(config, pretrained=False))


def is_own(config: Config) -> bool:
    """Whether a config is of a network that the reader registered."""
    return not isinstance(config, NetworkConfig) and config.name in NETWORKS and NETWORKS[config.name].own


def official_rules(name: str) -> tuple[tuple[str, str], ...]:
    """How the original code of a network names its weights (`utils.official_keys`). Raises: `InputError` without."""
    build = find_network(name).build
    if not isinstance(build, str) or build.startswith("preset:"):
        raise InputError(f"network={name!r} has no original code whose weights could be read")
    rules = read_table("official_keys")
    return tuple((rules.get(name) or rules[build.partition(":")[0]]).items())


def find_network(name: str) -> NetworkEntry:
    """Look a network up by its name; "package.module:function" is registered on the way. Raises: `InputError`."""
    if ":" in name and name not in NETWORKS:
        register_network(name, name)
    require_choice("network", name, tuple(NETWORKS))
    return NETWORKS[name]


def register_network(
    name: str,
    build: Callable[..., nn.Module] | str,
    *,
    title: str | None = None,
    source: str = "your own",
    multiple: int = 1,
) -> None:
    """Add a network of your own to the table, for as long as the process runs.

    Args:
        name: what `build_network`, ``--network`` and checkpoints call it.
        build: a function of ``num_classes``, ``image_size`` and options that returns a module, images (B, 3, H, W) ->
            logits (B, K, H, W); or "package.module:function", found from this folder or installed.
        title: for tables; the name by default.
        source: where it comes from.
        multiple: what sides have to be multiples of.

    Returns:
        Nothing.

    Raises:
        InputError: a name that is taken, or a function that cannot be found.

    Example:
        >>> import torch
        >>> from msa2net_lib import build_network, register_network
        >>> register_network("pointwise", lambda num_classes, image_size: torch.nn.Conv2d(3, num_classes, 1))
        >>> build_network("pointwise", num_classes=2, image_size=64)(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 2, 64, 64])

    Source: this project.
    """
    if name in NETWORKS:
        raise InputError(f"network={name!r} is registered already: take another name")
    found = _imported(build) if isinstance(build, str) else build
    if not callable(found):
        raise InputError(f"network {name!r}: {build!r} is no function; give one that returns a module")
    NETWORKS[name] = NetworkEntry(title or name, source, found, multiple=multiple, own=True)


def _builder(build: Callable[..., nn.Module] | str) -> Callable[..., nn.Module]:
    if callable(build):
        return build
    module, _, function = build.partition(":")
    if module == "preset":
        from msa2net_lib.nn.network import MSA2Net

        return partial(MSA2Net.from_preset, function)
    return getattr(import_module(f"msa2net_lib.baselines.{module}"), function)


def _imported(path: str) -> Callable[..., nn.Module]:
    """The function at "package.module:function"; modules of the working folder are found as well as installed ones."""
    module, _, function = path.partition(":")
    here = os.getcwd()
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        return getattr(import_module(module), function)
    except AttributeError as error:
        raise InputError(f"network {path!r}: {module} has no {function or 'name behind the colon'}") from error
    except Exception as error:  # the module is the reader's: whatever it raises, one line
        reason = (str(error) or "no message").splitlines()[0]
        raise InputError(f"network {path!r}: {module} cannot be imported ({type(error).__name__}: {reason})") from error
    finally:
        if added:
            sys.path.remove(here)


def own_training(network: str, seed: int = 1234, **changes: Any) -> tuple[TrainConfig, dict[str, Any]]:
    """The recipe of a network's own repository, runnable: the training, and options of the network that go with it.

    What is done otherwise than there is in the config's ``notes``. U-Net's and AttU-Net's draw rate and epochs from the
    seed, as their code does at random.

    Raises:
        InputError: a network without a recipe of its own, or a change that is none.

    Example:
        >>> config, options = own_training("swin_unet", steps=100)
        >>> config.learning_rate, config.loss, config.epochs, options
        (0.05, 'cross_entropy_0.4+dice_0.6', 0, {'input_range': 'unit'})
    """
    row = row_of(network)
    recipe = OWN_RECIPES.get(row)
    if recipe is None:
        known = NETWORKS[network].source if network in NETWORKS else network
        why = "is --recipe synapse, or isic" if network.startswith("msa2net") else f"was not released ({known})"
        raise InputError(f"recipe='own': the training of {network} {why}; give --recipe synapse, isic, gpu or smoke")
    settings = dict(recipe.settings)
    if recipe.drawn:
        drawn = random.Random(seed)
        settings |= {"learning_rate": 5e-7 + drawn.random() * 5e-4, "epochs": drawn.choice((100, 150, 200, 250))}
    notes = dict.fromkeys(settings, f"its own repository: {recipe.where}") | {"otherwise": recipe.otherwise}
    own = {"recipe": "own", "notes": notes, "checkpoint_every": 500, "log_every": 20, "seed": seed, "steps": 0}
    for given, other in (("steps", "epochs"), ("epochs", "steps")):
        if changes.get(given) and other not in changes:
            changes = changes | {other: 0}
    return override(TrainConfig(), own | settings | changes), {"input_range": "unit"} if recipe.unit else {}
