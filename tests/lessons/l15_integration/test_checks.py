"""The exercise of the adapter: an answer written another way passes, stubs and planted mistakes do not."""

from __future__ import annotations

import torch

from msa2net_lib.lessons.l15_integration import checks


def after_resampling(x, g, to_channels, gate):
    """Resampled first and mixed on the fine grid, with sampling places written out."""
    rows, columns = (
        ((torch.arange(n) + 0.5) / n * 2 - 1).to(g) for n in x.shape[-2:]
    )  # where grid_sample puts the centers of n pixels
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1)
    fine = torch.nn.functional.grid_sample(
        g, places.expand(len(g), -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=False
    )
    return gate(x, to_channels(fine))


def test_an_independent_answer_passes():
    assert checks.gated_skip.diagnosis(after_resampling) is None


def test_stubs_do_not():
    check = checks.gated_skip
    assert str(check.diagnosis(lambda x, g, to_channels, gate: torch.zeros_like(x))).startswith("not yet")
    assert "it raised ValueError: the gate got x of shape" in str(check.diagnosis(lambda x, g, mix, gate: gate(x, g)))
    assert "the gate got" in str(check.diagnosis(lambda x, g, mix, gate: gate(x, mix(g))))
    assert str(check.diagnosis(lambda x, g, mix, gate: mix(g))).startswith("it returned shape")
