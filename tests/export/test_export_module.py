"""Single modules as files: equal outputs in every size, what is stored, and no file where something went wrong."""

from __future__ import annotations

import json
import sys
import zipfile
from functools import cache

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from msa2net_lib.config import LevelConfig
from msa2net_lib.errors import InputError
from msa2net_lib.export import DifferentOutputsError, export_module, open_exported, read_metadata, seeded_probes
from msa2net_lib.export import module as export_module_module
from msa2net_lib.export.compare import compare
from msa2net_lib.nn.decoder import DecoderLevel
from msa2net_lib.nn.masag import MASAG

pytestmark = pytest.mark.slow

MAP = {0: "batch", 2: "height", 3: "width"}
BOTH = pytest.mark.parametrize("format", ["onnx", "pt2"])


def pair(channels=6, size=(4, 5)):
    return {name: torch.zeros(2, channels, *size) for name in ("x", "g")}


@pytest.fixture(scope="module")
def gate():
    """A MASAG whose batch norms have seen something, in training mode."""
    torch.manual_seed(0)
    gate = MASAG(6)
    for _ in range(3):
        gate(torch.randn(4, 6, 8, 8), torch.randn(4, 6, 8, 8))
    return gate


@pytest.fixture(scope="module")
def exported(gate, tmp_path_factory):
    """The gate in a format, for maps of any size."""

    @cache
    def export(format):
        path = tmp_path_factory.mktemp("gate") / f"gate.{format}"
        return export_module(gate, pair(), path, dynamic_axes=MAP, output="y", metadata={"who": "²"})

    return export


@pytest.fixture
def evaluated(gate):
    gate.eval()
    yield gate
    gate.train()


@pytest.fixture
def convolution():
    torch.manual_seed(0)
    return nn.Conv2d(1, 3, 3, padding=1)


IMAGE = {"image": torch.zeros(2, 1, 8, 8)}


@BOTH
def test_a_gate_of_any_size(gate, exported, format):
    made = exported(format)
    assert gate.training  # a copy is exported
    assert made.largest_difference < 1e-6
    assert made.equal_argmax == 1
    assert made.bytes == made.path.stat().st_size
    assert list(made.path.parent.iterdir()) == [made.path]


@BOTH
def test_it_equals_the_gate_in_other_sizes(evaluated, exported, format):
    run = open_exported(exported(format).path)
    for shape in ((1, 6, 4, 5), (7, 6, 9, 3), (2, 6, 1, 1)):
        x, g = torch.randn(shape), torch.randn(shape)
        assert torch.allclose(run(x, g), evaluated(x, g), atol=1e-5)
    x, g = torch.randn(2, 6, 4, 5), torch.randn(2, 6, 4, 5)
    assert not torch.allclose(run(g, x), evaluated(x, g), atol=1e-2)  # the order of inputs is forward's


def test_onnx_is_valid_named_and_of_the_stated_opset(exported):
    path = exported("onnx").path
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [20]
    session = onnxruntime.InferenceSession(path)
    axes = ["batch", 6, "height", "width"]
    assert [(put.name, put.shape) for put in session.get_inputs()] == [("x", axes), ("g", axes)]
    assert [(put.name, put.shape) for put in session.get_outputs()] == [("y", axes)]
    assert json.loads(session.get_modelmeta().custom_metadata_map["msa2net"]) == {"who": "²"}
    assert read_metadata(path) == {"who": "²"}


def test_pt2_is_read_by_torch_alone(evaluated, exported):
    extra = {"msa2net": ""}
    module = torch.export.load(exported("pt2").path, extra_files=extra).module()
    assert json.loads(extra["msa2net"]) == read_metadata(exported("pt2").path) == {"who": "²"}
    x, g = torch.randn(3, 6, 7, 2), torch.randn(3, 6, 7, 2)
    assert torch.allclose(module(x, g), evaluated(x, g), atol=1e-6)


@pytest.mark.parametrize("place", ["extra_files/msa2net", "net/extra/msa2net", "archive/extra/msa2net"])
def test_a_pt2_of_another_torch_is_read_as_well(tmp_path, place):
    """torch 2.7 keeps extra files in another folder of the archive than those after it."""
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
        archive.writestr(place, '{"who": "²"}')
    assert read_metadata(tmp_path / "net.pt2") == {"who": "²"}


