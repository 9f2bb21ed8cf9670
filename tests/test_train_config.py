"""Recipes are data: each value of the paper's has its source, and scaled rates and steps are arithmetic."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from msa2net_lib.data.augment import AUGMENTATIONS
from msa2net_lib.errors import InputError
from msa2net_lib.losses import LOSSES
from msa2net_lib.train_config import CHOICES, RECIPES, TrainConfig


@pytest.mark.parametrize("recipe", ["synapse", "isic"])
def test_every_value_of_a_papers_recipe_that_differs_from_the_defaults_says_where_it_comes_from(recipe):
    config, ours = RECIPES[recipe], TrainConfig()
    technical = {"recipe", "steps", "notes", "checkpoint_every", "log_every", "validate_every"}
    changed = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(ours, f.name)}
    assert changed - technical <= set(config.notes)
    assert set(config.notes) <= {f.name for f in dataclasses.fields(config)}
    sources = ("paper", "released code", "this workbook's", "not said", "torch's default", "the last step")
    assert all(note.startswith(sources) for note in config.notes.values()), config.notes


def test_the_papers_numbers():
    """Section 4.2."""
    synapse, isic = RECIPES["synapse"], RECIPES["isic"]
    assert (synapse.epochs, synapse.batch_size, synapse.learning_rate) == (700, 20, 0.05)
    assert (synapse.momentum, synapse.weight_decay, synapse.optimizer) == (0.9, 1e-4, "sgd")
    assert (isic.epochs, isic.batch_size, isic.learning_rate, isic.optimizer) == (50, 16, 1e-4, "adam")
    assert isic.total_steps(1815) == 50 * 114


@pytest.mark.parametrize(
    ("batch_size", "scale", "rate"),
    [(20, True, 0.05 * 20 / 24), (20, False, 0.05), (24, True, 0.05), (16, True, 0.05), (120, True, 0.25)],
)
def test_the_released_scripts_scaling_is_a_switch(batch_size, scale, rate):
    config = TrainConfig.from_recipe("synapse", batch_size=batch_size, scale_rate=scale)
    assert config.peak_rate == pytest.approx(rate)


def test_steps_and_epochs_unset_each_other():
    assert TrainConfig.from_recipe("synapse", steps=10).total_steps(2211) == 10
    assert TrainConfig.from_recipe("smoke", epochs=2).total_steps(9) == 6
    assert TrainConfig.from_recipe("synapse").total_steps(2211) == 77_700


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"steps": 5, "epochs": 5}, "steps=5, epochs=5: give one of them"),
     ({"steps": 0}, "steps=0, epochs=0: give one of them, at least 1"),
     ({"accumulate": 9}, "accumulate=9: give at most batch_size=4"),
     ({"precision": "fp16"}, "precision='fp16' is unknown: use one of 'auto', 'fp32', 'bf16'"),
     ({"selection": "best"}, "selection='best' is unknown: use one of 'last', 'validation', 'test'"),
     ({"augment": "flips"}, "augment='flips' is unknown"),
     ({"seed": 2**32}, "seed=4294967296: give a whole number from 0 to 4294967295"),
     ({"seed": 2**70}, "seed: a whole number of 71 bits"),
     ({"seed": -1}, "seed=-1: give a whole number"),
     ({"learning_rate": float("nan")}, "learning_rate=nan: give a finite number"),
     ({"weight_decay": float("inf")}, "weight_decay=inf: give a finite number"),
     ({"momentum": -0.9}, "momentum=-0.9: give 0 or more"),
     ({"batch_size": 10**9}, "batch_size=1000000000: give at most 65536"),
     ({"batch_size": 4.0}, "batch_size=4.0: give a whole number"),
     ({"scale_rate": "false"}, "scale_rate='false': give True or False"),
     ({"steps": True}, "steps=True: give a whole number"),
     ({"optimizer": ["sgd"]}, "optimizer=['sgd'] is unknown")],
)  # fmt: skip
def test_mistakes_are_told(fields, message):
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        TrainConfig(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"learning_rate": np.logspace(-3, -2, 3)[1], "steps": np.int64(3)},
        {"batch_size": np.uint8(2), "seed": np.int32(5), "weight_decay": np.float32(0.5)},
        {"scale_rate": np.bool_(True), "optimizer": np.str_("sgd"), "notes": {np.str_("seed"): np.str_("drawn")}},
    ],
)
def test_numbers_of_numpy_are_numbers(fields, tmp_path):
    """They trained, and could then neither be saved nor resumed."""
    config = TrainConfig(**fields)
    again = TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config == TrainConfig(**fields)
    assert all(type(value).__module__ == "builtins" for value in config.to_dict().values())
    torch.save(config.to_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == config.to_dict()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_survives_json(recipe):
    config = RECIPES[recipe]
    again = TrainConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.notes == config.notes


def test_names_are_those_that_are_built():
    assert CHOICES["augment"] == AUGMENTATIONS
    assert set(CHOICES["loss"]) == set(LOSSES)
