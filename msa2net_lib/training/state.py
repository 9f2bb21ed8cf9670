"""A run on disk: all that a restart needs, and what tells that it is the same run."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import torch

from msa2net_lib.baselines.spec import Config, config_from_dict
from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.utils.system_info import versions

FORMAT = 2
CHANGEABLE = ("learning_rate", "accumulate", "precision", "compilation", "log_every", "checkpoint_every")
"""Fields of `TrainConfig` that a resumed run may change: what the messages of a run that failed advise, and its log."""

PACKAGES = ("msa2net-workbook", "torch", "timm", "accelerate", "numpy", "scipy")
"""Packages that decide a run's numbers."""


def random_state() -> dict[str, Any]:
    """State of torch's generators; each step seeds them anew, so that only code between steps depends on it."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Put torch's generators back where `random_state` saw them; on CUDA only for as many devices."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


def check_same_run(
    state: dict[str, Any], path: Path, network: Config, config: TrainConfig, data: str
) -> list[dict[str, Any]]:
    """Return what a run changes on being resumed: a row for each field, with field, from, to, and the step.

    Raises: `InputError` unless the saved state is of this version and of a run on these data with these configs, of
    which only the fields in `CHANGEABLE` may differ.
    """
    try:
        if state["format"] != FORMAT:
            raise KeyError("format")
        other_network = _differences(config_from_dict(state["network_config"]), network)
        other_training = _differences(TrainConfig.from_dict(state["train_config"]), config)
        other_data, step = state["data"] != data, state["step"]
        if not isinstance(state["history"], list) or state["best"].keys() != {"score", "step"} or "random" not in state:
            raise KeyError("history")
    except (AttributeError, KeyError, TypeError, InputError) as error:
        raise InputError(f"{path}: no training state of this version; delete it to start anew") from error
    refused = [name for name in other_training if name not in CHANGEABLE]
    different = [f"network ({', '.join(other_network)})"] if other_network else []
    different += [f"training config ({', '.join(refused)})"] if refused else []
    different += ["data set"] if other_data else []
    if different:
        raise InputError(
            f"{path}: of a run with another {' and '.join(different)}; "
            "name another output folder, or delete it to start anew"
        )
    return [{"field": name, "from": old, "to": new, "step": step} for name, (old, new) in other_training.items()]


def _differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Values in two configs of one kind, by the names of the fields that differ."""
    if type(old) is not type(new):
        return {"name": (old.preset, new.preset)}
    names = [field.name for field in dataclasses.fields(new) if field.compare]
    return {
        name: (getattr(old, name), getattr(new, name)) for name in names if getattr(old, name) != getattr(new, name)
    }


def warn_of_changes(changes: list[dict[str, Any]], written_with: dict[str, str], path: Path) -> None:
    """Say in one warning what a resumed run changes, and in another which versions differ from those that saved it."""
    if changes:
        fields = ", ".join(f"{change['field']}={change['to']} (was {change['from']})" for change in changes)
        warnings.warn(f"{path}: goes on from step {changes[0]['step']} with {fields}", stacklevel=2)
    here = versions(PACKAGES)
    others = [
        f"{name} {there} (here {here.get(name, 'without')})"
        for name, there in written_with.items()
        if here.get(name) != there
    ]
    if others:
        warnings.warn(
            f"{path}: written with {', '.join(others)}: the loss may go on a little differently", stacklevel=2
        )
