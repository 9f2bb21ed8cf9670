"""Grad-CAM against the formula written out, a network with one planted feature, and a closed form at the last layer."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from einops import rearrange
from small_run import SMALL
from torch import nn
from torch.nn import functional as F

from msa2net_lib import MSA2Net
from msa2net_lib.analysis.grad_cam import combine, disc, grad_cam, grad_cam_layers, region_score
from msa2net_lib.analysis.layers import LAST, Place, places
from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError

pytestmark = pytest.mark.slow

SIZE = 64


@pytest.fixture(scope="module")
def tiny():
    """An untrained network of few channels, in float64, its head mixed so that every class has a sign of its own."""
    torch.manual_seed(0)
    return MSA2Net.from_preset("tiny", image_size=SIZE, encoder_options=SMALL.encoder_options).double().eval()


@pytest.fixture(scope="module")
def image():
    torch.manual_seed(1)
    return torch.randn(2, 1, SIZE, SIZE, dtype=torch.float64)


@pytest.fixture(scope="module")
def mask():
    region = torch.zeros(SIZE, SIZE)
    region[20:35, 5:28] = 1
    return region


def by_hand(network, image, mask, class_index, module, grid=None):
    """Grad-CAM in four lines on what the module gives, with a hook of its own."""
    kept = []
    hook = module.register_forward_hook(lambda _, __, output: kept.append(output))
    score = (network(image)[:, class_index] * mask).sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    if grid is None:
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        return (weights * kept[0]).sum(dim=1).clamp(min=0).detach()
    weights = gradient.mean(dim=1, keepdim=True)
    return rearrange((weights * kept[0]).sum(dim=-1), "b (h w) -> b h w", h=grid[0]).clamp(min=0).detach()


def test_every_layer_against_the_formula_written_out(tiny, image, mask):
    """LKA blocks give maps, dual-attention blocks, norms and expansions give tokens: all must come out as maps."""
    found = places(tiny)
    known = {LAST, "level 0 gate", "level 0 block 2", "level 1 merged", "level 2 block 2", "encoder stage 1"}
    assert known <= set(found)
    kinds, image = set(), image[:1]
    for name, place in found.items():
        if name in ("level 1 gate", "level 1 block 2", "encoder stage 2", "encoder stage 3"):
            continue  # of a kind that another one shows
        heat = grad_cam(tiny, image, mask, 5, name)
        kinds.add(type(place.module).__name__)
        is_map = name.endswith("gate") or "encoder" in name or type(place.module).__name__ == "LKABlock"
        assert place.grid is None or place.grid[0] == place.grid[1], "the image is a square"
        expected = by_hand(tiny, image, mask, 5, place.module, None if is_map else place.grid)
        torch.testing.assert_close(heat.own, expected, rtol=1e-9, atol=1e-14, msg=name)
        wide = F.interpolate(expected[:, None], (SIZE, SIZE), mode="bilinear")[:, 0]
        torch.testing.assert_close(heat.values, wide, rtol=1e-9, atol=1e-14)
    assert {"LKABlock", "DualAttentionBlock", "MASAG", "LayerNorm", "PatchExpand"} <= kinds


def test_many_layers_at_once_are_the_same_maps(tiny, image, mask):
    layers, image = [LAST, "level 1 gate", "level 2 block 2"], image[:1]
    targets = {"liver": (5, mask), "corner": (1, disc(SIZE, SIZE, 60, 60, 3))}
    for evidence in ("positive", "both"):
        at_once = grad_cam_layers(tiny, image, targets, {name: name for name in layers}, evidence)
        for target, (class_index, region) in targets.items():
            for name in layers:
                one = grad_cam(tiny, image, region, class_index, name, evidence)
                torch.testing.assert_close(at_once[target][name].own, one.own, rtol=1e-9, atol=1e-14)
                torch.testing.assert_close(at_once[target][name].values, one.values, rtol=1e-9, atol=1e-14)


class InPlace(nn.Module):
    """Convolutions before activations that overwrite them, one shared by two branches; the lower one is a U's skip."""

    def __init__(self, activation):
        super().__init__()
        self.first, self.second, self.head = (nn.Conv2d(*pair, 3, padding=1) for pair in ((1, 6), (6, 6), (12, 3)))
        self.activation = activation

    def forward(self, image):
        skip = self.activation(self.first(image))
        return self.head(torch.cat([skip, self.activation(self.second(skip))], dim=1))


