"""Figures and numbers of selection against the tensors they are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from study_fixtures import check_steps_within_a_cell

from msa2net_lib.analysis.interventions import predict
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.resize import normalize
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l03_selection.plots import (
    plot_weight_cursor,
    plot_weight_histograms,
    selected_panels,
    weight_panels,
)
from msa2net_lib.lessons.l03_selection.study import (
    edge_correlation,
    edge_map,
    mean_weights,
    selection_values,
    with_weights,
)


def predict_with_weights(study, change):
    return predict(study, {level: with_weights(study.gate(level), change) for level in study.levels})


@pytest.fixture(scope="module")
def values(studies):
    return selection_values(studies)


def test_weights_are_drawn_from_zero_to_one_and_add_up(studies):
    panels = weight_panels(studies[0])
    assert [panel.title for panel in panels[2:5]] == [
        "weight of X, level 2",
        "both added, level 0",
        "weight of G, level 0",
    ]
    assert {panel.limits for panel in panels if panel.title.startswith("weight")} == {(0, 1)}
    np.testing.assert_allclose(panels[3].values, 1, rtol=1e-6)
    for level in range(3):
        np.testing.assert_allclose(panels[level].values + panels[4 + level].values, 1, rtol=1e-6)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_factors_lead_from_x_to_x_selected(studies, level):
    """The size of X' is the size of X times the factor shown between them; one color scale for both."""
    x, factor_x, x_selected, difference, g, factor_g, g_selected = selected_panels(studies[0], level)
    for before, factor, after in ((x, factor_x, x_selected), (g, factor_g, g_selected)):
        np.testing.assert_allclose(before.values * factor.values, after.values, rtol=1e-4)
        assert before.limits == after.limits
        assert factor.values.min() >= 1
        assert factor.values.max() <= 2
    np.testing.assert_allclose(difference.values, factor_x.values - factor_g.values, atol=1e-5)


def test_values_hold_every_cell_once(studies, values):
    assert len(values) == sum(study.label_at(level).size for study in studies for level in study.levels)
    for study in studies:
        here = values[(values.study == study.name) & (values.level == 1)]
        np.testing.assert_array_equal(here.weight_x, study.traces[1].weight_x.flatten())
        assert (here.tissue == "liver").sum() == (study.label_at(1) == ORGANS.index("liver") + 1).sum()
    with pytest.raises(InputError, match="studies is empty"):
        selection_values([])


def test_means_against_masks(studies, values):
    table = mean_weights(values)
    weights = np.concatenate([study.traces[0].weight_x.numpy().ravel() for study in studies])
    liver = np.concatenate([study.label_at(0).ravel() for study in studies]) == ORGANS.index("liver") + 1
    assert table.loc["liver", (0, "mean")] == pytest.approx(weights[liver].mean(), rel=1e-5)
    assert table.loc["liver", (0, "size")] == liver.sum()
    assert list(table.index) == ["background", "aorta", "liver"]
    assert [level for level, _ in table.columns] == [0, 0, 1, 1, 2, 2]


def test_edges_are_where_the_slice_is_steep(studies):
    step = np.zeros_like(studies[0].image)
    step[:, 64:] = 1
    edges = edge_map(replace(studies[0], image=step), 0)
    assert edges.shape == (32, 32)
    assert set(np.argsort(edges.mean(axis=0))[-2:]) == {15, 16}
    assert edges[:, :14].max() < 1e-3


def test_correlation_with_own_and_other_edges(studies):
    weights = [study.traces[1].weight_x.numpy().ravel() for study in studies]
    edges = [edge_map(study, 1).ravel() for study in studies]
    own, other = edge_correlation(studies, 1)
    assert own == pytest.approx(np.corrcoef(np.r_[weights[0], weights[1]], np.r_[edges[0], edges[1]])[0, 1], abs=1e-6)
    assert other == pytest.approx(np.corrcoef(np.r_[weights[0], weights[1]], np.r_[edges[1], edges[0]])[0, 1], abs=1e-6)


def test_unchanged_weights_give_the_networks_own_label(studies):
    study = studies[1]
    with torch.inference_mode():
        logits = study.network(torch.from_numpy(normalize(study.image))[None, None])
    own = logits[0].argmax(dim=0).numpy()
    np.testing.assert_array_equal(predict_with_weights(study, "as trained"), own)
    np.testing.assert_array_equal(predict_with_weights(study, lambda weight: weight * 1.0), own)


def test_changed_weights_reach_every_gate(studies):
    """Half everywhere is what gates give whose projection is zero; the network is as before afterwards."""
    study = studies[1]
    halves = predict_with_weights(study, "one half everywhere")
    network = load_network(SHIPPED_TINY).eval()
    for level in study.levels:
        for parameter in network.decoder.levels[level].gate.selection.parameters():  # pyright: ignore
            torch.nn.init.zeros_(parameter)
    with torch.inference_mode():
        logits = network(torch.from_numpy(normalize(study.image))[None, None])
    np.testing.assert_array_equal(halves, logits[0].argmax(dim=0).numpy())
    assert (halves != predict_with_weights(study, "as trained")).any()
    with pytest.raises(InputError, match="change='half' is unknown: use one of as trained"):
        predict_with_weights(study, "half")


@pytest.mark.parametrize(("level", "row", "column"), [(0, 40, 40), (1, 127, 0), (2, 100, 98)])
def test_the_cursor_reads_what_is_there(studies, level, row, column):
    study = studies[1]
    figure = plot_weight_cursor(study, level, row, column)
    right = figure.axes[2]
    size = len(study.label_at(level))
    cell = (row * size // 128, column * size // 128)
    weight = study.traces[level].weight_x[0, 0, cell[0], cell[1]].item()
    assert [bar.get_height() for bar in right.patches] == pytest.approx([weight, 1 - weight], abs=1e-5)  # pyright: ignore
    assert right.get_title() == f"cell {cell}: {('background', *ORGANS)[study.label_at(level)[cell]]}"
    assert f"times {1 + weight:.3f}" in right.texts[0].get_text()


def test_histograms_count_each_tissues_cells(values):
    figure = plot_weight_histograms(values, "noise of this test")
    assert [ax.get_title() for ax in figure.axes[:3]] == [f"level {level} (cells)" for level in range(3)]
    counts = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(counts.sum(axis=1), 1)
    liver = values[(values.level == 0) & (values.tissue == "liver")]
    np.testing.assert_allclose(counts[2], np.histogram(liver.weight_x, np.linspace(0, 1, 11))[0] / len(liver))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][2] == f"liver ({len(liver)})"


def test_a_step_within_a_coarse_cell_is_seen(study):
    level = max(study.levels)
    check_steps_within_a_cell(lambda *at: plot_weight_cursor(study, level, *at), study, study.grid(level))
