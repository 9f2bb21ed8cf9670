"""What every network of the registry has to pass, whatever it is; an entry of the table is all that a new one needs."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from small_networks import OPTIONS, small_classes, small_network, small_size
from torch import nn

from msa2net_lib import (
    adopt_network,
    build_network,
    list_networks,
    list_presets,
    load_network,
    register_network,
    save_network,
)
from msa2net_lib.baselines.recipes import OWN_RECIPES
from msa2net_lib.baselines.registry import NETWORKS, find_network, rebuild_network
from msa2net_lib.baselines.spec import NetworkSpec, config_of, has_own_loss
from msa2net_lib.checkpoints import SHIPPED_TINY
from msa2net_lib.errors import InputError


@pytest.fixture
def registry(monkeypatch):
    """The table, put back as it was."""
    monkeypatch.setattr("msa2net_lib.baselines.registry.NETWORKS", own := dict(NETWORKS))
    return own


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_logits_trains_and_comes_back_from_its_state(name):
    torch.manual_seed(0)
    network, size = small_network(name), small_size(name)
    for channels in (1, 3):
        logits = network(image := torch.randn(2, channels, size, size))
        assert logits.shape == (2, small_classes(name), size, size)
        assert logits.isfinite().all()
    assert logits.min() < 0, "logits, not probabilities"
    target = torch.randint(0, 2, (2, size, size))
    loss = network(image, target) if has_own_loss(network) else (logits * torch.randn_like(logits)).sum()
    loss.backward()
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert sum(parameter.grad is not None for parameter in learning) > len(learning) / 2
    twin = rebuild_network(config_of(network))
    assert twin.config == network.config
    twin.load_state_dict(network.state_dict())
    image = torch.randn(1, 1, size, size)
    with torch.no_grad():
        torch.testing.assert_close(twin.eval()(image), network.eval()(image), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_refuses_sizes_and_options_that_it_does_not_take(name):
    options = OPTIONS.get(name, {})
    if NETWORKS[name].multiple > 1:
        with pytest.raises(InputError, match=r"^image_size=73"):
            build_network(name, small_classes(name), 73, **options)
    classes = small_classes(name)
    with pytest.raises(InputError, match="nonsense") as raised:
        build_network(name, classes, small_size(name), nonsense=1, **options)
    assert "\n" not in str(raised.value)
    if not NETWORKS[name].weights:
        with pytest.raises(InputError, match=rf"^pretrained=True: {name} has no pretrained encoder; leave it out$"):
            build_network(name, classes, small_size(name), pretrained=True, **options)
    if NETWORKS[name].classes:
        with pytest.raises(InputError, match=rf"^num_classes=9: {name} takes 2 only, background counts as one$"):
            build_network(name, 9, small_size(name))


def test_entries_say_what_they_are():
    assert list_networks() == list(NETWORKS)
    assert len({entry.title for entry in NETWORKS.values()}) == len(NETWORKS)
    assert all(entry.source for entry in NETWORKS.values())
    assert {f"msa2net_{preset}" for preset in list_presets()} - set(NETWORKS) == {"msa2net_paper"}
    assert all(entry.paper for entry in NETWORKS.values() if entry.tables)
    assert set(OWN_RECIPES) <= {entry.row for entry in NETWORKS.values()}
    assert NETWORKS["unet"].own_recipe() is OWN_RECIPES["U-Net"]
    assert NETWORKS["unet_nitr"].own_recipe() is None


def pointwise(num_classes, image_size, width=3):
    """A network of a reader's."""
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, num_classes, 1))


def test_a_network_of_ones_own_is_built_by_name(registry):
    register_network("own", pointwise, title="Own")
    network = build_network("own", num_classes=4, image_size=8, width=5)
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 8, 8)
    assert network.config == NetworkSpec("own", 4, 8, {"width": 5})
    assert NetworkSpec.from_dict(network.config.to_dict()) == network.config
    with pytest.raises(InputError, match=r"^network='own' is registered already: take another name$"):
        register_network("own", pointwise)


def test_a_network_of_a_file_beside_is_built_by_its_place(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside_me.py").write_text(
        "import torch\nwhole = 3\ndef build(num_classes, image_size):\n    return torch.nn.Conv2d(3, num_classes, 1)\n"
    )
    (tmp_path / "broken_beside_me.py").write_text("raise RuntimeError('not today')\n")
    assert build_network("beside_me:build", num_classes=2, image_size=10).out_channels == 2
    assert registry["beside_me:build"].own
    for name, said in {
        "beside_me:none": "beside_me has no none",
        "beside_me:": "beside_me has no name behind the colon",
        "beside_me:whole": "'beside_me:whole' is no function",
        "nowhere_at_all:build": "ModuleNotFoundError: No module named 'nowhere_at_all'",
        "broken_beside_me:build": "RuntimeError: not today",
    }.items():
        with pytest.raises(InputError, match=said) as raised:
            build_network(name)
        assert "\n" not in str(raised.value)


