"""A small MASAG and its tensors for the page's own unit test: `python tests/helpers/live_gate.py` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from msa2net_lib.export.live import gate_weights
from msa2net_lib.nn.gates import AttentionGate
from msa2net_lib.nn.masag import MASAG

FIXTURE = Path("site/live/test/gate.json")


@torch.no_grad()
def made_gate() -> dict[str, Any]:
    """Tensors and weights of gates of 4 channels on 5 x 6 cells, their norms having seen something."""
    torch.manual_seed(3)
    gate, other = MASAG(4), AttentionGate(4)
    for _ in range(3):
        x, g = torch.randn(4, 4, 5, 6), torch.randn(4, 4, 5, 6)
        gate(x, g)
        other(x, g)
    gate.eval()
    other.eval()
    trace = gate.trace(x[:1], g[:1])
    weights = gate_weights(gate, other)
    return {
        "tensors": {name: {"shape": list(t.shape[1:]), "data": _plain(t)} for name, t in trace.items()},
        "attention_gate": _plain(other.attention(x[:1], g[:1])),
        "weights": {
            layer: {part: _plain(tensor) for part, tensor in parts.items()} for layer, parts in weights.items()
        },
    }


def _plain(tensor: torch.Tensor) -> list[float]:
    return [round(value, 6) for value in tensor.flatten().tolist()]


if __name__ == "__main__":
    (Path(__file__).resolve().parents[2] / FIXTURE).write_text(json.dumps(made_gate()) + "\n")
