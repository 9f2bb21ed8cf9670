"""Fixtures for all tests: the recorded arrays, the shipped CT, and one thread setting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from msa2net_lib.paper.recorded import recorded_shapes

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests" / "reference"


@dataclass(frozen=True)
class Recorded:
    """What the released code computed: inputs, outputs by mode, and its state dict."""

    inputs: list[torch.Tensor]
    outputs: dict[str, torch.Tensor]
    parameters: dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def recorded():
    """Read recorded arrays by name, for example recorded("published/masag")."""

    def read(name: str) -> Recorded:
        with np.load(REFERENCE / f"{name}.npz") as arrays:
            tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        return Recorded(
            inputs=[tensors[f"in_{i}"] for i in range(2) if f"in_{i}" in tensors],
            outputs={mode: tensors[f"out_{mode}"] for mode in ("eval", "train") if f"out_{mode}" in tensors},
            parameters={key[6:]: value for key, value in tensors.items() if key.startswith("param/")},
        )

    return read


@pytest.fixture(scope="session")
def official_shapes():
    """Key and shape of every entry of the released state dict, by preset."""
    return recorded_shapes