def unet(activation):
    """segmentation_models_pytorch's, whose ReLUs are in place; its batch norms stand before them."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    return smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=3, decoder_channels=(32, 16, 16, 8, 8))


@pytest.mark.parametrize(
    ("build", "activation"),
    [(InPlace, nn.ReLU(inplace=True)), (InPlace, nn.LeakyReLU(0.1, inplace=True)), (unet, None)],
    ids=["ReLU", "leaky ReLU", "U-Net of another library"],
)
def test_activations_that_overwrite_a_layer_change_no_map(build, activation):
    """With the same activations not in place both ways give the same; a layer's own maps come before them."""
    torch.manual_seed(2)
    network = build(activation).double().eval()
    image, region = torch.randn(1, 1, 32, 32, dtype=torch.float64), disc(32, 32, 15, 10, 5)
    kind = nn.BatchNorm2d if build is unet else nn.Conv2d
    layers = {name: module for name, module in network.named_modules() if isinstance(module, kind)}
    at_once = grad_cam_layers(network, image, {"disc": (1, region)}, layers, "both")["disc"]
    one_by_one = {name: grad_cam(network, image, region, 1, layer, "both") for name, layer in layers.items()}
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    for name, one in one_by_one.items():
        torch.testing.assert_close(at_once[name].own, one.own, rtol=1e-9, atol=1e-14, msg=name)
    name, module = next(iter(layers.items()))
    expected = at_once[name].own.relu()
    torch.testing.assert_close(by_hand(network, image, region, 1, module), expected, rtol=1e-9, atol=1e-14)


def test_at_the_last_layer_it_is_the_class_s_own_logit(tiny, image, mask):
    """The head is 1x1: what remains is ReLU(logit - bias) x the region's share of the image, for any region."""
    nn.init.normal_(tiny.decoder.head.bias)
    with torch.no_grad():
        logits = tiny(image)[:, 3] - tiny.decoder.head.bias[3]
    for region in (mask, disc(SIZE, SIZE, 3, 3, 2), torch.rand(SIZE, SIZE)):
        heat = grad_cam(tiny, image, region, 3)
        torch.testing.assert_close(heat.values, logits.relu() * region.double().mean(), rtol=1e-9, atol=1e-14)


def planted(shape_weight=1.0):
    """Two channels: the first is the shape drawn in the image, at its very place; class 1 is driven by it alone."""
    features = nn.Conv2d(1, 2, 1, bias=False)
    head = nn.Conv2d(2, 3, 1, bias=False)
    with torch.no_grad():
        features.weight[:] = torch.tensor([1.0, -1.0])[:, None, None, None]
        head.weight[:] = torch.tensor([[0.0, 2.0], [shape_weight, 0.0], [0.0, 0.0]])[..., None, None]
    return nn.Sequential(features, nn.ReLU(), head)


def shape_image():
    image = torch.full((1, 1, 24, 30), -1.0)
    image[..., 4:9, 6:8] = 1
    image[..., 6:8, 6:14] = 1
    return image


def test_a_planted_feature_is_highlighted_exactly_and_there():
    network, image = planted(), shape_image()
    heat = grad_cam(network, image, torch.ones(24, 30), 1, network[1])
    assert torch.equal(heat.values[0] > 0, image[0, 0] > 0)
    torch.testing.assert_close(heat.values[0][heat.values[0] > 0].unique(), torch.tensor([1.0]))
    other = grad_cam(network, image, torch.ones(24, 30), 0, network[1])
    assert torch.equal(other.values[0] > 0, image[0, 0] < 0)


def test_a_coarse_layer_keeps_its_own_grid():
    network = nn.Sequential(nn.AvgPool2d(2), planted(), nn.Upsample(scale_factor=2))
    heat = grad_cam(network, shape_image(), torch.ones(24, 30), 1, network[1][1])
    assert heat.own.shape == (1, 12, 15)
    assert heat.values.shape == (1, 24, 30)


def test_relu_drops_what_speaks_against_the_class():
    network, image = planted(-1.0), shape_image()
    assert grad_cam(network, image, torch.ones(24, 30), 1, network[1]).values.eq(0).all()
    both = grad_cam(network, image, torch.ones(24, 30), 1, network[1], "both")
    assert torch.equal(both.values[0] < 0, image[0, 0] > 0)


def test_a_class_that_depends_on_nothing_gives_zeros():
    network, image = planted(), shape_image()
    assert grad_cam(network, image, torch.ones(24, 30), 2, network[1]).values.eq(0).all()

    class Constant(nn.Module):
        def forward(self, pixels):
            logits = network(pixels)
            return torch.cat([logits, torch.ones_like(logits[:, :1])], dim=1)

    assert grad_cam(Constant(), image, torch.ones(24, 30), 3, network[1]).values.eq(0).all()
    at_once = grad_cam_layers(Constant(), image, {"none": (3, torch.ones(24, 30))}, {"relu": network[1]})
    assert at_once["none"]["relu"].own.eq(0).all()


