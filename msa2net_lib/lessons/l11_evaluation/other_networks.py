"""Checkpoints that a reader brings, to stand beside ours in Figures 2 and 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from msa2net_lib.checkpoints import read_class_names
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.official_checkpoints import open_checkpoint

LESION = ("lesion",)


@dataclass(frozen=True, eq=False)
class OtherNetwork:
    """A network that stands beside ours, what it is called, and its file."""

    name: str
    network: MSA2Net
    path: Path


@dataclass(frozen=True)
class OtherNetworks:
    """Networks in the order given, apart by what they segment: ``organs`` (nine classes) and ``lesions`` (two)."""

    organs: list[OtherNetwork] = field(default_factory=list)
    lesions: list[OtherNetwork] = field(default_factory=list)


def open_others(paths: Sequence[str | Path], device: str | torch.device = "cpu") -> OtherNetworks:
    """Open checkpoints, ours (``.safetensors``) or the authors'; their names are those of their files.

    Files of one name are told apart by their folders'. Raises: `InputError` for a file that is none, or given twice, or
    whose classes are neither the eight organs nor a lesion.
    """
    others = OtherNetworks()
    files = [Path(path) for path in paths]
    for path in files:
        if files.count(path) > 1:
            raise InputError(f"{path}: was given twice; name it once")
        network = open_checkpoint(path).to(device)
        classes, names = network.config.num_classes, read_class_names(path)
        places = {len(ORGANS) + 1: (others.organs, ORGANS), 2: (others.lesions, LESION)}
        if classes not in places or names not in (None, tuple(places[classes][1])):
            said = f"{classes} classes" if names is None else f"classes {', '.join(names)}"
            raise InputError(f"{path}: segments {said}; give networks of the eight organs, or of a lesion")
        alone = sum(path.stem == file.stem for file in files) == 1
        name = path.stem if alone else f"{path.parent.name}/{path.stem}"
        places[classes][0].append(OtherNetwork(name, network, path))
    return others
