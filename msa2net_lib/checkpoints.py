"""Networks on disk: weights as safetensors with the config inside, training state beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from msa2net_lib.baselines.registry import (
    NETWORKS,
    find_network,
    is_own,
    rebuild_empty,
    rebuild_network,
    register_network,
)
from msa2net_lib.baselines.spec import Config, NetworkSpec, config_from_dict, config_of
from msa2net_lib.config import MOST_CLASSES, PRESETS, NetworkConfig
from msa2net_lib.config import SHIPPED_TINY as SHIPPED_TINY
from msa2net_lib.data.fingerprint import DatasetFingerprint
from msa2net_lib.errors import InputError
from msa2net_lib.nn.timm_models import carry_tables
from msa2net_lib.utils.files import atomic_path
from msa2net_lib.utils.names import listed
from msa2net_lib.utils.plain import override, parse_json
from msa2net_lib.utils.torch_files import Undrawn, misfits, require_finite

_MOST_LETTERS = 500  # of what a message quotes from a file


def save_network(
    network: nn.Module,
    path: str | Path,
    half: bool = False,
    class_names: Sequence[str] | None = None,
    fingerprint: DatasetFingerprint | None = None,
) -> Path:
    """Write a network's weights and config to one safetensors file, atomically; equal ones give equal bytes.

    Args:
        network: an `MSA2Net`, one of `build_network`, or one that `adopt_network` has named.
        path: the file.
        half: store weight matrices and kernels in float16 (half the size, rounded to 11 bits); vectors and batch-norm
            statistics stay float32.
        class_names: what the classes after the background mean, so that nobody scores them as others.
        fingerprint: what the training data were like, so that a prediction can tell how far another image is from
            them.

    Returns:
        The path.

    Raises:
        InputError: a network that does not say what it is, weights that are not finite, or not in float16 with
            ``half``, and a file that cannot be written.

    Example:
        >>> from msa2net_lib import MSA2Net, load_network, save_network
        >>> network = MSA2Net.from_preset("tiny", num_classes=2, image_size=64)
        >>> path = save_network(network, "lesions.safetensors", class_names=["lesion"])
        >>> load_network(path).config == network.config
        True

    Source: this project.
    """
    config = config_of(network).to_dict() | {"pretrained": False}  # the weights are here, nothing is left to fetch
    state = network.state_dict()
    require_finite(state, path)
    tensors = {
        key: (value.half() if half and value.ndim >= 2 else value).detach().cpu().contiguous()
        for key, value in state.items()
    }
    if half:
        require_finite(tensors, path, "lie beyond float16 (65504); save the network without half")
    metadata = {"network_config": json.dumps(config, sort_keys=True)}
    if class_names is not None:
        metadata["class_names"] = json.dumps(_checked_names(list(class_names), "class_names"))
    if fingerprint is not None:
        metadata["fingerprint"] = fingerprint.to_json()
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
        _sort_metadata(temporary)
    return Path(path)


def _sort_metadata(path: Path) -> None:
    """Give equal weights one byte form: safetensors writes its metadata in an order that changes from call to call."""
    with open(path, "rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(ordered.ljust(length))  # as long as before: it was compact, too


def read_class_names(path: str | Path) -> tuple[str, ...] | None:
    """Return the class names stored with a network of `save_network`; None where the file has none.

    Raises: `InputError` if what is stored is damaged.
    """
    stored = _read_metadata(path).get("class_names")
    what = f"{path}: its class names"
    return None if stored is None else tuple(_checked_names(parse_json(stored, what), what))


def _checked_names(names: Any, what: str) -> list[str]:
    is_list = isinstance(names, list) and len(names) < MOST_CLASSES
    if not is_list or not all(isinstance(name, str) and name.isprintable() and 0 < len(name) < 200 for name in names):
        raise InputError(f"{what}: are no list of up to {MOST_CLASSES - 1} printable names; give such a list")
    return names


def read_fingerprint(path: str | Path) -> DatasetFingerprint | None:
    """Return what the training data were like, as stored by `save_network`; None where the file does not say.

    Raises: `InputError` if what is stored is damaged.
    """
    stored = _read_metadata(path).get("fingerprint")
    try:
        return None if stored is None else DatasetFingerprint.from_json(stored)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_config(metadata: Mapping[str, str], path: str | Path) -> Config:
    """Return the config in a file's metadata, as far as it can be trusted: typed, bounded, and never downloading.

    It says which network the file holds: a `NetworkConfig` an MSA²Net, a `NetworkSpec` another one, by its name.

    Raises: `InputError` if there is none, or none that `save_network` writes.
    """
    if "network_config" not in metadata:
        raise InputError(f"{path}: holds no network config; load files that save_network wrote")
    stored = parse_json(metadata["network_config"], f"{path}: its network config")
    try:
        return config_from_dict(stored | {"pretrained": False} if isinstance(stored, dict) else stored)
    except InputError as error:
        raise InputError(
            f"{path}: its network config is damaged ({str(error)[:_MOST_LETTERS]}); copy it again"
        ) from error


def name_network(path: str | Path, network: str) -> None:
    """Say which function builds the network of a file, "package.module:function", where it is of the reader's own.

    Raises: `InputError` where the file holds another network, or the function cannot be found.
    """
    config = read_config(_read_metadata(path), path)
    if config.preset == network:
        find_network(network)
    elif isinstance(config, NetworkSpec) and (config.name not in NETWORKS or NETWORKS[config.name].own):
        NETWORKS.pop(config.name, None)
        register_network(config.name, network)
    else:
        raise InputError(f"{path}: holds the network {config.preset}, and not {network}; leave --network out")


def _read_metadata(path: str | Path) -> dict[str, str]:
    if not Path(path).is_file():  # a pipe would be waited for
        return {}
    try:
        with safe_open(path, framework="pt") as handle:
            return handle.metadata() or {}
    except (SafetensorError, OSError):  # the authors' files are not safetensors
        return {}


def load_network(
    path: str | Path,
    image_size: int | tuple[int, int] | None = None,
    *,
    network: nn.Module | None = None,
    **options: Any,
) -> Any:
    """Read a network written by `save_network`; float32, on the CPU, in evaluation mode.

    The file says by name which network it holds; it is built by the registry. One of your own has to be registered
    first (`register_network`): no file can have a function called that you did not name.

    Args:
        path: a ``.safetensors`` file.
        image_size: pixels, to build it for another input size than it was trained with.
        network: a module to load the weights into, where the file's network is not in the registry.
        options: of the network's own, changed ones, such as ``samples`` and ``steps`` of DermoSegDiff.

    Returns:
        The network: an `MSA2Net`, or the module that the file names.

    Raises:
        InputError: the file is missing, damaged, or holds no network of `save_network`, one that is not registered, or
            weights that are not finite.

    Example:
        >>> from msa2net_lib import load_network
        >>> from msa2net_lib.checkpoints import SHIPPED_TINY
        >>> load_network(SHIPPED_TINY, image_size=64).config.height_width
        (64, 64)

    Source: this project.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; train one (msa2net train) or name another file")
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            state = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); train or copy it again") from error
    config = read_config(metadata, path)
    try:
        if image_size is not None:
            config = override(config, {"image_size": image_size})
        if options:
            config = override(
                config, {"options": config.options | options} if isinstance(config, NetworkSpec) else options
            )
        # Whatever sizes the file claims, nothing is allocated before its weights fit; those of a preset are known, and
        # to build it without memory as well would take as long as all else, as torch loads its compiler for that.
        build = rebuild_network if _is_preset(config) else rebuild_empty
        # One of the reader's own may draw what its file does not bring.
        drawn = nullcontext if is_own(config) else Undrawn
        with drawn():
            expected: Any = build(config) if network is None else network
        if isinstance(config, NetworkConfig) and network is None:
            state = carry_tables(state, expected.encoder.backbone, "encoder.backbone.")
    except InputError as error:
        raise InputError(f"{path}: {str(error)[:_MOST_LETTERS]}") from error
    except Exception as error:  # networks meet options of a damaged file each in their own way
        if network is not None or is_own(config):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_LETTERS]}"
        raise InputError(f"{path}: {config.preset} cannot be built from its network config ({reason})") from error
    if wrong := misfits(state, expected.state_dict()):
        raise InputError(f"{path}: weights do not fit the config stored with them ({listed(wrong, 3)}); copy it again")
    require_finite(state, path)
    if network is None:
        with drawn():
            network = rebuild_network(config) if build is rebuild_empty else expected
    assert network is not None
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return network.eval()


def _is_preset(config: Config) -> bool:
    """Whether a network is one of `config.PRESETS`, but for its classes and the size of its input."""
    if not isinstance(config, NetworkConfig) or config.preset not in PRESETS:
        return False
    own = {name: getattr(config, name) for name in ("num_classes", "image_size", "pretrained")}
    return override(PRESETS[config.preset], own) == config


def save_state(state: dict[str, Any], path: str | Path) -> None:
    """Write a training state atomically; a kill at any moment leaves the previous one whole."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_state(path: str | Path) -> dict[str, Any]:
    """Read a training state written by `save_state`, on the CPU, executing no code from the file."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise InputError(
            f"{path}: not a readable training state ({type(error).__name__}); delete it to start anew"
        ) from error
