"""Every skip gate leaves PyTorch: torch.export and ONNX, with batch, height and width left open."""

from __future__ import annotations

import os
from shutil import which

import pytest
import torch
from torch import nn

from msa2net_lib.export import export_module
from msa2net_lib.nn.gates import GATES, build_gate
from msa2net_lib.nn.masag import MASAG

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("remembered_hints")]

AXES = {0: "batch", 2: "height", 3: "width"}
SHAPES = ((1, 6, 9, 4), (3, 6, 5, 7), (2, 6, 16, 16))


def pairs(*shape):
    return {"x": torch.randn(shape), "g": torch.randn(shape)}


class EveryGate(nn.Module):
    """All gates of the table on one x and g, their outputs one after another: one file a format instead of ten."""

    def __init__(self):
        super().__init__()
        self.gates = nn.ModuleList(trained(name) for name in GATES)

    def forward(self, x, g):
        return torch.cat([gate(x, g) for gate in self.gates], dim=1)


def trained(name):
    torch.manual_seed(0)
    gate = build_gate(name, 6)
    with torch.no_grad():
        for _ in range(3):  # statistics that are not a new layer's
            gate(*pairs(2, 6, 8, 8).values())
    return gate


@pytest.mark.parametrize(("format", "tolerance"), [("pt2", 1e-6), ("onnx", 1e-4)])
def test_files_compute_what_the_gates_do_at_any_size(format, tolerance, tmp_path):
    """As an exported program, which every other format starts from, and as ONNX."""
    done = export_module(
        EveryGate(),
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


@pytest.mark.parametrize(("format", "tolerance"), [("pt2", 1e-6), ("onnx", 1e-4)])
def test_in_3d_files_compute_what_the_gate_does_at_any_depth(format, tolerance, tmp_path):
    torch.manual_seed(0)
    gate, axes = MASAG(4, dims=3), {0: "batch", 2: "depth", 3: "height", 4: "width"}
    with torch.no_grad():
        for _ in range(3):
            gate(*pairs(2, 4, 4, 6, 6).values())
    shapes = ((1, 4, 3, 7, 4), (3, 4, 5, 6, 8), (2, 4, 4, 5, 5))
    probes = {str(shape): pairs(*shape) for shape in shapes}
    path = tmp_path / f"gate.{format}"
    done = export_module(gate, pairs(2, 4, 4, 6, 5), path, dynamic_axes=axes, probes=probes, tolerance=tolerance)
    assert done.largest_difference <= tolerance


def cpp_compiler():
    """A C++ compiler that torch's inductor would call, or None."""
    return next((found for name in (os.environ.get("CXX"), "g++", "clang++") if name and (found := which(name))), None)


@pytest.mark.skipif(cpp_compiler() is None, reason="torch.compile's inductor needs a C++ compiler, and none is here")
def test_compiled_by_inductor_it_computes_the_same(tmp_path, monkeypatch):
    """The default back end, which writes and compiles C++; other tests stop before that, at aot_eager."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    # No pool of processes for one gate, and no trial compilation of what this CPU says it can do.
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", True)
    torch.manual_seed(0)
    gate = MASAG(4).eval()
    x, g = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        expected = gate(x, g)
        torch.testing.assert_close(torch.compile(gate, fullgraph=True)(x, g), expected, rtol=1e-4, atol=1e-5)
