"""Four U-Nets of others with MASAG, with the constant control and without gate: trained alike and scored."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import torch
from torch import Tensor, nn

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.lessons.execute import NOTEBOOKS
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.nn.third_party import gate_attention_unet, gate_basic_unet, gate_smp_unet
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.engine import kept_random_state
from msa2net_lib.training.failures import not_finite
from msa2net_lib.training.samples import load_samples
from msa2net_lib.training.trainer import Trainer
from msa2net_lib.utils.files import write_text

WITHOUT, OWN = "without gate", "own gate"
VARIANTS = (WITHOUT, "constant", "masag")
"""What is compared in every host: no gate, the control with MASAG's last step but no map, MASAG."""
CLASSES = 9
PLAIN_CELL = "plain-unet"


@dataclass(frozen=True, eq=False)
class Host:
    """A network that is not ours: how it is built for one channel and nine classes, and how it gets a gate.

    gate: changes a host in place, by a gate's name, and returns it. own_gate: whether it comes with gates of its own,
    which "addition" then takes out. source: the code that builds and gates it, as text.
    """

    name: str
    build: Callable[[], nn.Module]
    gate: Callable[[Any, str], nn.Module]
    source: str
    own_gate: bool = False

    @property
    def variants(self) -> tuple[str, ...]:
        """What is compared in this host."""
        return (*VARIANTS, OWN) if self.own_gate else VARIANTS

    def make(self, variant: str, seed: int) -> nn.Module:
        """The host with a variant: `WITHOUT`, `OWN` or a gate's name; at one seed its own weights are the same."""
        if variant == OWN and not self.own_gate:
            raise InputError(f"{self.name} has no gate of its own: use one of {', '.join(self.variants)}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            host = self.build()
            if variant == OWN or (variant == WITHOUT and not self.own_gate):
                return host
            return self.gate(host, "addition" if variant == WITHOUT else variant)


def _smp_unet() -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet(
        "resnet18", encoder_weights=None, decoder_channels=(64, 48, 32, 24, 16), in_channels=1, classes=CLASSES
    )


def _attention_unet() -> nn.Module:
    from monai.networks.nets.attentionunet import AttentionUnet

    return AttentionUnet(2, 1, CLASSES, channels=(16, 32, 64, 128), strides=(2, 2, 2))


def _basic_unet() -> nn.Module:
    from monai.networks.nets.basic_unet import BasicUNet

    return BasicUNet(2, 1, CLASSES, features=(16, 16, 32, 64, 128, 16))


def hosts(plain: Mapping[str, Any] | None = None) -> dict[str, Host]:
    """The four hosts by name.

    plain: the namespace in which lesson 15's cell `plain-unet` was run, ``globals()`` in the lesson itself; None: that
    cell is run here, for there is no other copy. Raises: `InputError` if the notebook is not there.
    """
    source = plain_unet_source()
    namespace: dict[str, Any] = dict(plain or {})
    if plain is None:
        exec(compile(source, PLAIN_CELL, "exec"), namespace)
    library = (
        ("smp Unet", _smp_unet, gate_smp_unet, False),
        ("MONAI AttentionUnet", _attention_unet, gate_attention_unet, True),
        ("MONAI BasicUNet", _basic_unet, gate_basic_unet, False),
    )
    found = [
        Host(name, build, gate, inspect.getsource(build) + inspect.getsource(gate), own)
        for name, build, gate, own in library
    ]
    found.append(Host("plain U-Net", namespace["PlainUNet"], namespace["gate_plain_unet"], source))
    return {host.name: host for host in found}


def plain_unet_source() -> str:
    """The source of the lesson's cell that writes a plain U-Net. Raises: `InputError` if it is not there."""
    path = NOTEBOOKS / "15_integration.ipynb"
    if not path.is_file():
        raise InputError(f"{path}: no such notebook; run from a checkout of the workbook")
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if PLAIN_CELL in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"{path}: {len(cells)} cells are tagged {PLAIN_CELL!r}; one is needed")
    return cells[0].source


class HostNetwork(nn.Module):
    """A host with the config (input size, classes) that evaluation asks of a network."""

    def __init__(self, host: nn.Module, config: NetworkConfig):
        super().__init__()
        self.host, self.config = host, config

    def forward(self, images: Tensor) -> Tensor:
        return self.host(images)


