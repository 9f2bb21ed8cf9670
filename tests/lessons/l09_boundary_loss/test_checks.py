"""The exercise on alpha: written another way it passes, stubs fail, and the draws reach every case that matters."""

from __future__ import annotations

import numpy as np

from msa2net_lib.lessons.l09_boundary_loss import checks
from msa2net_lib.lessons.l09_boundary_loss.checks import alpha


def by_neighbor_counts(mask):
    """Alpha by summing the four shifted copies of the mask, without any morphology."""
    padded = np.pad(mask.astype(int), 1)
    neighbors = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    edge = np.count_nonzero(mask & (neighbors < 4))
    return min(1 - 2 * edge / np.count_nonzero(mask), 0.8)


def test_another_way_passes(capsys):
    assert checks.alpha(by_neighbor_counts)
    assert capsys.readouterr().out == "alpha: correct\n"


def test_stubs_fail_in_one_line():
    assert str(alpha.diagnosis(lambda mask: 0.0)).startswith("not yet")
    assert str(alpha.diagnosis(lambda: 0.0)).startswith("it raised TypeError")


def test_draws_are_capped_negative_and_cut_off_at_times():
    masks = [inputs[0] for inputs in alpha._inputs()]
    values = [by_neighbor_counts(mask) for mask in masks]
    assert max(values) == 0.8
    assert min(values) < 0
    assert any(-0.5 < value < 0.8 for value in values)
    assert any(mask[0].sum() > 1 or mask[-1].sum() > 1 for mask in masks)


def test_mistakes_differ_from_each_other():
    answers = {m: [float(f(x[0])) for x in alpha._inputs()] for m, f in alpha.mistakes.items()}
    assert len({tuple(np.round(a, 3)) for a in answers.values()}) == len(answers)
