"""Networks as files: what the file says of itself, what stays out of it, and what is in the way of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from safetensors.torch import save_file

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network, read_fingerprint, save_network
from msa2net_lib.cli.main import main
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.data.fingerprint import DatasetFingerprint
from msa2net_lib.data.images.recipes import RECIPES
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.export import export_network, open_exported, read_metadata
from msa2net_lib.export import module as export_module_module
from msa2net_lib.export.network import example_slice, without_unused_parts
from msa2net_lib.nn.network import MSA2Net, count_parameters
from msa2net_lib.utils.files import sha256
from msa2net_lib.utils.system_info import library_version

pytestmark = pytest.mark.slow

PICTURES = DatasetFingerprint("images", recipe=dataclasses.asdict(RECIPES["dlka"]), height_width=(64, 64))


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run ``msa2net export`` in an empty folder; returns exit code, output and errors."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments):
        code = main(["export", *map(str, arguments)])
        return code, *capsys.readouterr()

    run.folder = folder  # pyright: ignore[reportFunctionMemberAccess]
    return run


def test_what_the_file_says(thin, tmp_path):
    told_of_tiny = read_fingerprint(SHIPPED_TINY)
    checkpoint = thin(told_of_tiny)
    told = read_metadata(export_network(checkpoint, tmp_path / "thin.pt2").path)
    assert told["checkpoint"] == {"name": "thin.safetensors", "sha256": sha256(checkpoint)}
    assert told["version"] == library_version()
    assert told["classes"] == ["background", *ORGANS]
    assert told["input"]["shape"] == ["batch", 1, 64, 64]
    assert (told["input"]["mean"], told["input"]["std"]) == (0.5, 0.5)
    assert told["output"]["shape"] == ["batch", 9, 64, 64]
    assert told["window"] == {"low": -125, "high": 275, "unit": "HU"}
    assert not told["window_assumed"]
    assert told["fingerprint"]["pixel_mm"] == [[3, 3, 3], [3, 3, 3]]
    assert NetworkConfig.from_dict(told["network"]) == NetworkConfig.from_preset("tiny", image_size=64)
    assert "clinical" in told["mind"]


def test_what_the_checkpoint_does_not_say_is_not_made_up(thin, tmp_path):
    told = read_metadata(export_network(thin(class_names=None), tmp_path / "thin.pt2").path)
    assert told["classes"] is None
    assert told["fingerprint"] is None
    assert told["window_assumed"]  # the field's, for a network of the authors


def test_networks_for_images(thin, tmp_path):
    checkpoint = thin(PICTURES, ("lesion",), 2)
    made = export_network(checkpoint, tmp_path / "skin.onnx")
    told = read_metadata(made.path)
    assert told["input"]["shape"] == ["batch", 3, 64, 64]
    assert told["input"]["resize"] == "area"
    assert told["window"] is None
    assert not told["window_assumed"]
    assert open_exported(made.path)(torch.zeros(1, 3, 64, 64)).shape == (1, 2, 64, 64)
    gray = export_network(checkpoint, tmp_path / "gray.pt2", channels=1)
    assert read_metadata(gray.path)["input"]["shape"] == ["batch", 1, 64, 64]


def test_input_in_the_unit_range(thin, tmp_path, root):
    checkpoint = thin()
    plain = export_network(checkpoint, tmp_path / "plain.pt2", data_dir=tmp_path)
    unit = export_network(checkpoint, tmp_path / "unit.pt2", input_range="unit", data_dir=root / "data")
    image = torch.rand(2, 1, 64, 64)
    for made in (plain, unit):
        told = read_metadata(made.path)["input"]
        seen = (image - told["mean"]) / told["std"]  # what the metadata says is left to do
        expected = open_exported(plain.path)((image - 0.5) / 0.5)
        assert torch.allclose(open_exported(made.path)(seen), expected, atol=1e-6)
    assert unit.compared.keys() - plain.compared.keys() == {"a slice of the example CT"}


def test_example_slice(root):
    """It is the file's slice 100, read here by SimpleITK: window, splines, scale."""
    scan = sitk.GetArrayFromImage(sitk.ReadImage(root / "data" / "example_ct" / "img" / "img0001.nii.gz"))[100]
    image = example_slice(root / "data", scan.shape)
    assert image is not None
    expected = np.clip((scan + 125) / 400, 0, 1) * 2 - 1
    assert np.abs(image.numpy()[0, 0] - expected).max() < 1e-6
    assert 0.2 < (image > -1).float().mean() < 0.8  # a body in air
    assert example_slice(root / "nowhere", (32, 32)) is None


def test_idle_parts_stay_out():
    """`published`'s form at a small size: the same outputs, and every parameter that is left gets a gradient."""
    published = PRESETS["published"].to_dict() | {
        name: getattr(PRESETS["tiny"], name) for name in ("encoder", "encoder_options")
    }
    for released in (False, True):
        levels = PRESETS["released"].levels if released else PRESETS["published"].levels
        config = NetworkConfig.from_dict(published | {"levels": levels, "image_size": 32})
        torch.manual_seed(0)
        network = MSA2Net(config).eval()
        before = count_parameters(network)
        image = torch.randn(1, 1, 32, 32)
        expected = network(image).detach()
        logits = without_unused_parts(network)(image)
        assert torch.equal(logits, expected)
        logits.square().sum().backward()
        assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
        assert count_parameters(network) < before


@pytest.mark.parametrize("size", [64, (32, 96)])
def test_another_image_size_fits_the_weights(tmp_path, size):
    """The attention windows follow the size, and no weight does."""
    told = load_network(SHIPPED_TINY, size)
    assert told(torch.zeros(1, 1, *told.config.height_width)).shape[2:] == told.config.height_width


