"""Comparing skip gates: maps are the gates' own, agreement is an area under a curve, pictures say what is what."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small_run import SMALL

from msa2net_lib import MSA2Net, NetworkConfig
from msa2net_lib.analysis.randomization import reinitialized
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.resize import normalize
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import compare
from msa2net_lib.lessons.l06_skip_gates import plots
from msa2net_lib.lessons.l06_skip_gates import study as gates
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.viz.maps import plot_maps

pytestmark = pytest.mark.slow

TINY = NetworkConfig.from_preset("tiny", image_size=64)


def test_parameters_of_the_gates_by_formula():
    """Counted from the layers: 1x1 convolutions with bias, batch norms, MASAG's depthwise kernels."""
    with torch.device("meta"):
        networks = {name: MSA2Net(TINY.with_gate(name)) for name in gates.GATES}
    channels = (24, 48, 96)
    masag = {
        c: (9 * c + c) * 2 + 3 * 2 * c + c * c + c + 5 + 2 * c + 2 * c + 2 + 2 * (c * c + c + 2 * c) for c in channels
    }
    expected = {
        "addition": lambda c: 0,
        "concatenation": lambda c: 2 * c * c + c,
        "attention": lambda c: 2 * (c * c // 2 + c // 2 + c) + c // 2 + 1 + 2,
        "aff": lambda c: 2 * (c * (c // 4) + c // 4 + (c // 4) * c + c) + 2 * (c // 4) + 2 * c,
        "sk": lambda c: 32 * c + 32 + 32 * 2 * c,
        "masag": masag.get,
        "constant": lambda c: c + c * c + c + 2 * c,
        "shuffled": masag.get,
        "random": lambda c: c * c + c + 2 * c,
    }
    assert tuple(expected) == gates.GATES
    plain = count_parameters(networks["addition"])
    for name, count in expected.items():
        assert count_parameters(networks[name]) - plain == sum(count(c) for c in channels), name


def test_maps_are_the_traced_ones(study):
    maps = gates.gate_maps(study.network, study.image[None], "masag")
    assert set(maps) == {"masag", gates.SELECTION}
    for level, trace in study.traces.items():
        np.testing.assert_allclose(maps["masag"][level][0], trace.attention[0].mean(0).numpy(), atol=1e-6)
        np.testing.assert_allclose(maps[gates.SELECTION][level][0], trace.weight_x[0, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("name", gates.GATES)
def test_looking_changes_nothing(name):
    torch.manual_seed(0)
    network = MSA2Net(TINY.with_gate(name)).eval()
    images = np.random.default_rng(0).random((2, 64, 64), dtype=np.float32)
    pixels = torch.from_numpy(normalize(images))[:, None]
    with torch.no_grad():
        before = network(pixels)
        maps = gates.gate_maps(network, images, name)
        torch.testing.assert_close(network(pixels), before, rtol=0, atol=0)
    assert (name in maps) == (name not in ("addition", "concatenation"))
    for levels in maps.values():
        assert {level: values.shape for level, values in levels.items()} == {
            0: (2, 16, 16), 1: (2, 8, 8), 2: (2, 4, 4)
        }  # fmt: skip


def test_agreement_is_the_area_under_the_curve():
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    label = (rng.random((3, 9, 8)) < 0.3) * 5
    maps = rng.random((3, 9, 8)).round(1) + 0.2 * (label > 0)
    expected = torchmetrics.binary_auroc(
        torch.from_numpy(maps / 2).flatten(), torch.from_numpy(label > 0).flatten().long()
    )
    assert gates.agreement(maps, label) == pytest.approx(float(expected), abs=1e-6)


def test_agreement_at_its_ends():
    label = np.zeros((4, 4), np.uint8)
    label[:2, :2] = 3
    organ = (label > 0).astype(float)
    assert gates.agreement(organ, label) == 1.0
    assert gates.agreement(-organ, label) == 0.0
    assert gates.agreement(np.ones((4, 4)), label) == 0.5
    assert gates.agreement(np.array([[1.0, 0.0], [0.0, 0.0]]), label) == 1.0
    assert np.isnan(gates.agreement(organ, label * 0))


def test_sanity_table_against_its_parts(study):
    case = Case("case", study.image[None], study.label[None], None)
    table = gates.sanity_table(study.network, case, 0, [1, 2])
    assert len(table) == 1 + 3 * 2
    attention = study.traces[0].attention[0].mean(0).numpy()
    assert table.loc["trained: masag", "AUROC"] == pytest.approx(gates.agreement(attention, study.label), abs=1e-3)
    assert table.loc["image itself", "AUROC"] == pytest.approx(gates.agreement(study.image, study.label))
    drawn = [gates.gate_maps(reinitialized(study.network, "all", seed), study.image[None], "masag") for seed in (1, 2)]
    values = [gates.agreement(maps[gates.SELECTION][0], study.label) for maps in drawn]
    row = table.loc[f"nothing trained: {gates.SELECTION}"]
    assert [row.lowest, row.highest, row.AUROC] == pytest.approx([min(values), max(values), np.mean(values)])
    assert row["from a coin"] == pytest.approx(max(abs(value - 0.5) for value in values))


def test_maps_come_back_from_a_measurements_file():
    read = gates.maps_from_json(json.loads('{"masag": {"0": [[[0.25, 0.5]]]}}'))
    np.testing.assert_array_equal(read["masag"][0], np.float32([[[0.25, 0.5]]]))


RUNS = pd.DataFrame(
    {
        "variant": ["addition", "masag", "random"] * 3,
        "seed": np.repeat([1, 2, 3], 3),
        "dsc": [0.80, 0.90, 0.81, 0.82, 0.92, 0.79, 0.81, 0.91, 0.84],
        "agreement masag, 0": [np.nan, 0.7, np.nan, np.nan, 0.8, np.nan, np.nan, 0.9, np.nan],
        "agreement random, 0": [np.nan, np.nan, 0.6] * 3,
    }
)


def test_the_table_of_agreements():
    table = gates.agreement_table(RUNS, 0)
    assert list(table.index) == ["masag", "random"]
    assert table.loc["masag", "mean"] == pytest.approx(0.8)
    assert table.loc["masag", "sd"] == pytest.approx(0.1)
    assert gates.agreement_table(RUNS, 1).empty


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("masag", "masag, AUROC"),
        ("masag, weight of X", "masag, weight of X,"),
        ("nothing trained:\nattention", "nothing trained:"),
    ],
)
def test_a_title_does_not_reach_under_the_color_bar(study, name, first):
    lines = plots.map_panel(study, name, np.eye(16)).title.split("\n")
    assert lines[0].startswith(first)
    assert max(map(len, lines)) <= plots.TITLE_WIDTH
    assert "AUROC" in lines[-1]


def test_figures_show_the_maps_given(study):
    maps = {"masag": {0: np.eye(16, dtype=np.float32)[None]}, "constant": {0: np.full((1, 16, 16), 0.5, np.float32)}}
    figure = plot_maps(study, plots.map_panels(study, {name: levels[0][0] for name, levels in maps.items()}))
    images = {ax.get_title(): ax.images[0] for ax in figure.axes if ax.images and ax.get_title()}
    assert next(iter(images)) == "case, slice 1"
    (masag,) = [image for title, image in images.items() if title.startswith("masag, AUROC")]
    np.testing.assert_array_equal(masag.get_array(), np.eye(16))
    (constant,) = [image for title, image in images.items() if title.startswith("constant, AUROC 0.50")]
    assert constant.get_clim() == (0, 1)
    assert [title for title in images if "negative control" in title] == [t for t in images if "constant" in t]
    single = plots.draw_gate_map(study, {"just now": maps}, "just now", "masag", 0)
    np.testing.assert_array_equal(single.axes[1].images[0].get_array(), np.eye(16))
    assert "noise of this test" in [text.get_text() for text in single.texts]
    hatched = [bars for bars in single.axes[2].patches if bars.get_hatch()]
    assert len(hatched) == 1, "organ and background are told apart without color"
    for absent in ("addition", "attention"):
        with pytest.raises(InputError, match="addition and concatenation have none"):
            plots.draw_gate_map(study, {"just now": maps}, "just now", absent, 0)


def test_agreement_beside_score():
    less = RUNS[RUNS.variant != "random"].drop(columns="agreement random, 0")
    both = plots.plot_agreement({"less": (less, 0), "all": (RUNS, 0)}, "numbers of this test")
    assert [text.get_text() for text in both.legends[0].get_texts()] == ["addition (no map)", "masag", "random"]
    figure = plots.plot_agreement({"a": (RUNS, 0)}, "numbers of this test")
    dots = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(dots["masag"].get_xdata()[[1, 4, 7]] if len(dots["masag"].get_xdata()) > 3
                               else dots["masag"].get_xdata(), [0.7, 0.8, 0.9])  # fmt: skip
    np.testing.assert_allclose(dots["random"].get_ydata(), [0.81, 0.79, 0.84])


def test_runs_are_those_of_compare_and_are_taken_up_again(other_dataset, tmp_path):
    config, dataset = TrainConfig.from_recipe("smoke", steps=1, batch_size=2), other_dataset
    network = replace(SMALL, image_size=32, num_classes=4)
    variants = {name: network.with_gate(name) for name in ("addition", "masag")}
    runs, networks = gates.compare_gates(variants, config, [5], dataset, tmp_path, device="cpu")
    expected = compare({"masag": network}, config, [5], dataset, device="cpu", progress=False)
    masag = runs[runs.variant == "masag"].iloc[0]
    for column in ("dsc", "loss", "parameters", "dsc root"):
        assert masag[column] == pytest.approx(expected[column][0], abs=1e-9)
    assert set(networks) == {"addition", "masag"}
    assert runs.filter(like="agreement").shape[1] == 6
    again, _ = gates.compare_gates(variants, config, [5], dataset, tmp_path, device="cpu")
    pd.testing.assert_frame_equal(runs.drop(columns="minutes"), again.drop(columns="minutes"))
    with pytest.raises(InputError, match="at least one gate"):
        gates.compare_gates({}, config, [5], dataset)


def test_a_verdict_for_every_pair_in_one_table():
    """By hand, paired t over three seeds: b is above a by 0.1, 0.11, 0.12; c by -0.1, 0.1, 0.0."""
    scores = {"a": (0.5, 0.6, 0.7), "b": (0.6, 0.71, 0.82), "c": (0.4, 0.7, 0.7)}
    rows = [{"variant": k, "seed": seed, "dsc": v} for k, values in scores.items() for seed, v in enumerate(values)]
    table = gates.verdict_table(pd.DataFrame(rows), ("a", "b"))
    assert table.loc["a", "against a"] == table.loc["b", "against b"] == ""
    assert table.loc["b", "against a"] == "+0.110 (+0.085 to +0.135) better"
    assert table.loc["a", "against b"].endswith("worse")
    assert table.loc["c", "against a"].endswith("unclear")


def test_agreement_of_single_channels():
    network = load_network(SHIPPED_TINY)
    label = np.zeros((2, 64, 64), np.uint8)
    label[:, 20:40, 20:40] = 5
    case = Case("drawn", (0.2 + 0.1 * label).astype(np.float32), label, None)
    images, small = gates._slices(case, network.config.height_width)
    single, of_mean = gates.channel_agreement(network, case, 0)
    assert of_mean == pytest.approx(gates.agreement(gates.gate_maps(network, images, "masag")["masag"][0], small))
    assert single.shape == (24,)
    assert ((single >= 0) & (single <= 1)).all()
    assert np.ptp(single) > 0.1
