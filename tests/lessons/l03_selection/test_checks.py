"""Exercises on selection: independent right answers pass, stubs and half answers do not, mistakes differ."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from msa2net_lib.analysis.interventions import shuffle_pixels
from msa2net_lib.lessons.l03_selection.checks import select, selection, share, shuffled
from msa2net_lib.nn.masag import SpatialSelection


def test_selection_by_exponentials_in_numpy_passes():
    def by_exponentials(logits, x, g):
        logits, x, g = (tensor.numpy() for tensor in (logits, x, g))
        first, second = np.exp(logits[:, 0]), np.exp(logits[:, 1])
        total = first + second
        return x * (2 * first + second)[:, None] / total[:, None], g * (1 + second / total)[:, None]

    assert selection.diagnosis(by_exponentials) is None


def test_share_by_its_definition_passes():
    assert share.diagnosis(lambda s: 1 / (1 + torch.exp(s[:, 1:2] - s[:, 0:1]))) is None


def test_weights_shuffled_one_by_one_pass_and_so_does_the_pages_control():
    def one_by_one(weights, order):
        width = weights.shape[3]
        new = torch.empty_like(weights)
        for cell, taken in enumerate(order.tolist()):
            new[:, :, cell // width, cell % width] = weights[:, :, taken // width, taken % width]
        return new

    assert shuffled.diagnosis(one_by_one) is None
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(2, 1, 4, 5)
    torch.testing.assert_close(one_by_one(weights, order), shuffle_pixels(weights, seed=0))


def test_the_answer_is_what_the_librarys_stage_does():
    stage = SpatialSelection(5)
    u, x, g = (torch.randn(2, 5, 4, 6) for _ in range(3))
    for ours, theirs in zip(select(stage.project(u), x, g), stage(u, x, g), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_stubs_are_refused():
    assert "not yet" in str(selection.diagnosis(lambda logits, x, g: (x, g)))
    assert "1 result(s), expected 2" in str(selection.diagnosis(lambda logits, x, g: x))
    assert "not yet" in str(share.diagnosis(lambda logits: torch.full_like(logits[:, :1], 0.5)))
    assert "not yet" in str(shuffled.diagnosis(lambda weights, order: weights))


def test_mistakes_differ_from_each_other_and_from_the_answer():
    for check in (selection, share, shuffled):
        results = []
        for function in (check.answer, *check.mistakes.values()):
            given = [function(*arguments) for arguments in check._inputs()]
            results.append(
                [torch.cat([part.flatten() for part in (g if isinstance(g, tuple) else (g,))]) for g in given]
            )
        for one, other in itertools.combinations(results, 2):
            assert any(not torch.allclose(a, b, atol=1e-3) for a, b in zip(one, other, strict=True))
