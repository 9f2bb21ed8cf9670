"""Cards of the gates are read off the code: nothing is missing, nothing is made up, a changed gate changes its card."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l06_skip_gates import cards
from msa2net_lib.lessons.l06_skip_gates.cards import INPUTS, arrange, boxes_of, trace_steps
from msa2net_lib.nn.gates import GATES, build_gate, plain
from msa2net_lib.nn.network import count_parameters

every_gate = pytest.mark.parametrize("name", GATES)
COUNTED = {
    "convolution": "conv",
    "native_batch_norm": "batch norm",
    "relu": "ReLU",
    "sigmoid": "sigmoid",
    "_softmax": "softmax",
    "cat": "concatenate",
    "amax": "maximum",
    "mean": "mean",
    "mul": "×",
    "add": "+",
    "rsub": "1 minus",
    "upsample_bicubic2d": "stretch",
    "index": "permute",
}


@cache
def steps_of(name):
    return trace_steps(build_gate(name, 24), 24)


def edges_of(boxes):
    return ((start, box.name) for box in boxes.values() for start in box.takes)


@cache
def card_of(name):
    return cards.draw_card(name)


class Recorded(TorchDispatchMode):
    """Counts the operations on floating-point numbers that PyTorch runs, which no tracer has seen."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        first = result[0] if isinstance(result, tuple | list) else result
        if isinstance(first, torch.Tensor) and first.is_floating_point():
            self.counts[func.overloadpacket.__name__] += 1
        return result


@every_gate
def test_steps_are_the_operations_that_run(name):
    gate = build_gate(name, 24).eval()
    with torch.no_grad(), Recorded() as recorded:
        gate(torch.randn(2, 24, 9, 8), torch.randn(2, 24, 9, 8))
    drawn = Counter(
        operation
        for step in steps_of(name).values()
        for operation, words in COUNTED.items()
        if step.words.startswith(words)
    )
    assert drawn == {key: count for key, count in recorded.counts.items() if key in COUNTED}
    sources = [step for step in steps_of(name).values() if not step.takes]
    parts = [step for step in steps_of(name).values() if step.words.startswith("part ")]
    assert sum(drawn.values()) + len(sources) + len(parts) + 1 == len(steps_of(name))  # and Y


@every_gate
def test_what_reaches_what_is_as_in_the_code(name):
    """Nothing is drawn that Y does not depend on but an unused G, and no step is lost where steps are joined."""
    boxes = boxes_of(steps_of(name))
    before = {box.name: set(box.takes) for box in boxes.values()}
    for box in boxes:  # in the order of computation
        before[box] |= {further for start in before[box] for further in before[start]}
    assert ("g" in before["y"]) == GATES[name].uses_g
    assert set(boxes) - before["y"] - {"y"} == ({"g"} - before["y"])
    assert sorted(step.name for box in boxes.values() for step in box.steps) == sorted(steps_of(name))


def test_arrows_of_a_selection_and_of_masag_by_hand():
    """From the equations; a box goes by its last line before the shape."""
    named = {}
    for name in ("sk", "masag"):
        boxes = boxes_of(steps_of(name))
        last = {key: box.steps[-1].words for key, box in boxes.items()}
        named[name] = Counter((last[start], last[end]) for start, end in edges_of(boxes))
    x, g, product = INPUTS["x"], INPUTS["g"], "×"
    share, rest = "part 1", "1 minus"
    assert named["sk"] == Counter(
        [(x, share), (g, share), (share, product), (x, product), (share, rest), (rest, product), (g, product)]
        + [(product, "+")] * 2 + [("+", "Y")]
    )  # fmt: skip
    weights = [("softmax", "part 1"), ("softmax", "part 2"), ("part 1", product), ("part 2", product)]
    selected = [(x, product), (g, product), (product, "+"), (product, "+"), (x, "+"), (g, "+")]
    modulated = [("+", "sigmoid")] * 2 + [("+", product)] * 2 + [("sigmoid", product)] * 2 + [(product, "sigmoid")] * 2
    fused = [(x, "batch norm"), (g, "mean over channels"), (g, "maximum over channels")]
    fused += [("mean over channels", "batch norm"), ("maximum over channels", "batch norm")]
    fused += [("batch norm", "softmax")] * 2
    recalibrated = [("sigmoid", "batch norm"), (x, "batch norm"), ("batch norm", "Y")]
    assert named["masag"] == Counter(fused + weights + selected + modulated + recalibrated)


