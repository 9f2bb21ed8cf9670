"""The gate's sheet: every tensor stands there with its shape, and what a switched-off stage changes is framed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, Rectangle

from msa2net_lib.analysis.interventions import STAGES
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.viz.gate_diagram import (
    BOXES,
    CHANGED,
    FLOW,
    REPLACED,
    SEQUENTIAL,
    SHARES,
    colored,
    draw_gate,
    draw_stage_off,
    thumbnail,
)


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts] + [text.get_text() for text in figure.texts]


def frames(figure, color):
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    return sum(to_hex(patch.get_edgecolor()) == color.lower() for patch in patches)


def test_every_tensor_stands_on_the_sheet_with_its_shape(study):
    trace = study.traces[1]
    assert list(BOXES) == [name for name, _ in trace.items()]
    figure = draw_gate(study, 1)
    written = texts(figure)
    for name, tensor in trace.items():
        assert BOXES[name].formula in written
        assert " × ".join(map(str, tensor.shape[1:])) in written
    assert {"the slice", "liver", "aorta", "noise of this test"} <= {*written, figure.axes[1].get_title()}
    images = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    assert len(images) == len(BOXES)
    np.testing.assert_allclose(images[0], trace.x[0].square().mean(0).sqrt(), rtol=1e-6)


def test_the_arrows_are_the_gates_own_dependencies(study):
    """Asked of autograd: a tensor has an arrow to another if and only if it enters it directly."""
    torch.manual_seed(0)
    gate = MASAG(4).eval()
    trace = gate.trace(torch.randn(1, 4, 6, 5, requires_grad=True), torch.randn(1, 4, 6, 5, requires_grad=True))
    tensors = dict(trace.items())
    sources = {end: {start for start, goal in FLOW if goal == end} for end in BOXES}

    def ancestors(name):
        return {name} | {one for start in sources[name] for one in ancestors(start)}

    for name, tensor in tensors.items():
        if name in ("x", "g"):
            continue
        reached = torch.autograd.grad(tensor.sum(), (trace.x, trace.g), retain_graph=True, allow_unused=True)
        assert {n for n, grad in zip("xg", reached, strict=True) if grad is not None} == ancestors(name) & {"x", "g"}
    assert ancestors("output") == set(BOXES)
    arrows = [patch for patch in draw_gate(study, 0).axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(FLOW) == len(set(FLOW))


def test_no_box_lies_on_another_or_off_the_sheet(study):
    figure = draw_gate(study, 0)
    width, height = figure.get_size_inches()
    corners = [(*box.at(0, 0), *box.at(1, 1)) for box in BOXES.values()]
    for i, (left, low, right, high) in enumerate(corners):
        assert left > 0
        assert right < width
        assert low > 0.8
        assert high < height - 0.6
        assert all(
            right < other[0] or other[2] < left or high < other[1] or other[3] < low for other in corners[i + 1 :]
        )


def test_what_a_switched_off_stage_changes_is_framed(study):
    assert frames(draw_gate(study, 0), REPLACED) == frames(draw_gate(study, 0), CHANGED) == 0
    for stage, replaced, changed in (("attention", 1, 2), ("sigmoids", 2, 6), ("skip", 1, 0)):
        figure = draw_gate(study, 0, stage, outlines=False)
        assert (frames(figure, REPLACED), frames(figure, CHANGED)) == (replaced, changed)
        assert any(f"Switched off: {stage}, instead {STAGES[stage][0]}" in text for text in texts(figure))


def test_stage_off_shows_both_rows_in_one_scale(study):
    figure = draw_stage_off(study, 0, "modulation")
    images = figure.axes[0].images
    assert len(images) == 10
    for above, below in zip(images[:4], images[5:9], strict=True):
        assert above.get_clim() == below.get_clim()
    np.testing.assert_allclose(images[6].get_array(), images[5].get_array())  # U' is U
    assert "without: modulation" in texts(figure)
    with pytest.raises(InputError, match="stage='x' is unknown"):
        draw_stage_off(study, 0, "x")
    with pytest.raises(InputError, match="level 3 has no MASAG"):
        draw_gate(study, 3)


def test_thumbnails_and_colors():
    x = torch.tensor([[[[3.0]], [[-4.0]]]])
    assert thumbnail(x, SEQUENTIAL).item() == pytest.approx(12.5**0.5)
    assert thumbnail(x, SHARES).item() == pytest.approx(-0.5)
    picture = colored(np.full((1, 2), 0.5, np.float32), np.array([[0, 5]], np.uint8), ORGANS)
    np.testing.assert_allclose(picture[0, 0], 0.5)
    assert picture[0, 1, 2] > picture[0, 1, 0]


def test_two_halves_hold_every_box_and_arrow_once_but_the_x_that_both_need(study):
    halves = [draw_gate(study, 0, half=half) for half in (1, 2)]
    for figure in halves:
        width, height = figure.get_size_inches()
        assert width <= 9.1, "a page is 930 pixels wide"
        assert height <= 6.2
        for image in figure.axes[0].images:
            left, right, low, high = image.get_extent()
            assert 0 < left < right < width
            assert 0 < low < high < height
    written = [texts(figure) for figure in halves]
    for box in BOXES.values():
        found = [box.formula in words for words in written]
        assert found == ([True, True] if box.formula in ("X", BOXES["x_selected"].formula, BOXES["g_selected"].formula)
                         else [box.column <= 5, box.column > 5]), box.formula  # fmt: skip
    arrows = [len([p for p in f.axes[0].patches if isinstance(p, FancyArrowPatch)]) for f in halves]
    assert sum(arrows) == len(FLOW)
    assert "1 multi-scale fusion" in written[0]
    assert "4 recalibration" in written[1]