def test_the_command(thin, command, root):
    code, out, err = command("--checkpoint", thin(read_fingerprint(SHIPPED_TINY)), "--data", root / "data")
    assert (code, err) == (0, "")
    assert "input: image (batch, 1, 64, 64), float32: (x - 0.5) / 0.5 of x in [0, 1], which is -125 to 275 HU" in out
    assert "output: logits (batch, 9, 64, 64); classes: background, aorta" in out
    for batch in (1, 2, 3, 5):
        assert f"on noise in a batch of {batch}: largest difference " in out
    assert "on a slice of the example CT: largest difference " in out
    assert "equal argmax 100 %" in out
    assert "not for clinical use" in out
    assert [file.name for file in command.folder.iterdir()] == ["thin.onnx"]


def test_the_command_takes_format_size_and_range(thin, command):
    options = ("--format", "pt2", "--image-size", 32, 64, "--channels", 3, "--input-range", "unit")
    code, out, _ = command("--checkpoint", thin(class_names=None), *options)
    assert code == 0
    assert "input: image (batch, 3, 32, 64), float32: x in [0, 1]" in out
    assert "not named in the checkpoint" in out
    assert open_exported(command.folder / "thin.pt2")(torch.zeros(1, 3, 32, 64)).shape == (1, 9, 32, 64)
    assert command("--checkpoint", thin.checkpoint, "--output", "own.pt2")[0] == 0
    assert (command.folder / "own.pt2").is_file()


def test_a_difference_is_one_line_and_exit_code_1(thin, command, monkeypatch):
    write = export_module_module.write_pt2

    def altered(program, *args):
        program.state_dict["head.bias"] += 1
        write(program, *args)

    monkeypatch.setattr(export_module_module, "write_pt2", altered)
    code, out, err = command("--checkpoint", thin.checkpoint, "--format", "pt2")
    assert (code, out) == (1, "")
    assert err.startswith("msa2net: the file's output is not PyTorch's: on noise in a batch of 1")
    assert "try the other format (--format)" in err
    assert "--tolerance" in err
    assert err.endswith("nothing was kept\n")
    assert err.count("\n") == 1
    assert list(command.folder.iterdir()) == []
    assert command("--checkpoint", thin.checkpoint, "--format", "pt2", "--tolerance", 2)[0] == 0


MISTAKES = {
    "no checkpoint": (["--checkpoint", "none.safetensors"], "no such checkpoint"),
    "no multiple of 32": (["--image-size", "100"], "use 96 or 128"),
    "three sizes": (["--image-size", "32", "32", "32"], "height and width, or one number"),
    "another ending": (["--output", "tiny.bin"], ".onnx or .pt2"),
    "less than nothing": (["--tolerance", "-1"], "give a size of 0 or more"),
    "no number": (["--tolerance", "nan"], "give a size of 0 or more"),
    "two formats": (["--output", "tiny.pt2", "--format", "onnx"], "name the file .onnx"),
    "a folder": (["--output", "folder.onnx"], "is a folder"),
    "another file": (["--output", "other.onnx"], "no export of thin.safetensors"),
    "another network's": (["--output", "thin.pt2"], "no export of thin.safetensors"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_exit_code_2(thin, command, mistake):
    options, words = MISTAKES[mistake]
    (command.folder / "folder.onnx").mkdir()
    (command.folder / "other.onnx").write_bytes(b"something else")
    if mistake == "another network's":
        command("--checkpoint", thin.checkpoint, "--output", "thin.pt2")
        thin.checkpoint.write_bytes(b"other weights")
    before = {file: file.stat().st_mtime_ns for file in command.folder.iterdir()}
    given = [] if "--checkpoint" in options else ["--checkpoint", thin.checkpoint]
    code, out, err = command(*given, *options)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert {file: file.stat().st_mtime_ns for file in command.folder.iterdir()} == before


def test_an_earlier_export_of_the_checkpoint_is_replaced(thin, command):
    for _ in range(2):
        made = command.folder / "thin.pt2"
        before = made.stat().st_mtime_ns if made.exists() else 0
        assert command("--checkpoint", thin.checkpoint, "--format", "pt2")[0] == 0
        assert made.stat().st_mtime_ns > before


def test_the_checkpoint_itself_is_never_replaced(tmp_path, refused):
    network = MSA2Net(NetworkConfig.from_preset("tiny", image_size=32))
    checkpoint = save_network(network, tmp_path / "tiny.safetensors")
    (tmp_path / "tiny.pt2").symlink_to(checkpoint)
    before = checkpoint.read_bytes()
    refused(("is the checkpoint itself",), export_network, checkpoint, tmp_path / "tiny.pt2")
    assert checkpoint.read_bytes() == before


def test_ctrl_c(thin, command, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module_module, "compare_all", stop)
    code, _, err = command("--checkpoint", thin.checkpoint, "--format", "pt2")
    assert (code, err) == (130, "stopped; run the same command again to start over\n")
    assert list(command.folder.iterdir()) == []


def test_class_names_that_do_not_fit(thin, tmp_path, refused):
    checkpoint = thin(class_names=("liver",))
    refused((checkpoint, "names 1 classes and has 8"), export_network, checkpoint, tmp_path / "thin.pt2")


def test_a_file_of_something_else(tmp_path, refused):
    save_file({"weight": torch.zeros(2)}, tmp_path / "plain.safetensors")
    refused(("no network config",), export_network, tmp_path / "plain.safetensors", tmp_path / "plain.onnx")
