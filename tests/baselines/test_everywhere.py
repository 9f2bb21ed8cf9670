"""Every network of the registry through what MSA²Net goes through: training, stop and resume, file, prediction."""

from __future__ import annotations

import copy
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_networks import each_part_once, small_network
from small_run import Slices, losses
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib import (
    TrainConfig,
    adopt_network,
    build_network,
    load_network,
    predict_image,
    predict_volume,
    register_network,
    save_network,
    train,
)
from msa2net_lib.analysis.complexity import count_work, used_and_unused
from msa2net_lib.analysis.grad_cam import grad_cam
from msa2net_lib.baselines.registry import NETWORKS
from msa2net_lib.baselines.spec import NetworkSpec
from msa2net_lib.baselines.table import NetworkEntry
from msa2net_lib.errors import InputError
from msa2net_lib.export import export_network
from msa2net_lib.export import network as export_network_module
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.official_checkpoints import open_checkpoint

pytestmark = pytest.mark.slow
RIVALS = [name for name in NETWORKS if not name.startswith("msa2net")]
CONFIG = TrainConfig(
    steps=2, batch_size=2, checkpoint_every=2, log_every=1, learning_rate=1e-4, optimizer="sgd"
)  # little to write: the state of the larger ones takes longer than their steps


class Lesions(Slices):
    """Slices whose organs are one."""

    class_names = ("lesion",)

    def training_sample(self, name, size):
        image, label = super().training_sample(name, size)
        return image, np.minimum(label, 1)


@pytest.mark.parametrize(
    ("name", "size", "batch"),
    [("unet_nitr", 8, 3), ("unet", 16, 3), ("unet", (16, 32), 4), ("unet_nitr", (8, 24), 1), ("twenty_eight", 28, 1)],
)
def test_images_smaller_than_a_cell_of_msa2net(name, size, batch, monkeypatch):
    """5 slices: the last batch of 4 has one, and for U-Net a deepest map of two cells."""
    monkeypatch.setitem(
        NETWORKS, "twenty_eight", NetworkEntry("", "", lambda **_: nn.Conv2d(3, 3, 3, padding=1), own=True)
    )
    options = {"widths": (4, 4, 4, 4, 4)[: 4 if name == "unet_nitr" else 5]} if name.startswith("unet") else {}
    config = replace(CONFIG, steps=2, batch_size=batch)
    result = train(NetworkSpec(name, 3, size, options), config, Slices(), device="cpu", progress=False)
    assert np.isfinite(losses(result)).all()


def test_one_cell_and_one_sample_are_too_little(refused):
    spec = NetworkSpec("unet", 3, 16, {"widths": (4, 4, 4, 4, 4)})
    refused("a single cell", train, spec, replace(CONFIG, batch_size=4), Slices(), device="cpu", progress=False)


@pytest.mark.parametrize("name", RIVALS)
def test_it_trains_stops_goes_on_and_comes_back_from_its_file(name, tmp_path):
    spec = small_network(name).config
    data = Slices() if spec.num_classes == 3 else Lesions()
    config, (one, other) = replace(CONFIG, checkpoint_every=1), (tmp_path / name for name in ("whole", "parts"))

    def keep(history):
        """As a run that is stopped in its second step leaves its folder."""
        if len(history) == 2:
            other.mkdir()
            os.link(one / "state.pt", other / "state.pt")
            shutil.copy(one / "log.csv", other)

    whole = train(spec, config, data, one, device="cpu", progress=False, on_log=keep)
    assert np.isfinite(losses(whole)).all()
    seen = []
    parts = train(spec, config, data, other, device="cpu", progress=False, on_log=lambda rows: seen.append(len(rows)))
    assert seen == [2], "it goes on after its first step"
    assert losses(parts) == losses(whole)
    network = load_network(parts.weights)
    assert network.config == spec
    weights = whole.network.state_dict()
    for key, value in network.state_dict().items():
        assert torch.equal(value, weights[key]), key
    labels = predict_volume(network, np.random.default_rng(0).random((1, 20, 30)))
    assert labels.shape == (1, 20, 30)
    assert labels.max() < spec.num_classes


@pytest.mark.usefixtures("remembered_hints")
@pytest.mark.parametrize("name", RIVALS)
def test_it_is_counted_looked_into_and_exported(name, tmp_path, monkeypatch):
    """What goes into the file has each kind of part once: a trace follows every block, as does who reads the file."""
    torch.manual_seed(0)
    network = small_network(name).eval()
    work = count_work(network)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.randn(1, 1, *network.config.height_width))
    assert 2 * work.products.sum() == counter.get_total_flops() > 0
    assert used_and_unused(network).to_numpy().sum() == count_parameters(network)
    path = save_network(network, tmp_path / f"{name}.safetensors")
    if NETWORKS[name].no_export:
        with pytest.raises(InputError, match=rf"^\S+: {name} cannot be exported: it draws masks"):
            export_network(path, tmp_path / "drawn.pt2")
        return
    if each_part_once(name, network):
        monkeypatch.setattr(export_network_module, "open_checkpoint", lambda *_: network)
    assert export_network(path, tmp_path / f"{name}.pt2", data_dir=tmp_path).path.is_file()