@BOTH
def test_no_folder_of_the_machine_is_in_the_file(exported, root, format):
    path = exported(format).path
    contents = [path.read_bytes()]
    if format == "pt2":
        with zipfile.ZipFile(path) as archive:
            contents = [archive.read(name) for name in archive.namelist()]
    for place in (str(root), sys.prefix, "site-packages"):
        assert not any(place.encode() in content for content in contents)


class Levels(nn.Module):
    """Decoder levels as a function of skip and gating map on a 4 x 4 grid."""

    def __init__(self, *levels):
        super().__init__()
        self.levels = nn.ModuleList(levels)

    def forward(self, x, g):
        return torch.cat([level(g.flatten(2).transpose(1, 2), (4, 4), x) for level in self.levels], dim=1)


def test_decoder_levels_of_the_released_layout(tmp_path):
    """Both kinds of block, with memory read as another shape between them."""
    torch.manual_seed(0)
    kinds = [LevelConfig("lka", "masag"), LevelConfig("dual_attention", "masag")]
    levels = Levels(*(DecoderLevel(8, kind, 2, "dense", "reinterpreted") for kind in kinds))
    for level in levels.levels:
        del level.blocks[1]  # pyright: ignore  # one is enough, and twice as fast
    made = export_module(levels, pair(8, (4, 4)), tmp_path / "levels.onnx")
    assert made.largest_difference < 1e-5


def test_inputs_of_different_sizes(tmp_path):
    class Resized(nn.Module):
        def forward(self, x, g):
            return x + nn.functional.interpolate(g, size=x.shape[-2:], mode="nearest")

    inputs = {"x": torch.zeros(2, 3, 8, 8), "g": torch.zeros(2, 3, 4, 4)}
    axes = {"x": MAP, "g": {0: "batch", 2: "rows", 3: "columns"}}
    made = export_module(Resized(), inputs, tmp_path / "resized.onnx", dynamic_axes=axes)
    x, g = torch.randn(1, 3, 6, 10), torch.randn(1, 3, 2, 3)
    assert torch.allclose(open_exported(made.path)(x, g), Resized()(x, g))


def test_probes_are_seeded_and_of_the_sizes_that_may_vary():
    probes = seeded_probes(pair(), MAP)
    shapes = [tuple(probe["x"].shape) for probe in probes.values()]
    assert shapes == [(1, 6, 4, 5), (2, 6, 8, 10), (3, 6, 12, 15), (5, 6, 4, 5)]
    assert [tuple(probe["image"].shape) for probe in seeded_probes(IMAGE).values()] == [
        (batch, 1, 8, 8) for batch in (1, 2, 3, 5)
    ]
    again, other = seeded_probes(pair(), MAP), seeded_probes(pair(), MAP, seed=1)
    assert all(torch.equal(again[name]["g"], probe["g"]) for name, probe in probes.items())
    assert not any(torch.equal(other[name]["g"], probe["g"]) for name, probe in probes.items())


@BOTH
def test_a_changed_weight_is_noticed(convolution, tmp_path, monkeypatch, format):
    """One weight of 27, changed by 1e-3: the file is whole, and is not kept."""
    trace = export_module_module.trace

    def altered(module, *args, **kwargs):
        other = nn.Conv2d(1, 3, 3, padding=1).requires_grad_(False)
        other.load_state_dict(module.state_dict())
        other.weight[1, 0, 2, 0] += 1e-3
        return trace(other, *args, **kwargs)

    monkeypatch.setattr(export_module_module, "trace", altered)
    with pytest.raises(
        DifferentOutputsError, match=r"largest difference [1-9]\.\de-03, .*; the limit is 1e-04"
    ) as told:
        export_module(convolution, IMAGE, tmp_path / f"one.{format}")
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_not_a_number_is_not_kept(convolution, tmp_path):
    convolution.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="the network's output is not finite: its weights are damaged"):
        export_module(convolution, IMAGE, tmp_path / "nan.pt2")
    assert list(tmp_path.iterdir()) == []


