"""The shipped network: small enough, made from today's configs, as good as its record says."""

from __future__ import annotations

import json

import pytest

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.utils.files import sha256

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def record():
    return json.loads(SHIPPED_TINY.with_suffix(".json").read_text())


def test_file_is_the_recorded_one_and_small(record):
    assert sha256(SHIPPED_TINY) == record["sha256"]
    assert SHIPPED_TINY.stat().st_size <= 15e6


def test_record_is_of_todays_configs(record):
    assert NetworkConfig.from_dict(record["network"]) == NetworkConfig.from_preset("tiny")
    assert TrainConfig.from_dict(record["training"]) == TrainConfig.from_recipe("smoke")
    assert load_network(SHIPPED_TINY).config == NetworkConfig.from_preset("tiny")


def test_held_out_scores_are_the_recorded_ones(record, root):
    """Scored again here; another machine's rounding may move single voxels, not a hundredth of an organ."""
    dataset = open_dataset("virtual", root / "data", progress=False)
    evaluation = evaluate(load_network(SHIPPED_TINY), dataset, protocols=("paper",), progress=False)
    assert evaluation.mean("paper")[0] == pytest.approx(record["held_out"]["mean_dsc"], abs=0.003)
    assert evaluation.mean("paper")[0] >= 0.80
    for organ, value in record["held_out"]["dsc"].items():
        assert evaluation.by_organ("paper").dsc[organ] == pytest.approx(value, abs=0.01), organ
