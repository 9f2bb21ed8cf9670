"""Train attention gates in the place of the shipped network's gates: `python site/live/train_attention_gates.py`.

By the recipe that trained the shipped network, as long, on the same slices. Everything else of the network stays as it
was trained with MASAG, so that a page can show both gates on the same X and G. That favors MASAG, and ranks nothing:
lesson 06 compares networks trained alike from the start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from msa2net_lib import MSA2Net, TrainConfig, evaluate, open_dataset
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.training.samples import load_samples
from msa2net_lib.training.trainer import Trainer

OTHERS = Path(__file__).resolve().parent / "attention_gates.safetensors"


def main(data_dir: Path = Path("data")) -> None:
    """Train, score on the held-out virtual patients, and write the gates alone; scores are in the file's metadata."""
    dataset, config = open_dataset("virtual", data_dir), TrainConfig.from_recipe("smoke")
    shipped: Any = load_network(SHIPPED_TINY)
    trainer = Trainer(with_gate(shipped, "attention"), config, dataset, "cpu")
    network = trainer.network
    network.eval()  # the norms outside of the gates stay as they are
    for level in network.decoder.levels[:3]:
        level.gate.train()
    samples = load_samples(dataset, network.config.height_width, network.config.num_classes, trainer.device, True)
    for step, (_, loss) in enumerate(trainer.learn(samples), start=1):
        if step % 50 == 0:
            print(f"step {step} of {trainer.total}: {loss.item():.3f}", flush=True)
    trained: Any = trainer.plain_network()
    compared = {"MASAG": shipped, "attention gate": trained, "plain addition": with_gate(shipped, "addition")}
    scores = {name: f"{evaluate(one.eval(), dataset).mean('paper')[0]:.3f}" for name, one in compared.items()}
    print(scores)
    gates = torch.nn.ModuleList(level.gate for level in trained.decoder.levels[:3])
    save_file({name: tensor.contiguous() for name, tensor in gates.state_dict().items()}, OTHERS, scores)


def with_gate(shipped: Any, gate: str) -> Any:
    """The shipped network with other gates, which alone can be trained."""
    network: Any = MSA2Net(shipped.config.with_gate(gate))
    rest = {name: tensor for name, tensor in shipped.state_dict().items() if ".gate." not in name}
    network.load_state_dict(rest, strict=False)
    network.requires_grad_(False)
    for level in network.decoder.levels[:3]:
        level.gate.requires_grad_(True)
    return network


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
