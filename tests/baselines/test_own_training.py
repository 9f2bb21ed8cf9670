"""A network's own recipe as it is run: settings as its repository has them, and one line where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import OPTIONS
from small_run import Slices, losses
from torch.nn import functional as F

from msa2net_lib import NetworkSpec, TrainConfig, build_network, load_network, train
from msa2net_lib.baselines.recipes import OWN_RECIPES
from msa2net_lib.baselines.registry import own_training
from msa2net_lib.baselines.table import NETWORKS, networks_of
from msa2net_lib.errors import InputError
from msa2net_lib.losses import build_loss

LOGITS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(3, (2, 8, 8), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("row", OWN_RECIPES)
def test_what_runs_is_what_the_page_says(row):
    recipe, config = OWN_RECIPES[row], own_training(networks_of(row)[0])[0]
    said = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}[config.optimizer]
    assert recipe.optimizer.startswith(f"{said} ")
    assert str(config.batch_size) in recipe.batch
    assert str(config.epochs) in recipe.epochs
    if "random" not in recipe.optimizer:
        words = recipe.optimizer.replace(",", " ").split()
        assert any(_number(word) == pytest.approx(config.learning_rate) for word in words)
    assert ("poly" in recipe.optimizer) == (config.schedule == "poly")
    assert ("test cases" in recipe.chosen) == (config.selection == "test")
    assert recipe.unit == ("[0, 1]" in recipe.images)
    assert config.recipe == "own"
    assert config.notes["otherwise"] == recipe.otherwise != ""
    assert TrainConfig.from_dict(config.to_dict()) == config


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")


def test_rates_are_scaled_where_the_repository_scales_them():
    assert own_training("daeformer")[0].peak_rate == pytest.approx(0.041667, abs=1e-6)
    assert own_training("hiformer_b")[0].peak_rate == 0.01, "10 is no multiple of 6"


def test_a_random_rate_is_a_function_of_the_seed():
    rates = [own_training("unet", seed)[0].learning_rate for seed in range(50)]
    assert own_training("attunet", 3)[0].learning_rate == rates[3]
    assert 5e-7 <= min(rates) < 1e-4 < 4e-4 < max(rates) <= 5.005e-4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scaleformer", "scaleformer was not released (ZJUGiveLab/ScaleFormer d3e2416); give --recipe synapse"),
        ("fatnet", "fatnet was not released (SZUcsh/FAT-Net 732db6e)"),
        ("msa2net_published", "msa2net_published is --recipe synapse, or isic"),
        ("mine", "mine was not released"),
    ],
)
def test_without_a_recipe_there_is_one_line(name, words):
    with pytest.raises(InputError) as caught:
        own_training(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_naming_steps_unsets_epochs_and_a_wrong_field_is_told():
    config, _ = own_training("transunet", steps=7, batch_size=2)
    assert (config.steps, config.epochs, config.batch_size) == (7, 0, 2)
    with pytest.raises(InputError, match="stepz"):
        own_training("transunet", stepz=7)
    with pytest.raises(InputError, match="--network NAME --recipe own"):
        TrainConfig.from_recipe("own")


def dice(logits, target, first=0):
    """As the repositories compute it, class by class, with loops."""
    probability, terms = logits.softmax(dim=1), []
    for k in range(first, logits.shape[1]):
        p, t = probability[:, k], (target == k).float()
        terms.append(1 - (2 * (p * t).sum() + 1e-5) / ((p * p).sum() + (t * t).sum() + 1e-5))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("weight", [0.5, 0.6])
def test_cross_entropy_and_dice_are_the_repositories_sum(weight):
    name = f"cross_entropy_{1 - weight:.1f}+dice_{weight}"
    expected = (1 - weight) * F.cross_entropy(LOGITS, TARGET) + weight * dice(LOGITS, TARGET)
    torch.testing.assert_close(build_loss(name, 3)(LOGITS, TARGET), expected)


def test_every_head_has_its_loss():
    heads = torch.stack([LOGITS, 2 * LOGITS, -LOGITS])
    each = [0.3 * F.cross_entropy(one, TARGET) + 0.7 * dice(one, TARGET) for one in heads]
    torch.testing.assert_close(build_loss("cross_entropy_0.3+dice_0.7, every head", 3)(heads, TARGET), sum(each))


def test_two_logits_are_one_sigmoid_and_balanced_classes_weigh_alike():
    two, mask = LOGITS[:, :2], (TARGET > 0).long()
    sigmoid = two[:, 1] - two[:, 0]
    expected = F.binary_cross_entropy_with_logits(sigmoid, mask.float())
    torch.testing.assert_close(build_loss("cross_entropy", 2)(two, mask), expected)
    each = F.binary_cross_entropy_with_logits(sigmoid, mask.float(), reduction="none")
    balanced = 0.5 * (each[mask == 1].mean() + each[mask == 0].mean())
    found = build_loss("balanced_cross_entropy_0.5+dice_0.5", 2)(two, mask)
    torch.testing.assert_close(found, 0.5 * balanced + 0.5 * dice(two, mask, first=1))


@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy_0.5+dice_0.5"])
def test_what_a_loss_cannot_take_is_one_line(name):
    loss = build_loss(name, 3)
    with pytest.raises(InputError, match=r"target: values outside 0\.\.2: 7"):
        loss(LOGITS, torch.full_like(TARGET, 7))
    with pytest.raises(InputError, match=r"logits: expected shape \(B, 3, H, W\)"):
        loss(LOGITS[:, :2], TARGET)
    with pytest.raises(InputError, match="is for one process"):
        build_loss(name, 3, add_up=lambda tensor: tensor)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pvt_cascade", "swin_unet", "uctransnet"])
def test_it_trains_by_its_own_recipe_and_its_file_knows_the_range(name, tmp_path):
    config, options = own_training(name, steps=2, batch_size=2, log_every=1, selection="last")
    spec = NetworkSpec(name, 3, 64, OPTIONS[name] | options)
    result = train(spec, config, Slices(), tmp_path, device="cpu", progress=False)
    assert np.isfinite(losses(result)).all()
    assert load_network(result.weights).config == spec
    plain = build_network(name, 3, 64, **OPTIONS[name]).eval()
    plain.load_state_dict(result.network.state_dict())
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(load_network(result.weights).eval()(image), plain(image * 0.5 + 0.5))


@pytest.mark.slow
def test_a_loss_of_every_head_needs_heads():
    config, _ = own_training("pvt_cascade", steps=1, batch_size=2, selection="last")
    with pytest.raises(InputError, match=r"^loss='cross_entropy_0\.3\+dice_0\.7, every head': unet has one head"):
        train(NetworkSpec("unet", 3, 64, OPTIONS["unet"]), config, Slices(), device="cpu", progress=False)


def test_every_network_but_the_papers_has_a_recipe_or_a_reason():
    without = {entry.row for entry in NETWORKS.values() if entry.row and not entry.own_recipe()}
    assert without == {"MSA²Net", "ScaleFormer", "FAT-Net"}