class _HostTrainer(Trainer):
    """The library's training, order, augmentation, loss and schedule, on a network that is not ours."""

    def __init__(self, network: nn.Module, size: NetworkConfig, config: TrainConfig, data: Any, device: str) -> None:
        self._given = network
        super().__init__(size, config, data, device)

    def _build_network(self) -> Any:
        network = HostNetwork(self._given, self.network_config)
        return network.to(self.device, memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]


def train_host(
    network: nn.Module, config: TrainConfig, dataset: PreparedDataset, image_size: int, device: str = "auto"
) -> tuple[HostNetwork, float]:
    """Train a network of any kind as `train` does ours; returns it, last step's weights, and the final loss.

    Raises: those of `msa2net_lib.training.train`.
    """
    size = NetworkConfig.from_preset("tiny", image_size=image_size)
    trainer = _HostTrainer(network, size, config, dataset, device)
    samples = load_samples(dataset, size.height_width, size.num_classes, trainer.device, False)
    with kept_random_state(trainer.device):
        losses = [loss for _, loss in trainer.learn(samples)]
    step = trainer.trouble.step()
    if step is not None:
        raise not_finite("loss is", step + 1, config, trainer.precision, None)
    return trainer.network.eval(), losses[-1].item()


def run_once(
    host: Host, variant: str, config: TrainConfig, dataset: PreparedDataset, image_size: int, device: str = "auto"
) -> tuple[dict[str, Any], HostNetwork]:
    """Train and score one variant of a host with ``config.seed``: the values of one row of `compare_hosts`."""
    started = time.perf_counter()
    network, loss = train_host(host.make(variant, config.seed), config, dataset, image_size, device)
    trained: Any = network
    dsc, hd95 = evaluate(trained, dataset, protocols=("paper",), progress=False, keep_predictions=False).mean("paper")
    minutes = round((time.perf_counter() - started) / 60, 2)
    row = {"dsc": dsc, "hd95": hd95, "loss": loss, "parameters": count_parameters(network), "minutes": minutes}
    return row, network


def compare_hosts(
    chosen: Sequence[Host],
    config: TrainConfig,
    seeds: Sequence[int],
    dataset: PreparedDataset,
    image_size: int,
    output_dir: str | Path | None = None,
    *,
    variants: Sequence[str] | None = None,
    device: str = "auto",
    told: Callable[[dict[str, Any]], None] | None = None,
    look: Callable[[dict[str, Any], HostNetwork], None] | None = None,
) -> pd.DataFrame:
    """Train and score every variant of every host with every seed: the last step's weights, no selection.

    Returns one row per run: host, variant, seed, ``dsc`` (0 to 1) and ``hd95`` (voxels) as means over organs, final
    loss, parameters, minutes. With ``output_dir`` each finished run leaves a JSON file there, and a run whose
    settings, data and host are unchanged is read back instead of repeated: delete the folder after changing the
    library. variants: of every host, in place of its own list. ``told(row)`` hears of each run;
    ``look(row, network)`` sees the network of each run that is not read back.
    Raises: `InputError` without hosts or seeds.
    """
    if not chosen or not seeds:
        raise InputError("nothing to compare: give at least one host and one seed")
    rows = []
    for seed in seeds:
        for host in chosen:
            for variant in variants or host.variants:
                key = {"host": host.name, "variant": variant, "seed": seed}
                run = replace(config, seed=seed)
                digest = _digest(key, host, run, dataset, image_size)
                path = None if output_dir is None else Path(output_dir) / f"{digest}.json"
                if path is not None and path.is_file():
                    row = key | json.loads(path.read_text(encoding="utf-8"))
                else:
                    values, network = run_once(host, variant, run, dataset, image_size, device)
                    row = key | values
                    if path is not None:
                        write_text(path, json.dumps(row))
                    if look is not None:
                        look(row, network)
                if told is not None:
                    told(row)
                rows.append(row)
    return pd.DataFrame(rows)


def _digest(key: dict[str, Any], host: Host, config: TrainConfig, dataset: PreparedDataset, image_size: int) -> str:
    """Sixteen letters that differ as soon as anything differs that a run rests on."""
    parts = json.dumps([key, host.source, config.to_dict(), dataset.digest(), image_size], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]