def test_what_is_compared():
    module = nn.Identity()
    probe = {"image": torch.tensor([[[1.0, 5.0]], [[2.0, 4.0]]]).transpose(0, 1)}  # batch 1, channels 2, 2 pixels
    assert compare(module, lambda image: image, probe) == (0, 1)
    swapped = compare(module, lambda image: image + torch.tensor([[[0.0, -2.0], [0.0, 0.0]]]), probe)
    assert swapped == (2, 0.5)  # 5 became 3, below 4: of two pixels one has another class
    with pytest.raises(DifferentOutputsError, match="shape"):
        compare(module, lambda image: image[..., :1], probe)


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize(("format", "moment"), [("onnx", "write_onnx"), ("pt2", "write_pt2"), ("pt2", "compare_all")])
def test_stopped_or_failed_leaves_what_was_there(convolution, tmp_path, monkeypatch, format, moment, trouble):
    """In the middle of writing, or with everything written."""
    path = tmp_path / f"one.{format}"
    path.write_bytes(b"before")

    def stop(_, temporary, *__):
        if moment.startswith("write"):
            temporary.write_bytes(b"half")
        raise trouble

    monkeypatch.setattr(export_module_module, moment, stop)
    with pytest.raises(trouble):
        export_module(convolution, IMAGE, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


def test_missing_package(convolution, tmp_path, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = ("onnxruntime", "run pip install 'msa2net-workbook[export]'")
    refused(words, export_module, convolution, IMAGE, tmp_path / "one.onnx")
    assert list(tmp_path.iterdir()) == []
    assert export_module(convolution, IMAGE, tmp_path / "one.pt2").largest_difference == 0


class BranchingModule(nn.Module):
    def forward(self, image):
        return image + 1 if image.sum() > 0 else image


class AttentionOfThreeAxes(nn.Module):
    def forward(self, image):
        tokens = image.flatten(2)
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)


def test_what_torch_cannot_trace_or_write_is_told_in_one_line(tmp_path, refused):
    one, other = tmp_path / "one.onnx", tmp_path / "one.pt2"
    for path in (one, other):
        refused(
            (str(path), "cannot trace it", "must not branch on values"), export_module, BranchingModule(), IMAGE, path
        )
    refused(("cannot write it as ONNX", "only 4D", "use format pt2"), export_module, AttentionOfThreeAxes(), IMAGE, one)
    assert list(tmp_path.iterdir()) == []
    assert export_module(AttentionOfThreeAxes(), IMAGE, other).largest_difference == 0


def test_weights_that_one_onnx_file_cannot_hold(convolution, tmp_path, monkeypatch, refused):
    monkeypatch.setattr("msa2net_lib.export.formats._LARGEST_ONNX", 100)  # bytes; the convolution has 120
    refused(("2 GB", "pt2"), export_module, convolution, IMAGE, tmp_path / "one.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "format", "words"),
    [
        ("one.bin", None, (".onnx or .pt2",)),
        ("one", "onnx", ("name the file .onnx",)),
        ("one.pt2", "onnx", ("name the file .onnx",)),
        ("one.onnx", "tflite", ("format='tflite'", "'onnx', 'pt2'")),
    ],
)
def test_format_and_ending(convolution, tmp_path, refused, name, format, words):
    refused(words, export_module, convolution, IMAGE, tmp_path / name, format)


def test_axes(convolution, tmp_path, refused):
    short = {"image": torch.zeros(1, 1, 8, 8)}
    refused(("'image'", "axis 0", "2 or more"), export_module, convolution, short, tmp_path / "one.pt2")
    axes = {"photograph": {0: "batch"}}
    refused(("photograph", "image"), export_module, convolution, IMAGE, tmp_path / "one.pt2", dynamic_axes=axes)


@BOTH
def test_files_that_cannot_be_opened(tmp_path, refused, format):
    path = tmp_path / f"one.{format}"
    for function in (open_exported, read_metadata):
        refused((path, "no such file"), function, path)
    path.write_bytes(b"not a network")
    refused((path, "damaged"), open_exported, path)
    refused((path, "no description"), read_metadata, path)
