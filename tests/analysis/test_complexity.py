"""Counts against fvcore's recorded ones, against torch's total, and against networks whose weights were changed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from small_run import SMALL
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib import MSA2Net
from msa2net_lib.analysis import complexity
from msa2net_lib.analysis.complexity import FVCORE_RECORDED, RULES, TRAINING, build_empty, count_work, counting_table
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.lessons.l08_network.study import walk
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.paper.discrepancies.variants import UNUSED, discrepancy_variants
from msa2net_lib.paper.tables import table_1

pytestmark = pytest.mark.slow

# fvcore 0.1.5.post20221221 on our networks at 224, timm's fused attention off; products are its conv, linear, matmul
# and einsum, then batch norm in evaluation and in training mode, layer norm, and both totals.
FVCORE = {
    "published": {
        "products": 5471888424 + 9534164992 + 279982080 + 115602752,
        "norms": (37314088, 93285220, 68678400),
        "totals": (15507630736, 15563601868),
    },
    "paper": {
        "products": 4932922920 + 10690220032 + 294432768 + 231205504,
        "norms": (37314088, 93285220, 70183680),
        "totals": (16256278992, 16312250124),
    },
}
OPERATIONS = {"published": 30803282000, "paper": 32297573456}


@cache
def empty(preset):
    """A preset's network without memory; building the large ones takes seconds."""
    return build_empty(NetworkConfig.from_preset(preset))


@cache
def used(preset):
    return complexity.used_and_unused(empty(preset))


@pytest.fixture(scope="module")
def work():
    return {name: count_work(empty(name)) for name in FVCORE}


def einsum_shortfall(channels, positions):
    """How much fvcore undercounts an efficient attention: it reads one of its two einsums from numpy's text."""
    arrays = np.zeros((1, channels, channels)), np.zeros((1, channels, positions))
    report = np.einsum_path("bkv,bkn->bvn", *arrays, optimize="optimal")[1]
    printed = next(line for line in report.splitlines() if "optimized flop" in line.lower())
    return channels * channels * positions - int(float(printed.split(":")[-1]) / 2)


@pytest.mark.parametrize("name", FVCORE)
def test_products_are_torchs_and_fvcores(work, name):
    products = int(work[name].products.sum())
    assert 2 * products == OPERATIONS[name]
    short = 2 * einsum_shortfall(384, 14 * 14)
    if name == "paper":
        short += 2 * einsum_shortfall(768, 7 * 7)
    assert short > 0
    assert products - FVCORE[name]["products"] == short


@pytest.mark.parametrize("name", FVCORE)
def test_norms_are_fvcores_exactly(work, name):
    batch, layer = (work[name].normalized(kind) for kind in complexity.NORMS)
    assert (2 * batch, 5 * batch, 5 * layer) == FVCORE[name]["norms"]


@pytest.mark.parametrize("name", FVCORE)
def test_rules_give_the_recorded_totals(work, name):
    rules = {rule.name: rule.total(work[name]) for rule in RULES}
    found = rules["fvcore, evaluation mode"], rules["fvcore, training mode"]
    assert found == pytest.approx(FVCORE[name]["totals"], abs=6000)
    assert rules["torch, operations"] == OPERATIONS[name]


def test_training_rule_prints_as_table_1_and_no_other_does(work):
    table = counting_table(work["published"]).g.round(2)
    assert list(table.index[table == table_1().loc["MSA²Net", "flops_g"]]) == [TRAINING.name]
    assert table["fvcore, evaluation, fused"] == 15.24
    assert table["fvcore, training, fused"] == 15.30


def test_the_recorded_number_lacks_as_much_as_stem_and_pre_norms(work):
    skipped = work["published"].normalized("batch norm", r"backbone\.stem\.|pre_norm")
    assert round((TRAINING.total(work["published"]) - 5 * skipped) / 1e9, 3) == FVCORE_RECORDED
    assert round(TRAINING.total(work["published"]) / 1e9, 3) != FVCORE_RECORDED


def test_real_weights_and_none_give_the_same_counts():
    """On the CPU timm's attention is one fused operation, on the meta device two products."""
    network = MSA2Net(SMALL)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.rand(1, 3, 64, 64))
    real, empty = count_work(network), count_work(build_empty(SMALL))
    assert real.products.equals(empty.products)
    assert real.norms.equals(empty.norms)
    assert real.attention == empty.attention > 0
    assert 2 * real.products.sum() == counter.get_total_flops()


