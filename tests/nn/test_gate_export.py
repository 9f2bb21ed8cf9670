"""Every skip gate leaves PyTorch: torch.export and ONNX, with batch, height and width left open."""

from __future__ import annotations

import pytest
import torch

from msa2net_lib.export import export_module
from msa2net_lib.nn.gates import GATES, build_gate

AXES = {0: "batch", 2: "height", 3: "width"}
SHAPES = ((1, 6, 9, 4), (3, 6, 5, 7), (2, 6, 16, 16))


def pairs(*shape):
    return {"x": torch.randn(shape), "g": torch.randn(shape)}


@pytest.mark.parametrize(("format", "tolerance"), [("pt2", 1e-6), ("onnx", 1e-4)])
@pytest.mark.parametrize("name", GATES)
def test_files_compute_what_the_gate_does_at_any_size(name, format, tolerance, tmp_path):
    torch.manual_seed(0)
    gate = build_gate(name, 6)
    with torch.no_grad():
        for _ in range(3):  # statistics that are not a new layer's
            gate(*pairs(2, 6, 8, 8).values())
    done = export_module(
        gate,
        pairs(2, 6, 8, 6),
        tmp_path / f"gate.{format}",
        dynamic_axes=AXES,
        output="y",
        probes={str(shape): pairs(*shape) for shape in SHAPES},
        tolerance=tolerance,
    )
    assert done.path.is_file()
    assert set(done.compared) == set(map(str, SHAPES))
    assert done.largest_difference <= tolerance