class Answers(nn.Module):
    """A module that gives what it was told to."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, image):
        return self.answer(image)


def fails(image):
    raise ValueError("first line\nsecond line")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda image: image[:, :2], r"gives \(2, 2, 8, 8\) for images \(2, 3, 8, 8\): it must give logits \(2, 3, 8,"),
        (lambda image: image[..., ::2], r"gives \(2, 3, 8, 4\)"),
        (lambda image: {"out": image}, "gives dict for images"),
        (lambda image: (image, image), "gives tuple for images"),
        (fails, r"fails on images \(2, 3, 8, 8\) \(ValueError: first line\)"),
    ],
)
def test_logits_of_another_shape_are_one_line(registry, answer, said):
    register_network("odd", lambda num_classes, image_size: Answers(answer))
    with pytest.raises(InputError, match=r"^network 'odd' " + said) as raised:
        build_network("odd", num_classes=3, image_size=8)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=r"^network 'Answers' " + said):
        adopt_network(Answers(answer), num_classes=3, image_size=8)


def test_a_third_party_network_with_a_config_of_its_own_is_adopted():
    unet = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=4)
    adopted = adopt_network(unet, num_classes=4, image_size=64).eval()
    images = torch.randn(1, 1, 64, 64)
    assert torch.equal(adopted(images), unet.eval()(images))


def test_what_is_no_network_is_one_line(registry):
    register_network("text", lambda num_classes, image_size: "a network")
    with pytest.raises(InputError, match=r"^network 'text' is str, no torch.nn.Module: return a module$"):
        build_network("text")
    register_network("fails", lambda num_classes, image_size: fails(None))
    with pytest.raises(InputError, match=r"^network 'fails' cannot be built: first line$"):
        build_network("fails")
    module = nn.Conv2d(3, 2, 1)
    with pytest.raises(InputError, match=r"^network of type Conv2d says neither its classes nor its size: call adopt"):
        config_of(module)
    module.config = {"hidden_size": 3}
    adopted = adopt_network(module, 2, 8)
    assert adopted.network is module
    assert module.config == {"hidden_size": 3}
    assert config_of(adopted).num_classes == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nonsense": 1}, "^no description of a network: give its name, num_classes and image_size$"),
        ({"num_classes": 0}, "^num_classes=0: give 1 to 256$"),
        ({"num_classes": 2.0}, r"^num_classes=2\.0: give 1 to 256$"),
        ({"image_size": 10**9}, "^image_size=1000000000: give 1 to 2048 pixels, or a height and a width$"),
        ({"image_size": [32, 32, 32]}, "^image_size="),
        ({"image_size": True}, "^image_size=True"),
        ({"name": 3j}, "^name=3j: give a plain number"),
        ({"options": 3}, "^options=3: give names with values$"),
        ({"options": {"widths": [10**9]}}, "^widths="),
        ({"options": {"encoder": "hf-hub:somebody/else"}}, "^encoder=hf-hub:somebody/else: give a plain"),
        ({"options": {"widths": {"a": {"b": 1}}}}, "^widths="),
    ],
)
def test_a_description_that_is_none_is_one_line(changes, said):
    """It may come out of a file of anybody's."""
    values = {"name": "unet", "num_classes": 2, "image_size": 64, "options": {}}
    with pytest.raises(InputError, match=said):
        NetworkSpec.from_dict(values | changes)


def test_adopting_leaves_a_network_as_it_was():
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert adopt_network(module, 2, (8, 16)) is module
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert config_of(module).height_width == (8, 16)
    torch.testing.assert_close(module(image := torch.rand(1, 1, 8, 16)), module(image.repeat(1, 3, 1, 1)))


def test_a_network_for_gray_slices_alone_is_taken():
    network = adopt_network(nn.Conv2d(1, 2, 1), 2, 8)
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 2, 8, 8)


def test_an_unknown_network_is_named():
    with pytest.raises(InputError, match="network='msa3net' is unknown: use one of 'msa2net', 'msa2net_published'"):
        find_network("msa3net")
    with pytest.raises(
        InputError, match=r"^network 'foreign' is not of this library: call register_network\('foreign'"
    ):
        rebuild_network(NetworkSpec("foreign", 2, 64))


@pytest.mark.parametrize("widths", [(), (0, 0), (4, -4), (4.5, 8), "wide", 3])
def test_options_that_no_network_can_have_are_one_line(refused, widths):
    refused("", build_network, "unet", 3, 64, widths=widths)


class DrawsAtRandom(nn.Module):
    """A network of one's own whose fixed features are drawn when it is built, and in no file."""

    def __init__(self, num_classes: int, image_size: int):
        super().__init__()
        self.register_buffer("features", torch.empty(3).normal_(), persistent=False)
        self.head = nn.Conv2d(3, num_classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(image.expand(-1, 3, -1, -1) * self.features[:, None, None])


def test_a_network_of_ones_own_draws_as_always_and_those_of_the_library_draw_nothing(registry, tmp_path):
    register_network("draws", lambda num_classes, image_size: DrawsAtRandom(num_classes, image_size))
    path = save_network(build_network("draws", 2, 64), tmp_path / "draws.safetensors")
    assert load_network(path).features.all(), "zeros would be what `Undrawn` leaves"
    before = torch.get_rng_state()
    load_network(SHIPPED_TINY, image_size=64)
    assert torch.equal(torch.get_rng_state(), before)