def test_norms_that_do_not_run_are_not_counted():
    released = count_work(build_empty(replace(SMALL, levels=PRESETS["released"].levels, gray_stem=True)))
    assert released.products[["gate 3", "gate 2", "blocks 3", "linear 3"]].sum() == 0
    assert not released.norms.index.str.startswith("encoder.gray_stem").any()
    assert not released.norms.index.str.startswith("decoder.levels.3.gate").any()
    assert "decoder.levels.2.norm" in released.norms.index


@pytest.mark.parametrize("preset", PRESETS)
def test_parts_hold_every_parameter_once(preset):
    network = empty(preset)
    held = [id(p) for part in complexity.network_parts(network).values() for m in part for p in m.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    assert int(used(preset).sum().sum()) == count_parameters(network)


def test_parts_are_named_as_in_the_diagram():
    network = MSA2Net(replace(SMALL, levels=PRESETS["released"].levels, gray_stem=True))
    steps = walk(network, torch.rand(1, 1, 64, 64))
    assert list(complexity.network_parts(network)) == [step.name for step in steps if step.kind != "input"]


def test_modes_and_hooks_are_restored_even_after_an_error():
    network = MSA2Net(SMALL)
    network.decoder.levels[1].eval()
    before = [module.training for module in network.modules()]
    count_work(network)
    complexity.gradients(network)
    complexity.used_and_unused(network)
    network.config = replace(network.config, image_size=96)  # so that the next image does not fit
    with pytest.raises(ValueError):
        count_work(network)
    assert [module.training for module in network.modules()] == before
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("preset", "live", "unused"),
    [("published", 76_606_666, 36_161_315), ("released", 71_013_299, 22_647_578), ("paper", 103_340_666, 0),
     ("tiny", 4_278_846, 0)],
)  # fmt: skip
def test_live_and_idle_sums(preset, live, unused):
    assert tuple(used(preset).sum()) == (live, unused)


def test_published_idles_in_the_deepest_level_and_the_gray_stem_only():
    table = used("published")
    unused = table.unused[table.unused > 0]
    assert list(unused.index) == ["gray stem", "linear 3", "gate 3", "norm 3", "blocks 3"]
    assert (table.live[unused.index] == 0).all()
    assert unused["gray stem"] == 12  # 3 weights and 3 biases, and a norm of 3 channels
    assert unused["gate 3"] == 7_099_399  # as counted from the released source


def test_idle_parameters_do_not_move_the_logits_and_live_ones_do():
    torch.manual_seed(0)
    network = MSA2Net(discrepancy_variants(SMALL)[UNUSED]).eval()
    found, image = complexity.gradients(network), torch.rand(1, 3, 64, 64)
    unused = [name for name, gradient in found.items() if gradient is None]
    assert {".".join(name.split(".")[:4]) for name in unused} == {"decoder.levels.3.blocks"}
    parameters = dict(network.named_parameters())
    assert complexity._reached(network) == {p for name, p in parameters.items() if name not in unused}
    with torch.no_grad():
        before = network(image)
        for name in unused:
            parameters[name].add_(1.0)
        assert torch.equal(network(image), before)
        parameters["decoder.levels.3.expand.norm.weight"].add_(1.0)
        assert not torch.equal(network(image), before)


def test_vanishing_gradients_are_of_biases_that_a_softmax_ignores():
    torch.manual_seed(0)
    network = MSA2Net(SMALL).double().eval()
    names = complexity.vanishing(network)
    assert {".".join(name.split(".")[-3:]) for name in names} == {"spatial_attention.keys.bias", "mlp.fc2.bias"}
    attentions = sum(hasattr(module, "fused_attn") for module in network.modules())
    assert len(names) == attentions + 4  # 4 dual-attention blocks
    image, parameters = torch.rand(1, 3, 64, 64, dtype=torch.float64), dict(network.named_parameters())
    with torch.no_grad():
        before = network(image)
        for name in names:
            parameters[name].add_(torch.randn_like(parameters[name]))
        assert torch.allclose(network(image), before, rtol=0, atol=1e-9)
        parameters["decoder.levels.3.blocks.0.spatial_attention.queries.bias"].add_(torch.arange(64) % 5)
        assert not torch.allclose(network(image), before, rtol=0, atol=1e-9)


def test_gradients_leave_the_random_numbers_alone():
    network = MSA2Net(SMALL)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    complexity.gradients(network)
    complexity.used_and_unused(network)
    assert torch.equal(torch.rand(1), expected)