def test_words_and_shapes_of_masag():
    words = [(step.words, step.shape) for step in steps_of("masag").values()]
    assert ("conv 3×3 depthwise, dilation 2", "24 × h × w") in words
    assert ("conv 1×1, 24 → 2", "2 × h × w") in words
    assert ("maximum over channels", "1 × h × w") in words
    assert words[-1] == ("Y", "24 × h × w")
    dense = trace_steps(build_gate("masag", 24, "dense"), 24)
    assert [step.words for step in dense.values() if "dilation" in step.words] == ["conv 3×3, dilation 2"]
    with pytest.raises(InputError, match="channels=13 is taken for another axis"):
        trace_steps(build_gate("masag", 13), 13)


def test_tracing_leaves_the_gate_as_it_was():
    gate = build_gate("masag", 6).train()
    before = {key: value.clone() for key, value in gate.state_dict().items()}
    trace_steps(gate, 6)
    assert gate.training
    assert all(torch.equal(value, before[key]) for key, value in gate.state_dict().items())


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


@every_gate
def test_every_step_and_arrow_is_drawn(name):
    figure, boxes = card_of(name), boxes_of(steps_of(name))
    found = Counter(texts(figure))
    lines = Counter(line for box in boxes.values() for line in box.lines)
    if not GATES[name].uses_g:
        lines += Counter(["not used"])
        lines -= Counter(["24 × h × w"])
    assert not lines - found
    arrows = Counter(p.get_gid() for p in figure.axes[0].patches if ">" in (p.get_gid() or ""))
    assert arrows == Counter(f"{start}>{end}" for start, end in edges_of(boxes))


@every_gate
def test_boxes_keep_apart_and_arrows_run_to_the_right(name):
    figure = card_of(name)
    patches: Any = {p.get_gid(): p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)}
    assert set(patches) == set(boxes_of(steps_of(name)))
    extents = {key: p.get_bbox() for key, p in patches.items()}
    for key, one in extents.items():
        for other_key, other in extents.items():
            assert key == other_key or not one.overlaps(other)
    width, height = figure.get_size_inches()
    for box in extents.values():
        assert box.x0 > 0 and box.y0 > 0 and box.x1 < width and box.y1 < height - cards.HEAD + 0.1  # noqa: PT018
    for start, end in edges_of(boxes_of(steps_of(name))):
        below = extents[end].y1 < extents[start].y0
        assert extents[start].x1 < extents[end].x0 or below  # in the second row of a folded card
    assert width <= cards.PAGE
    assert height < 6.3


def test_every_symbol_of_an_equation_is_told():
    """X, G, A, Y, sigma and named functions are the family's notation; whatever else an equation has is explained."""
    for info in GATES.values():
        for symbol in (
            r"\theta_x",
            r"\phi_g",
            r"\psi",
            "L(",
            r"\Gamma",
            "W(",
            r"\overline",
            "U'",
            "a_c",
            r"\pi",
            "noise",
        ):
            if symbol in info.equation:
                assert {r"\overline": "bar"}.get(symbol, symbol.rstrip("(")) in info.symbols, (info.name, symbol)


@pytest.mark.parametrize("name", [None, *GATES])
def test_the_words_of_the_head_stay_on_the_sheet(study, name):
    figure = cards.draw_family(study, {}) if name is None else card_of(name)
    renderer = FigureCanvasAgg(figure).get_renderer()
    (ax,) = [ax for ax in figure.axes if not ax.images]
    symbols = {info.symbols for info in GATES.values() if info.symbols}
    right = ax.transData.transform((7.4, 0))[0] if name is None else figure.bbox.x1
    for text in ax.texts:
        if text.get_text() in symbols:
            assert text.get_window_extent(renderer).x1 < right, text.get_text()


