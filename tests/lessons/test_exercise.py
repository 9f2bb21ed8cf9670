"""Every planted mistake is refused with its own message; the right answer passes."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from msa2net_lib.lessons import exercise
from msa2net_lib.lessons.exercise import Check, checks_of, random_tensor, reveal
from msa2net_lib.lessons.l01_data.checks import window
from msa2net_lib.lessons.l08_network.checks import convolution, count_convolution
from msa2net_lib.lessons.l10_training.checks import poly, poly_learning_rate
from msa2net_lib.lessons.l11_evaluation.checks import dice
from msa2net_lib.lessons.registry import LESSONS

ROOMS = [f"msa2net_lib.lessons.l{name}" for name in LESSONS]
MODULES = [import_module(f"{room}.checks") for room in ROOMS if find_spec(room) and find_spec(f"{room}.checks")]
ALL = {name: check for module in MODULES for name, check in checks_of(module).items()}
PLANTED = [(name, message) for name, check in ALL.items() for message in check.mistakes]


@pytest.mark.parametrize(("name", "message"), PLANTED)
def test_each_planted_mistake_is_named(name, message):
    assert ALL[name].diagnosis(ALL[name].mistakes[message]) == message


@pytest.mark.parametrize("name", ALL)
def test_at_least_four_mistakes_are_known(name):
    assert len(ALL[name].mistakes) >= 4


def test_independent_answers_pass(capsys):
    assert window(lambda hu: (np.minimum(np.maximum(hu, -125), 275) + 125) / 400)
    assert dice(lambda p, t: 2 * np.sum(p * t) / (np.sum(p) + np.sum(t)))
    assert poly(lambda step, steps, base: base * np.exp(0.9 * np.log1p(-step / steps)))
    assert capsys.readouterr().out.splitlines() == ["window: correct", "dice: correct", "poly: correct"]


def test_poly_is_what_torch_schedules():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.05)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=40, power=0.9)
    for step in range(40):
        assert schedule.get_last_lr()[0] == pytest.approx(poly_learning_rate(step, 40, 0.05), rel=1e-9)
        optimizer.step()
        schedule.step()


ADD = Check(
    "add",
    lambda x, y: (x + y, x - y),
    lambda rng: (random_tensor(rng, 1, 2, 5, 6), random_tensor(rng, 1, 2, 5, 6)),
    {"the signs are swapped": lambda x, y: (x - y, x + y)},
)


def test_tensors_and_several_results():
    assert ADD.diagnosis(lambda x, y: (y + x, -(y - x))) is None
    assert ADD.diagnosis(lambda x, y: (x - y, x + y)) == "the signs are swapped"
    assert ADD.diagnosis(lambda x, y: (x, y)) == "not yet: it returns `x`, `y` as it came in"


def test_code_that_writes_into_its_inputs_is_told_so_and_changes_nothing_for_the_next():
    def in_place(x, y):
        x += y
        return x, x - 2 * y

    told = "the result is right, but `x` was written into: leave what you are given as it was"
    assert ADD.diagnosis(in_place) == told
    assert ADD.diagnosis(in_place) == told


def test_the_worst_map_is_shown_beside_the_right_one_and_in_words(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(exercise, "display", shown.append)
    inputs = ADD._inputs()
    x, y = (t.numpy() for t in inputs[3])

    def wrong_at_one_place(one, other):
        right = one + other
        if np.array_equal(one, x):
            right[0, 1, 2, 4] += 5
        return right, one - other

    assert not ADD(wrong_at_one_place)
    (figure,) = shown
    assert [ax.get_title() for ax in figure.axes[:3]] == ["target", "yours", "yours - target"]
    assert len(figure.axes) == 6, "a color bar beside each map"
    target, yours, gap = (ax.images[0] for ax in figure.axes[:3])
    np.testing.assert_allclose(target.get_array(), (x + y)[0, 1])
    for image in (target, yours, gap):
        assert image.norm.vmin == -image.norm.vmax
    assert target.norm.vmax == yours.norm.vmax == np.abs(yours.get_array()).max()
    told = capsys.readouterr().out.splitlines()[1]
    where = "worst at first result, sample 0, channel 1, row 2, column 4"
    assert told == f"{where}: yours {(x + y)[0, 1, 2, 4] + 5:.4g}, target {(x + y)[0, 1, 2, 4]:.4g}"
    assert not ADD(lambda x, y: (x, y)), "no picture of an untouched stub"
    assert not ADD(lambda x, y: (x * 0, y * 0))
    assert ADD(lambda x, y: (x + y, x - y))
    assert not ADD(lambda x, y: 1 // 0)
    assert not dice(lambda p, t: 0.0)
    assert len(shown) == 1


def test_the_answer_is_the_source_as_it_is():
    page = reveal(poly_learning_rate).data
    assert page is not None
    assert "<details>" in page
    assert "base * (1 - step / steps) ** 0.9" in page


def test_stubs_and_errors_are_answered_in_one_line():
    assert window.diagnosis(lambda hu: hu[0]).startswith("it returned shape (7,), expected (6, 7)")
    assert dice.diagnosis(lambda p, t: 0.0) == "not yet: it returns 0, whatever the input"
    assert dice.diagnosis(lambda p: 0.0).startswith("it raised TypeError")


def test_convolution_counts_by_hand_and_as_the_formula():
    """A depthwise 3 x 3 on 4 channels: 36 weights, 4 biases, each weight used on 5 x 6 pixels."""
    assert count_convolution(4, 4, 3, 4, 5, 6) == (40, 1080)
    assert convolution(lambda i, o, k, g, h, w: (o * (i // g) * k**2 + o, o * (i // g) * k**2 * h * w))
    assert "not yet" in str(convolution.diagnosis(lambda i, o, k, g, h, w: (0, 0)))


def test_every_lesson_with_an_exercise_is_here():
    assert len(MODULES) >= 16
    assert len(ALL) >= 21


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda x, y: ((x + y)[:, :, :5, :6], x - y), "written out for them? for others it returned shape"),
        (lambda x, y: (x + y) if x.shape[1] == 4 else (x + y, x - y), "it returned 1 result(s), expected 2"),
        (lambda x, y: (torch.zeros(1, 2, 5, 6), torch.zeros(1, 2, 5, 6)), "it returned shape (1, 2, 5, 6)"),
        (lambda x, y: None if x.shape[1] == 4 else (x + y, x - y), "a result is NoneType"),
    ],
)
def test_what_fits_the_first_input_alone_is_told(monkeypatch, capsys, answer, told):
    """Sizes that were written out, as a stub may have them."""
    grows = Check("grows", ADD.answer, lambda rng: _grown(rng), {})
    assert not grows(answer)
    (line,) = capsys.readouterr().out.splitlines()
    assert told in line


def _grown(rng):
    """The first is 1 x 2 x 5 x 6, later ones are larger."""
    more = int(rng.integers(1, 3)) if rng.bit_generator.seed_seq.entropy else 0
    shape = (1, 2 + 2 * (more > 0), 5 + more, 6 + more)
    return random_tensor(rng, *shape), random_tensor(rng, *shape)


@pytest.mark.parametrize("power", [1.3, 0.5, 3.7])
def test_a_number_that_is_wrong_is_told_for_tensors_too(power):
    total = Check("total", lambda x: float((x * x).sum()), lambda rng: (random_tensor(rng, 3, 4),), {})
    assert total.diagnosis(lambda x: float(x.abs().max() ** power + x[0, 0].sin())) is not None


@pytest.mark.parametrize("scale", [1e4, 1e6, 1e9])
def test_large_numbers_in_low_precision_are_told(scale):
    large = Check("large", lambda x: x.exp() * scale, lambda rng: (random_tensor(rng, 2, 3, 4, 5),), {})
    assert "low precision" in str(large.diagnosis(lambda x: (x.float().exp() * scale).double()))
    two = Check("two", lambda x: (x, x.exp() * scale), lambda rng: (random_tensor(rng, 2, 3, 4, 5),), {})
    told = str(two.diagnosis(lambda x: (x.clone(), (x.float().exp() * scale).double())))
    assert told.startswith("the first is right; the second result: right to about")


SUM = Check("sum", lambda numbers, x: x.sum() + sum(numbers), lambda rng: ([5, 2, int(rng.integers(9))],
            random_tensor(rng, 3, 4)), {})  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda x, y: (x + y + 0j, x - y), "a result is complex: take its real part, or its magnitude (abs)"),
        (lambda x, y: ((x + y).numpy() * 1j, x - y), "a result is complex"),
        (lambda x, y: (part for part in (x + y, x - y)), "a result is generator, where numbers are expected"),
        (lambda x, y: {"sum": x + y}, "a result is dict"),
        (lambda x, y: (), "it returned 0 result(s), expected 2"),
        (lambda x, y: [], "it returned 0 result(s), expected 2"),
        (lambda x, y: x + y, "it returned 1 result(s), expected 2: it is the first; the others are missing"),
        (lambda x, y: (x, y, x), "it returned 3 result(s), expected 2"),
        (lambda x, y: (x[:0], y[:0]), "it returned shape (0, 2, 5, 6)"),
        (lambda x, y: ("a", "b"), "a result is str"),
        (lambda x, y: ([[1], [2, 3]], x), "it raised ValueError"),
        (lambda x, y: sys.exit("bye"), "it raised SystemExit: bye"),
        (lambda x, y: exit(), "it raised SystemExit"),
        (lambda x, y: int("\n".join("ab" * 500)), "it raised ValueError: invalid literal"),
        (torch.zeros(1, 2, 5, 6), "it is Tensor, what a function gives: hand over the function itself"),
        (3.5, "it is float, what a function gives"),
        (None, "it is NoneType, what a function gives"),
        ((1, 2), "it is tuple, what a function gives"),
        (lambda x, y: ((x + y).to(torch.bfloat16), x - y), "low precision"),
        (lambda x, y: (x + y, (x - y).to_sparse()), "it raised TypeError"),
        (lambda x, y: (x.to("meta"), y.to("meta")), "it raised "),
        (lambda x, y: (x * float("nan"), x - y), "it has nan or infinity"),
        (lambda x, y: (x * float("inf"), y * float("inf")), "it has nan or infinity"),
    ],
)
def test_answers_of_every_kind_are_told_in_one_line(monkeypatch, capsys, answer, told):
    monkeypatch.setattr(exercise, "display", lambda figure: figure.canvas.draw())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not ADD(answer)
    first, *worst = capsys.readouterr().out.splitlines()
    assert told in first
    assert len(first) <= 510
    assert all(line.startswith("worst at") for line in worst)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: torch.complex(torch.zeros_like(x), -x).conj().imag,
        lambda x: torch.fft.ifft2(torch.fft.fft2(x)).real,
        lambda x: torch._neg_view(-x),
        lambda x: x.clone().requires_grad_(),
        lambda x: x.T.contiguous().T if x.ndim == 2 else x.flip(-1).flip(-1),
    ],
)
def test_right_numbers_are_right_in_whatever_view(view):
    assert ADD.diagnosis(lambda x, y: (view(x + y), view(x - y))) in (None, None)


@pytest.mark.parametrize(
    "change", [list.sort, list.reverse, list.clear, lambda n: n.append(0), lambda n: n.insert(0, 7)]
)
def test_a_list_that_was_written_into_is_told(change):
    def answer(numbers, x):
        result = x.sum() + sum(numbers)
        change(numbers)
        return result

    assert SUM.diagnosis(lambda numbers, x: x.sum() + sum(numbers)) is None
    assert (
        SUM.diagnosis(answer)
        == "the result is right, but `numbers` was written into: leave what you are given as it was"
    )
