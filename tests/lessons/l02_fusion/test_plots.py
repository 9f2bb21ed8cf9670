"""What the figures of fusion show is what the gate computed, at the place they show it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle
from study_fixtures import check_steps_within_a_cell

from msa2net_lib.analysis.receptive_field import LOCAL_CONTEXT, effective_receptive_field, footprint_paths
from msa2net_lib.data.resize import normalize
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l02_fusion.plots import fusion_panels, plot_cursor, plot_footprints, plot_reach
from msa2net_lib.lessons.l02_fusion.study import encoder_field, local_field
from msa2net_lib.viz.cursor import cell_at
from msa2net_lib.viz.maps import channel_map


def drawn_on(ax):
    """Arrays drawn by imshow on an axes, zeros for what is transparent."""
    return [np.ma.filled(image.get_array(), 0) for image in ax.images]


def test_cells_of_pixels(study):
    assert cell_at(study, study.grid(0), 0, 127) == (0, 31)
    assert cell_at(study, study.grid(2), 64, 15) == (4, 0)
    for row, column in ((-1, 0), (0, 128)):
        with pytest.raises(InputError, match="outside of the 128 x 128 slice"):
            cell_at(study, study.grid(0), row, column)


@pytest.mark.parametrize(("level", "cell"), [(0, (15, 10)), (0, (0, 31)), (1, (14, 1)), (2, (3, 2)), (2, (7, 7))])
def test_local_field_is_the_whole_maps(study, level, cell):
    """Looking at the footprint's window only changes nothing: beyond it the gradient is zero."""
    whole = effective_receptive_field(study.gate(level).fusion.local_context, study.traces[level].x, cell)
    np.testing.assert_allclose(local_field(study, level, cell), whole, rtol=1e-3, atol=1e-6)
    assert whole.any()


def test_encoder_field_against_one_difference_quotient(study):
    """Along one random direction, the change of X at the cell is no longer than the field allows, and not zero."""
    field = encoder_field(study, 0, (10, 12))
    assert field.shape == study.image.shape
    pixels = torch.from_numpy(normalize(study.image))[None, None]
    strongest = np.unravel_index(field.argmax(), field.shape)
    moved, step = pixels.clone(), 1e-2
    moved[0, 0, strongest[0], strongest[1]] += step
    with torch.inference_mode():
        change = (study.network.encoder(moved)[0] - study.network.encoder(pixels)[0])[0, :, 10, 12].norm() / step
    assert change.item() == pytest.approx(field.max(), rel=0.1)


def test_footprints_on_the_slice(study):
    figure = plot_footprints(study, 64, 64)
    level_0, level_2 = figure.axes[0], figure.axes[2]
    counts = drawn_on(level_0)[-1]
    np.testing.assert_array_equal(counts[13:20, 13:20], footprint_paths(LOCAL_CONTEXT))
    assert counts.sum() == 81
    assert "a cell is 16, the footprint 112 pixels" in level_2.get_title()
    (frame,) = [patch for patch in level_0.patches if isinstance(patch, Rectangle)]
    assert (frame.get_xy(), frame.get_width()) == ((13 * 4 - 0.5, 13 * 4 - 0.5), 28)
    assert any("noise of this test" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize(("level", "row", "column"), [(0, 64, 64), (1, 0, 127), (2, 127, 5)])
def test_cursor_shows_field_and_values(study, level, row, column):
    figure, trace = plot_cursor(study, level, row, column), study.traces[level]
    cell = cell_at(study, study.grid(level), row, column)
    _, middle, right = figure.axes[:3]
    np.testing.assert_allclose(drawn_on(middle)[-1], local_field(study, level, cell), rtol=1e-4, atol=1e-7)
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in right.lines}
    np.testing.assert_array_equal(lines["local context"], trace.local_context[0, :, cell[0], cell[1]])
    np.testing.assert_array_equal(lines["U, the norm of the sum"], trace.u[0, :, cell[0], cell[1]])
    (shared,) = [line for label, line in lines.items() if label.startswith("global context")]
    assert shared[0] == pytest.approx(trace.global_context[0, 0, cell[0], cell[1]].item())


def test_reach_frames_the_cell_on_both_axes(study):
    figure = plot_reach(study, 0, 40, 40)
    for ax in figure.axes[:2]:
        assert [patch.get_width() for patch in ax.patches if isinstance(patch, Rectangle)] == [4, 28]  # pyright: ignore
    assert drawn_on(figure.axes[1])[0].max() == 0


def test_panels_are_the_traces_tensors(study):
    panels = {panel.title: panel.values for panel in fusion_panels(study, 1)}
    trace = study.traces[1]
    np.testing.assert_array_equal(panels["mean of G over channels"], trace.g.mean(dim=1)[0])
    np.testing.assert_array_equal(panels["maximum of G over channels"], trace.g.amax(dim=1)[0])
    np.testing.assert_array_equal(panels["fused U (size)"], channel_map(trace.u))
    assert len(panels) == 7


def test_a_step_within_a_coarse_cell_is_seen(study):
    level = max(study.levels)
    check_steps_within_a_cell(lambda *at: plot_cursor(study, level, *at), study, study.grid(level))
