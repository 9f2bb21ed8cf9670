"""The gate lessons run on a data set of three classes with names of its own."""

from __future__ import annotations

import torch

from msa2net_lib import MSA2Net
from msa2net_lib.analysis.slice_study import study_slice
from msa2net_lib.lessons.l02_fusion import plots as l02
from msa2net_lib.lessons.l03_selection import plots as l03
from msa2net_lib.lessons.l03_selection import study as weights
from msa2net_lib.lessons.l04_modulation import plots as l04
from msa2net_lib.lessons.l04_modulation.study import sharpness
from msa2net_lib.lessons.l06_skip_gates import plots as l06
from msa2net_lib.lessons.l06_skip_gates.cards import draw_card
from msa2net_lib.lessons.l07_decoder_blocks import plots as l07
from msa2net_lib.lessons.l07_decoder_blocks.study import trace_blocks
from msa2net_lib.viz.browsers import draw_browser_view
from msa2net_lib.viz.gate_diagram import draw_gate, draw_stage_off
from msa2net_lib.viz.maps import channel_map, plot_maps
from msa2net_lib.viz.orientation import plot_orientation

ORGANS = ["root", "leaf", "stone"]
"""Of the slice, largest first."""


def legend(figure):
    return {text.get_text() for box in figure.legends for text in box.get_texts()}


def test_a_study_has_the_data_sets_names(other_study):
    assert other_study.organs == ORGANS
    assert other_study.organ_id("root") == 2
    assert other_study.class_names == ("stone", "root", "leaf")


def test_figures_name_the_data_sets_classes(other_study, other_dataset):
    study, attention = other_study, channel_map(other_study.traces[0].attention, "mean")
    figures = [
        l02.plot_footprints(study, 30, 30),
        l02.plot_cursor(study, 0, 30, 30),
        l02.plot_reach(study, 0, 30, 30),
        l03.plot_weight_cursor(study, 1, 30, 30),
        l04.plot_modulation(study, 0),
        l04.plot_changed_inputs(study, 0, ["as it is", "G blank"]),
        plot_maps(study, l06.map_panels(study, {"masag": attention})),
        l06.draw_gate_map(study, {"untrained": {"masag": {0: attention[None]}}}, "untrained", "masag", 0),
        l07.plot_pixel(study, trace_blocks(study), 0, 30, 30),
        l07.plot_pixel(study, trace_blocks(study), 2, 30, 30),
        draw_browser_view(other_dataset.load_case("b"), 3),
        plot_orientation(other_dataset),
    ]
    for figure in figures:
        assert legend(figure) == set(ORGANS)
    words = {text.get_text() for ax in draw_gate(study, 0).axes for text in ax.texts}
    assert set(ORGANS) <= words
    assert draw_stage_off(study, 0, "selection").axes
    assert len(draw_card("masag", study, attention).axes) > 1


def test_tables_name_the_data_sets_classes(other_study, other_dataset):
    assert list(sharpness(other_study, 0).index) == ORGANS
    values = weights.selection_values([other_study])
    assert list(weights.mean_weights(values).index) == ["background", "stone", "root", "leaf"]
    labels = l03.plot_weight_histograms(values, "drawn squares").axes[0].get_yticklabels()
    assert [label.get_text().split(" ")[0] for label in labels] == ["background", "stone", "root", "leaf"]


def test_a_slice_without_classes_is_drawn(other_dataset):
    torch.manual_seed(0)
    case = other_dataset.load_case("b")
    empty = study_slice(MSA2Net.from_preset("tiny", num_classes=4, image_size=32), case, 0, "drawn")
    empty.label[:] = 0
    assert not legend(l02.plot_cursor(empty, 0, 5, 5))
