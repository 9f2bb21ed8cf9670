"""The network that ships in both formats, and `docs/run_onnx.py` on it without torch and without this library.

Whole, as ONNX, it is written once: tracing and translating take most of a minute on a busy core.
"""

from __future__ import annotations

import ast
import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_networks import shortened

from msa2net_lib import MSA2Net
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network, read_fingerprint
from msa2net_lib.config import PRESETS, LevelConfig
from msa2net_lib.data.volumes import read_volume, window
from msa2net_lib.export import export_network, open_exported
from msa2net_lib.export import network as export_network_module
from msa2net_lib.inference import predict_volume
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.prediction.field_of_view import match_field_of_view

pytestmark = pytest.mark.slow

SLICES = (75, 90, 100, 110)  # of patient 1: 4 to 8 organs each


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory, root):
    return export_network(path=tmp_path_factory.mktemp("onnx") / "tiny.onnx", data_dir=root / "data")


def check(made, network, most):
    assert made.largest_difference < 2e-5  # measured: 6.7e-06 in ONNX, 0 in pt2
    assert made.equal_argmax == 1
    image = torch.randn(4, 1, *network.config.height_width)
    with torch.no_grad():
        assert torch.allclose(open_exported(made.path)(image), network(image), atol=1e-4)
    assert 4 * count_parameters(network) < made.bytes < most


def test_onnx(onnx_file):
    shipped = load_network(SHIPPED_TINY)
    check(onnx_file, shipped, 4.6 * count_parameters(shipped))


def test_pt2(tmp_path, root, monkeypatch):
    """Of each kind of part one: it is torch's own format, and keeps what torch traced, for ONNX as well."""
    first, *_, last = PRESETS["tiny"].levels
    levels = (first, LevelConfig("none", "addition"), LevelConfig("none", "addition"), last)
    network = shortened(MSA2Net.from_preset("tiny", image_size=64, levels=levels), attention=[2]).eval()
    monkeypatch.setattr(export_network_module, "open_checkpoint", lambda *_: copy.deepcopy(network))
    made = export_network(path=tmp_path / "tiny.pt2", data_dir=root / "data")
    check(made, network, 4 * count_parameters(network) + 1e6)
    assert "a slice of the example CT" in made.compared


def test_run_onnx(onnx_file, tmp_path, root):
    """The label map is the library's to the last pixel, and that of `msa2net predict`, which resamples nothing here."""
    scan = root / "data" / "example_ct" / "img" / "img0001.nii.gz"
    volume = read_volume(scan)
    gray = window(volume.array)
    assert match_field_of_view(gray, volume, read_fingerprint(SHIPPED_TINY), "auto")[1] is None
    expected = predict_volume(load_network(SHIPPED_TINY), gray[list(SLICES)])
    for index, labels in zip(SLICES, expected, strict=True):
        found = labeled_alone(root / "docs" / "run_onnx.py", onnx_file.path, scan, index, tmp_path / "labels.npy")
        assert found.dtype == np.uint8
        assert np.array_equal(found, labels), index
    assert min(len(np.unique(labels)) for labels in expected) > 4


def labeled_alone(script, *arguments):
    """What the script writes to the last of its arguments, in a Python without torch, this library and SciPy."""
    blocked = "import sys, runpy; sys.modules.update(torch=None, msa2net_lib=None, scipy=None); "
    blocked += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", blocked, str(script), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=arguments[-1].parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.load(arguments[-1])


def test_run_onnx_is_short_and_needs_nothing_else(root):
    source = (root / "docs" / "run_onnx.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    docstring = ast.get_docstring(tree) or ""
    assert len([line for line in source.splitlines() if line.strip()]) - len(docstring.splitlines()) <= 20
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"gzip", "json", "sys", "numpy", "onnxruntime"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    assert source in (root / "docs" / "export.md").read_text(encoding="utf-8")