def test_doubling_the_score_doubles_the_map_and_moves_nothing(tiny, image, mask):
    once, twice = (grad_cam(tiny, image, factor * mask, 2, "level 1 block 2", "both").values for factor in (1, 2))
    assert once.abs().max() > 0
    torch.testing.assert_close(twice, 2 * once, rtol=1e-9, atol=1e-15)


def test_a_constant_gradient_weighs_channels_alike():
    activations = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    heat = combine(activations, torch.full_like(activations, 3.0), "both")
    torch.testing.assert_close(heat, 3 * activations.sum(dim=1))


def test_images_of_a_batch_do_not_meet(tiny, image, mask):
    regions = torch.stack([mask, mask.flip(0)])
    together = grad_cam(tiny, image, regions, 4, "level 2 block 2", "both").values
    for index in range(2):
        alone = grad_cam(tiny, image[index : index + 1], regions[index], 4, "level 2 block 2", "both").values
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-8, atol=1e-14)


def test_the_network_is_left_as_it_was(tiny, image, mask):
    tiny.train()
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    with torch.inference_mode():
        heat = grad_cam(tiny, image, mask, 5, "level 2 merged")
    assert tiny.training
    assert not heat.values.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in tiny.state_dict().items())
    assert not any(place.module._forward_hooks for place in places(tiny).values())
    tiny.eval()


def test_frozen_weights_do_no_harm(image):
    network = planted()
    expected = grad_cam(network, shape_image(), torch.ones(24, 30), 1, network[1]).values
    frozen = grad_cam(network.requires_grad_(False), shape_image(), torch.ones(24, 30), 1, network[1]).values
    assert torch.equal(frozen, expected)


def test_a_clicked_region_is_a_disc():
    region = disc(9, 12, 4, 5, 2).numpy()
    assert region.sum() == 13
    assert np.argwhere(region).mean(axis=0).tolist() == [4, 5]
    assert disc(9, 12, 0, 0, 0).sum() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_index": 9}, "class_index=9: the network has the classes 0 to 8"),
        ({"target_mask": torch.ones(3, 3)}, r"target_mask of shape \(3, 3\) does not fit"),
        ({"target_mask": torch.ones(3, SIZE, SIZE)}, "does not fit logits"),
        ({"layer": "level 9 gate"}, "layer='level 9 gate' is unknown: use logits, last decoder layer"),
        ({"evidence": "negative"}, "evidence='negative' is unknown: use positive or both"),
        ({"image": torch.zeros(1, SIZE, SIZE)}, "give .batch, channels, height, width."),
    ],
)
def test_what_does_not_fit_is_named(tiny, image, mask, change, message):
    given = {"image": image, "target_mask": mask, "class_index": 1, "layer": LAST} | change
    with pytest.raises(InputError, match=message):
        grad_cam(tiny, **given)


def test_tokens_need_their_grid(tiny, image, mask):
    with pytest.raises(InputError, match=r"PatchExpand: gives 4096 tokens; say on which grid"):
        grad_cam(tiny, image, mask, 1, tiny.decoder.levels[0].expand)
    with pytest.raises(InputError, match=r"layer='last decoder layer' is unknown: use 0, 1, 2"):
        grad_cam(planted(), shape_image(), torch.ones(24, 30), 1, "last decoder layer")
    unused = Place(nn.Conv2d(1, 1, 1))
    with pytest.raises(InputError, match="'never' did not run"):
        grad_cam_layers(tiny, image, {"a": (1, mask)}, {"never": unused})


def test_without_captum_the_extra_is_named(tiny, image, mask, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"captum is not installed: run pip install 'msa2net-workbook\[notebooks\]'"):
        grad_cam(tiny, image, mask, 1)


def test_the_score_sums_one_class_over_the_region():
    logits = torch.arange(24, dtype=torch.float64).reshape(1, 2, 3, 4)
    assert region_score(logits, np.eye(3, 4), 1).item() == 12 + 17 + 22


def test_idle_parts_are_no_places():
    """The released form's level 2 adds its skip without the gate, its level 3 only enlarges."""
    levels = [level.__dict__ for level in NetworkConfig.from_preset("released").levels]
    names = places(MSA2Net(NetworkConfig.from_dict(SMALL.to_dict() | {"levels": levels})))
    assert {"level 1 gate", "level 2 merged", "level 2 block 2"} <= set(names)
    assert not {"level 2 gate", "level 3 gate", "level 3 merged", "level 3 block 2"} & set(names)
