"""Networks other than MSA²Net on the command line: trained, scored, predicted and refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from msa2net_lib import adopt_network, load_network, save_network
from msa2net_lib.baselines.registry import NETWORKS
from msa2net_lib.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def skin(drawn, tmp_path_factory):
    """Twelve drawn pictures of 64 x 64, and another one as a file."""
    home, dataset = tmp_path_factory.mktemp("skin"), drawn[1]
    pixels = np.random.default_rng(0).integers(0, 255, (70, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(home / "picture.png")
    return dataset.root, home / "picture.png"


def run(capsys, *arguments, code=0):
    capsys.readouterr()
    assert main(list(map(str, arguments))) == code
    seen = capsys.readouterr()
    if code:
        assert seen.err.count("\n") == 1
        assert seen.err.startswith("msa2net: ")
    return seen.err if code else seen.out


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet_nitr", ["widths=[4, 8]"]),
        ("dermosegdiff_small", ["dim_x=16", "dim_g=8", "mults_x=[1, 2]", "mults_g=[1, 2]", "steps=2"]),
    ],
)
def test_a_network_is_trained_scored_predicted_and_seen_again(skin, tmp_path, capsys, name, options):
    data, picture = skin
    given = [part for option in options for part in ("--network-option", option)]
    cpu = ["--device", "cpu"]
    training = ["--dataset", data, "--output", tmp_path / "run", "--steps", 2, "--batch-size", 4, "--image-size", 32]
    said = run(capsys, "train", "--network", name, *given, *training, *cpu)
    assert "weights.safetensors (2 steps" in said
    config = load_network(tmp_path / "run" / "weights.safetensors").config
    assert (config.name, config.num_classes, config.image_size) == (name, 2, 32)
    assert "dsc" in run(capsys, "evaluate", "--run", tmp_path / "run", "--dataset", data, *cpu).lower()
    weights = ["--checkpoint", tmp_path / "run" / "weights.safetensors"]
    changed = ["--network-option", "samples=2"] if name.startswith("dermo") else []
    run(capsys, "predict", picture, *weights, *changed, "--output", tmp_path / "out", *cpu)
    assert Image.open(tmp_path / "out" / "picture_labels.png").size == (60, 70)
    if name.startswith("dermo"):
        said = run(capsys, "export", *weights, "--output", tmp_path / "file.pt2", code=2)
        assert "dermosegdiff_small cannot be exported: it draws masks out of random noise" in said
        assert not (tmp_path / "file.pt2").exists()
    said = run(capsys, "train", "--network", "unet", *training, *cpu, code=2)
    assert "of a run with another network (name" in said


def test_a_network_of_a_file_beside(skin, tmp_path, capsys, monkeypatch):
    data, picture = skin
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("msa2net_lib.baselines.registry.NETWORKS", own := dict(NETWORKS))
    monkeypatch.setattr("msa2net_lib.checkpoints.NETWORKS", own)
    (tmp_path / "cli_nets.py").write_text(
        "import torch\ndef build(num_classes, image_size):\n    return torch.nn.Conv2d(3, num_classes, 3, padding=1)\n"
        "def narrow(num_classes, image_size):\n    return torch.nn.Conv2d(3, num_classes, 2)\n"
    )
    training = ["--dataset", data, "--steps", 1, "--image-size", 32, "--device", "cpu"]
    run(capsys, "train", "--network", "cli_nets:build", *training, "--output", "run")
    for name in [name for name in own if ":" in name]:
        del own[name]  # as in the next process
    predicting = ["predict", picture, "--checkpoint", "run/weights.safetensors", "--device", "cpu"]
    assert "network 'cli_nets:build' is not of this library" in run(capsys, *predicting, code=2)
    run(capsys, *predicting, "--network", "cli_nets:build")
    said = run(capsys, "train", "--network", "cli_nets:narrow", *training, "--output", "none", code=2)
    assert "network 'cli_nets:narrow' gives (2, 2, 31, 31) for images (2, 3, 32, 32)" in said
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--network", "unknown"], "network='unknown' is unknown: use one of"),
        (
            ["--network", "unet", "--image-size", "50"],
            "image_size=50 is not a multiple of 16, which unet needs: use 48 or",
        ),
        (["--network", "unet", "--pretrained"], "pretrained=True: unet has no pretrained encoder; leave it out"),
        (["--network", "unet", "--network-option", "widths"], "--network-option widths: give NAME=VALUE"),
        (["--network", "unet", "--network-option", "nonsense=1"], "network 'unet' cannot be built: "),
        (["--network-option", "steps=1"], "--network-option: is for --network"),
        (["--network", "no_such_module_here:build"], "no_such_module_here cannot be imported"),
    ],
)
def test_what_train_refuses_is_one_line_and_leaves_nothing(skin, tmp_path, capsys, options, said):
    arguments = ["--dataset", skin[0], "--output", tmp_path / "run", "--device", "cpu", "--steps", 1]
    assert said in run(capsys, "train", *options, *arguments, code=2)
    assert not (tmp_path / "run").exists()


def test_original_weights_and_weights_of_no_known_network(skin, tmp_path, capsys):
    from baseline_parity import Reference, drawn

    state = {}
    for key, shape in Reference("unet_nitr").facts["state_dict"].items():
        state[key] = torch.from_numpy(drawn(key, tuple(shape)).astype("float32"))
    torch.save(state, tmp_path / "theirs.pth")
    said = run(
        capsys,
        "evaluate",
        "--checkpoint",
        tmp_path / "theirs.pth",
        "--network",
        "unet_nitr",
        "--dataset",
        skin[0],
        "--device",
        "cpu",
    )
    assert "dsc" in said.lower()
    said = run(
        capsys, "evaluate", "--checkpoint", tmp_path / "theirs.pth", "--network", "unet", "--dataset", skin[0], code=2
    )
    assert "not a checkpoint of the original unet (0 of" in said
    own = save_network(adopt_network(nn.Conv2d(3, 2, 1), 2, 32), tmp_path / "own.safetensors")
    assert "network 'Conv2d' is not of this library" in run(capsys, "export", "--checkpoint", own, code=2)
