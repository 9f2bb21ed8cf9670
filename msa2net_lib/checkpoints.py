"""Networks on disk: weights as safetensors with the config inside, training state beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.fingerprint import DatasetFingerprint
from msa2net_lib.errors import InputError
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.utils.files import atomic_path

SHIPPED_TINY = Path(__file__).parent / "checkpoints" / "tiny.safetensors"
"""The trained `tiny` network that comes with the library; `tiny.json` beside it is its record."""


def save_network(
    network: MSA2Net,
    path: str | Path,
    half: bool = False,
    class_names: Sequence[str] | None = None,
    fingerprint: DatasetFingerprint | None = None,
) -> Path:
    """Write a network's weights and config to one safetensors file, atomically.

    Args:
        network: what to write.
        path: the file.
        half: store weight matrices and kernels in float16 (half the size, rounded to 11 bits); vectors and batch-norm
            statistics stay float32.
        class_names: what the classes after the background mean, so that nobody scores them as others.
        fingerprint: what the training data were like, so that a prediction can tell how far another image is from
            them.

    Returns:
        The path.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> from msa2net_lib import MSA2Net, load_network, save_network
        >>> network = MSA2Net.from_preset("tiny", num_classes=2, image_size=64)
        >>> path = save_network(network, "lesions.safetensors", class_names=["lesion"])
        >>> load_network(path).config == network.config
        True

    Source: this project.
    """
    tensors = {
        key: (value.half() if half and value.ndim >= 2 else value).detach().cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    # The weights are here, nothing is left to fetch on loading.
    config = network.config.to_dict() | {"pretrained": False}
    with atomic_path(path) as temporary:
        metadata = {"network_config": json.dumps(config)}
        if class_names is not None:
            metadata["class_names"] = json.dumps(list(class_names))
        if fingerprint is not None:
            metadata["fingerprint"] = fingerprint.to_json()
        save_file(tensors, temporary, metadata=metadata)
    return Path(path)


def read_class_names(path: str | Path) -> tuple[str, ...] | None:
    """Return the class names stored with a network of `save_network`; None where the file has none."""
    stored = _read_metadata(path).get("class_names")
    return None if stored is None else tuple(json.loads(stored))


def read_fingerprint(path: str | Path) -> DatasetFingerprint | None:
    """Return what the training data were like, as stored by `save_network`; None where the file does not say.

    Raises: `InputError` if what is stored is damaged.
    """
    stored = _read_metadata(path).get("fingerprint")
    try:
        return None if stored is None else DatasetFingerprint.from_json(stored)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_metadata(path: str | Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as handle:
            return handle.metadata() or {}
    except (SafetensorError, OSError):  # the authors' files are not safetensors
        return {}


def load_network(path: str | Path, image_size: int | tuple[int, int] | None = None) -> MSA2Net:
    """Read a network written by `save_network`; float32, on the CPU, in evaluation mode.

    Args:
        path: a ``.safetensors`` file.
        image_size: pixels, to build it for another input size than it was trained with.

    Returns:
        The network.

    Raises:
        InputError: the file is missing, damaged, or holds no network of `save_network`.

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
    if "network_config" not in metadata:
        raise InputError(f"{path}: holds no network config; load files that save_network wrote")
    config = NetworkConfig.from_dict(json.loads(metadata["network_config"]))
    if image_size is not None:
        config = NetworkConfig.from_dict(config.to_dict() | {"image_size": image_size})
    network = MSA2Net(config)
    try:
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        raise InputError(f"{path}: weights do not fit the config stored with them; copy it again") from error
    return network.eval()


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
