"""A run on disk: all that a restart needs, and what tells that it is the same run."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import torch

from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig

STATE_FILE = "state.pt"
FORMAT = 2
_PACKAGES = ("msa2net-workbook", "torch", "timm", "accelerate", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions that decide a run's numbers, by package."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def random_state() -> dict[str, Any]:
    """State of torch's generators; each step seeds them anew, so that only code between steps depends on it."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Put torch's generators back where `random_state` saw them; on CUDA only for as many devices."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


def check_same_run(state: dict[str, Any], path: Path, network: NetworkConfig, config: TrainConfig, data: str) -> None:
    """Raise InputError unless a saved state is of this version and of a run with these configs on these data."""
    try:
        if state["format"] != FORMAT:
            raise KeyError("format")
        same = {
            "network": NetworkConfig.from_dict(state["network_config"]) == network,
            "training config": TrainConfig.from_dict(state["train_config"]) == config,
            "data set": state["data"] == data,
        }
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: no training state of this version; delete it to start anew") from error
    different = [name for name, is_same in same.items() if not is_same]
    if different:
        raise InputError(
            f"{path}: of a run with another {' and '.join(different)}; "
            "name another output folder, or delete it to start anew"
        )
