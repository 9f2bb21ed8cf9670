"""Measures of multi-scale fusion: effective receptive fields, and how far each branch spreads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from msa2net_lib.analysis.receptive_field import LOCAL_CONTEXT, effective_receptive_field, footprint_paths
from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.data.resize import normalize

if TYPE_CHECKING:
    from numpy.typing import NDArray


def local_field(study: Study, level: int, cell: tuple[int, int]) -> NDArray[np.float32]:
    """Effective receptive field (h, w) of the local branch at a cell, on the features X of this slice.

    Only what lies within the footprint is computed; no gradient reaches further (the tests hold it to that).
    """
    x, radius = study.traces[level].x, len(footprint_paths(LOCAL_CONTEXT)) // 2
    window = tuple(slice(max(0, at - radius), at + radius + 1) for at in cell)
    inside = (cell[0] - window[0].start, cell[1] - window[1].start)
    field = np.zeros(x.shape[-2:], np.float32)
    field[window] = effective_receptive_field(
        study.gate(level).fusion.local_context, x[..., window[0], window[1]], inside
    )
    return field


def encoder_field(study: Study, level: int, cell: tuple[int, int]) -> NDArray[np.float32]:
    """Effective receptive field on the slice itself (h, w), of the encoder's features X at a cell of a level."""
    pixels = torch.from_numpy(normalize(study.image))[None, None]
    pixels = pixels.to(next(study.network.parameters()).device)
    return effective_receptive_field(lambda image: study.network.encoder(image)[level], pixels, cell)


def branch_spread(study: Study) -> list[tuple[int, float, float, float]]:
    """Per level: standard deviation over pixels of both branches and of their sum (mean over channels for two)."""
    rows = []
    for level, trace in study.traces.items():
        local, both = trace.local_context, trace.local_context + trace.global_context
        spreads = [tensor.std(dim=(2, 3)).mean().item() for tensor in (local, trace.global_context, both)]
        rows.append((level, spreads[0], spreads[1], spreads[2]))
    return sorted(rows)
