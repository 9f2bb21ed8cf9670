"""Train attention gates in the place of the shipped network's gates: `python site/live/train_attention_gates.py`.

Everything else of the network stays as it was trained with MASAG, so that a page can show both gates on the same X and
G. That favors MASAG, and ranks nothing: lesson 06 compares networks trained alike from the start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.losses import BoundaryDoULoss
from msa2net_lib.nn.gates import build_gate

OTHERS = Path(__file__).resolve().parent / "attention_gates.safetensors"
STEPS, BATCH, EVERY, SEED = 200, 4, 3, 1234


def main(data_dir: Path = Path("data")) -> None:
    """Train on every second slice of the virtual patients to train on, and write the gates alone."""
    torch.manual_seed(SEED)
    network: Any = load_network(SHIPPED_TINY).eval().requires_grad_(False)
    gates = torch.nn.ModuleList(build_gate("attention", channels) for channels in network.encoder.channels[:3])
    for level, gate in enumerate(gates):
        network.decoder.levels[level].gate = gate
    features, labels = encode(network, data_dir)
    optimizer = torch.optim.AdamW(gates.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=STEPS)
    loss_of = BoundaryDoULoss(network.config.num_classes)
    gates.train()
    for step in range(STEPS):
        chosen = torch.randperm(len(labels))[:BATCH]
        logits = network.decoder([maps[chosen] for maps in features])
        loss = loss_of(logits, labels[chosen]) + functional.cross_entropy(logits, labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step}: {loss.item():.3f}", flush=True)
    save_file({name: tensor.contiguous() for name, tensor in gates.state_dict().items()}, OTHERS)


@torch.inference_mode()
def encode(network: Any, data_dir: Path) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The encoder's maps of the slices, once, and their labels (n, h, w)."""
    dataset, size = open_dataset("virtual", data_dir), network.config.height_width
    images, labels = zip(*(dataset.training_sample(name, size) for name in dataset.train_ids[::EVERY]), strict=True)
    pixels = torch.from_numpy(np.stack(images))
    parts = [network.encoder(part) for part in pixels.split(8)]
    features = [torch.cat(maps).clone() for maps in zip(*parts, strict=True)]
    return features, torch.from_numpy(np.stack(labels).astype(np.int64))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
