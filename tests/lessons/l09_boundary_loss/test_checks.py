"""The exercise on alpha: written another way it passes, stubs fail, and the draws reach every case that matters."""

from __future__ import annotations

import numpy as np
import torch

from msa2net_lib.lessons.l09_boundary_loss import checks
from msa2net_lib.lessons.l09_boundary_loss.checks import alpha
from msa2net_lib.lessons.l09_boundary_loss.study import class_losses


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


def by_differences(p, t, alpha):
    """The gradient by moving one pixel's probability a little up and down."""

    def loss(q):
        whole, overlap = (q * q).sum() + t.sum(), (q * t).sum()
        return (whole - 2 * overlap) / (whole - (1 + alpha) * overlap)

    steps = torch.eye(p.numel(), dtype=p.dtype).reshape(-1, *p.shape) * 1e-5
    return torch.stack([(loss(p + s) - loss(p - s)) / 2e-5 for s in steps]).reshape(p.shape)


def by_hand(p, t, alpha):
    z, y, i = (p * p).sum(), (t * t).sum(), (p * t).sum()
    top, low = z + y - 2 * i, z + y - (1 + alpha) * i
    return (2 * (p - t) * low - top * (2 * p - (1 + alpha) * t)) / low**2


def by_sets(labels, classes, size):
    batches = labels.reshape(-1, size, *labels.shape[1:])
    return sum(1 - len({*batch.ravel().tolist()}) / classes for batch in batches) / len(batches)


def test_gradient_and_floor_written_another_way_pass():
    assert checks.gradient.diagnosis(by_hand) is None
    assert checks.gradient.diagnosis(by_differences) is None
    assert checks.floor.diagnosis(by_sets) is None


def test_an_absent_class_costs_one_without_a_gradient_and_the_others_pay():
    """What the page of lesson 09 says of an invented organ."""
    logits = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    target = torch.randint(0, 3, (1, 12, 12), generator=torch.Generator().manual_seed(4))
    means = []
    for push in (0.0, 2.0, 4.0, 8.0):
        leaf = logits + push * torch.eye(4)[3][:, None, None]
        leaf.requires_grad_()
        terms = class_losses(leaf, target)
        assert float(torch.autograd.grad(terms[3], leaf)[0].abs().max()) < 1e-12
        assert float(terms.detach()[3]) == 1
        means.append(float(terms.detach().mean()))
    assert means == sorted(means)
    assert len(set(means)) == 4