def test_a_heat_map_is_drawn_on_any_layer_of_any_network():
    network = small_network("unet").eval()
    image = torch.randn(1, 3, 64, 64)
    region = torch.ones(1, 64, 64)
    by_name, by_module = (grad_cam(network, image, region, 1, layer) for layer in ("decoder.0", network.decoder[0]))
    assert by_name.values.shape[-2:] == (64, 64)
    assert torch.equal(by_name.values, by_module.values)
    with pytest.raises(InputError, match=r"^layer='last decoder layer' is unknown: use encoder, encoder\.0, "):
        grad_cam(network, image, region, 1)


def test_a_module_of_any_origin_is_trained_and_comes_back(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
    with pytest.raises(InputError, match=r"^network of type Sequential says neither its classes nor its size"):
        train(module, CONFIG, Slices(), device="cpu", progress=False)
    with pytest.raises(InputError, match=r"^network of type Sequential says neither"):
        predict_image(module, np.zeros((20, 20)))

    network = adopt_network(module, 3, 32)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    result = train(network, CONFIG, Slices(), tmp_path, device="cpu", progress=False)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items()), "a copy learns"
    assert not torch.equal(before["0.weight"], result.network.state_dict()["0.weight"])
    with pytest.raises(
        InputError, match=r"weights\.safetensors: network 'Sequential' is not of this library: call register"
    ):
        load_network(result.weights)
    back = load_network(result.weights, network=copy.deepcopy(module))
    assert torch.equal(back[0].weight, result.network[0].weight)
    with pytest.raises(InputError, match=r"weights do not fit the config stored with them"):
        load_network(result.weights, network=nn.Conv2d(3, 3, 1))


def test_a_file_calls_no_function_that_was_not_named(tmp_path, monkeypatch):
    """A checkpoint is anybody's; what it names is imported only if the reader named it, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("msa2net_lib.baselines.registry.NETWORKS", own := dict(NETWORKS))
    monkeypatch.setattr("msa2net_lib.checkpoints.NETWORKS", own)
    (tmp_path / "called_or_not.py").write_text(
        "import pathlib, torch\npathlib.Path('called').touch()\n"
        "def build(num_classes, image_size):\n    return torch.nn.Conv2d(3, num_classes, 1)\n"
    )
    network = adopt_network(nn.Conv2d(3, 2, 1), 2, 16, name="called_or_not:build")
    path = save_network(network, "own.safetensors")
    with pytest.raises(InputError, match=r"^own\.safetensors: network 'called_or_not:build' is not of this library"):
        load_network(path)
    assert not (tmp_path / "called").exists()
    assert torch.equal(open_checkpoint(path, network="called_or_not:build").weight, network.weight)
    assert (tmp_path / "called").exists()
    assert torch.equal(load_network(path).weight, network.weight), "named once is enough"
    known = save_network(small_network("unet"), "unet.safetensors")
    with pytest.raises(InputError, match=r"^unet\.safetensors: holds the network unet, and not unet_nitr; leave"):
        open_checkpoint(known, network="unet_nitr")


def test_a_registered_network_of_ones_own_needs_its_function_only(tmp_path, monkeypatch):
    monkeypatch.setattr("msa2net_lib.baselines.registry.NETWORKS", own := dict(NETWORKS))
    register_network("mine", lambda num_classes, image_size, width: nn.Conv2d(3, num_classes, width, padding="same"))
    path = save_network(build_network("mine", 2, 16, width=3), tmp_path / "mine.safetensors")
    assert load_network(path).config == NetworkSpec("mine", 2, 16, {"width": 3})
    del own["mine"]
    with pytest.raises(InputError, match=r"network 'mine' is not of this library: call register_network\('mine', \.\."):
        load_network(path)


def test_options_and_size_may_change_on_loading(tmp_path):
    path = save_network(small_network("dermosegdiff_small"), tmp_path / "drawn.safetensors")
    network = load_network(path, 48, samples=2, steps=1)
    assert (network.samples, network.steps, network.config.height_width) == (2, 1, (48, 48))
    with pytest.raises(InputError, match=r"^\S+: image_size=33 is not a multiple of 4"):
        load_network(path, 33)
    with pytest.raises(InputError, match=r"^\S+: network 'dermosegdiff_small' cannot be built: .* 'nonsense'$"):
        load_network(path, nonsense=1)