@every_gate
def test_the_text_is_the_registrys(name):
    info, found = GATES[name], texts(card_of(name))
    assert f"${info.equation}$" in found
    assert info.source in found
    assert info.symbols in found or not info.symbols
    assert found[0].startswith(f"{info.title} ({name})")
    assert ("NEGATIVE CONTROL" in found[0]) == (info.kind == "control")
    sizes = {c: sum(p.numel() for p in build_gate(name, c).parameters()) for c in (24, 48, 96)}
    assert cards.gate_sizes(info) == sizes
    assert "parameters: " + ", ".join(f"{n:,} at {c}" for c, n in sizes.items()) + " channels" in found


def test_a_changed_gate_changes_its_card(monkeypatch):
    class Longer(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 5, padding=2)

        def forward(self, x, g):
            return self.first(x) * g.tanh()

    monkeypatch.setattr(plain, "Longer", Longer, raising=False)
    changed = replace(GATES["addition"], made_by="gates.plain:Longer", takes=("channels",), uses_g=True)
    found = texts(cards.draw_card(changed))
    assert "conv 5×5" in found
    assert "tanh" in found
    assert "not used" not in found
    assert any(text.startswith(f"parameters: {24 * 24 * 25 + 24:,} at 24") for text in found)
    with pytest.raises(InputError, match="gate='sum' is unknown"):
        cards.draw_card("sum")


def test_the_map_on_a_card_is_the_one_given(study):
    values = np.random.default_rng(1).random((16, 16)).astype(np.float32)
    figure = cards.draw_card("masag", study, values)
    (drawn,) = [ax for ax in figure.axes if ax.images and ax.get_title().startswith("masag, AUROC")]
    np.testing.assert_array_equal(drawn.images[0].get_array(), values)
    assert "noise of this test" in [text.get_text() for text in figure.texts]
    assert not [ax for ax in cards.draw_card("masag", study).axes if ax.images]


def test_the_family_on_one_sheet(study):
    values = np.random.default_rng(1).random((16, 16)).astype(np.float32)
    figure = cards.draw_family(study, {"masag": values, "random": values})
    found = texts(figure)
    for info in GATES.values():
        assert {info.title, info.source, f"${info.equation}$"} <= set(found)
        assert ", ".join(f"{n:,}" for n in cards.gate_sizes(info).values()) in found
    assert len([ax for ax in figure.axes if ax.images]) == 2
    assert found.count("none") == 2
    assert found.count("not measured") == len(GATES) - 4
    assert found.count("no") == sum(not info.uses_g for info in GATES.values())
    assert not [ax for ax in cards.draw_family(study, {}).axes if ax.images]


def test_longest_paths_and_heights():
    takes = {"a": (), "b": (), "c": ("a", "b"), "d": ("c",), "e": ("a", "d"), "alone": ()}
    columns, y = arrange(takes, dict.fromkeys(takes, 0.5))
    assert columns == {"a": 0, "b": 0, "c": 1, "d": 2, "e": 3, "alone": 0}
    assert set(y) - set(takes) == {("a", 1), ("a", 2)}
    for one, other in (("a", "b"), ("a", "alone"), ("b", "alone")):
        assert abs(y[one] - y[other]) >= 0.5 + cards.GAP - 1e-9
    for column, name in ((1, "c"), (2, "d")):  # a line passes beside a box, not through it
        assert abs(y["a", column] - y[name]) >= 0.25 + cards.GAP - 1e-9


def test_lines_that_need_not_cross_do_not():
    takes = {"a": (), "b": (), "c": (), "z": ("c",), "y": ("b",), "x": ("a",)}
    _, y = arrange(takes, dict.fromkeys(takes, 0.3))
    order = sorted("abc", key=lambda name: y[name])
    assert sorted("xyz", key=lambda name: y[name]) == [{"a": "x", "b": "y", "c": "z"}[name] for name in order]


def test_parameters_are_the_librarys_count():
    for info in GATES.values():
        assert cards.gate_sizes(info, (5,)) == {5: count_parameters(build_gate(info.name, 5))}


def test_six_gates_of_the_family_fit_a_page(study):
    figure = cards.draw_family(study, {}, list(GATES)[:6])
    width, height = figure.get_size_inches()
    assert width <= cards.PAGE
    assert height <= 6.2
    found = set(texts(figure))
    assert {info.title for info in GATES.values()} & found == {info.title for info in list(GATES.values())[:6]}
