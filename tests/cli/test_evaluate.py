"""`msa2net evaluate`: what it prints and writes for a checkpoint, for a training folder, for scans and images."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network, save_network
from msa2net_lib.cli.main import main
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.volumes import read_volume
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.selections import SELECTIONS, selection_table, weights_of_run
from msa2net_lib.evaluation.table import HD95_UNIT
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.nn.network import MSA2Net

pytestmark = pytest.mark.slow

ON_TEST = "best on test (chosen on the reported cases)"


@pytest.fixture(scope="module")
def patient2(root, tmp_path_factory):
    """Two slices of the second shipped patient."""
    whole = open_dataset("patient2", root / "data", progress=False)
    folder = tmp_path_factory.mktemp("few") / "patient2"
    shutil.copytree(whole.root, folder)
    with h5py.File(folder / "test_vol_h5" / f"{whole.test_cases[0]}.npy.h5", "r+") as file:
        for name in ("image", "label"):
            few = file[name][9:11]  # pyright: ignore[reportIndexIssue]
            del file[name]
            file[name] = few
    return PreparedDataset.open(folder)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """What a training leaves: the shipped network as its last, worse ones as its best."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copy(SHIPPED_TINY, folder / "weights.safetensors")
    for seed, name in ((1, "best_on_validation"), (2, "best_on_test")):
        network = load_network(SHIPPED_TINY)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.02 * seed * parameter.std(unbiased=False) * torch.randn_like(parameter)
        save_network(network, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def evaluated(run_folder, patient2):
    """The scores of each selection of `run_folder`, without the command."""
    files = weights_of_run(run_folder, with_best_on_test=True)
    return {name: evaluate(load_network(file), patient2, progress=False) for name, file in files.items()}


@pytest.fixture(scope="module")
def skin(drawn, tmp_path_factory):
    """Twelve drawn images of 64 x 64 and a random network of two classes."""
    home, dataset = drawn
    torch.manual_seed(0)
    network = MSA2Net(NetworkConfig.from_preset("tiny", image_size=64, num_classes=2))
    return home, save_network(network, tmp_path_factory.mktemp("skin") / "two.safetensors"), dataset


def run(capsys, *arguments, code=0):
    capsys.readouterr()
    assert main(["evaluate", "--device", "cpu", *map(str, arguments)]) == code
    return capsys.readouterr()


def test_both_protocols_units_and_intervals(patient2, tmp_path, capsys):
    table, maps = tmp_path / "scores.csv", tmp_path / "maps"
    data = ("--checkpoint", SHIPPED_TINY, "--dataset", patient2.root)
    out = run(capsys, *data, "--protocol", "both", "--interval", "--resampling", "matrix", "--batch-size", 4,
              "--output", table, "--predictions", maps).out  # fmt: skip
    expected = evaluate(load_network(SHIPPED_TINY), patient2, progress=False, resampling="matrix", batch_size=4)
    for protocol in ("paper", "strict"):
        dsc, own = expected.mean(protocol)
        line = next(row for row in out.split(f"{protocol} protocol")[1].splitlines() if row.startswith("mean "))
        assert [f"{dsc:.4f}", f"{own:.4f}"] == line.split()[1:3]
        assert len(line.split()) == 6  # HD95 in the other unit, organs missed, HD95 over those found
        missed, found = expected.missed(protocol), expected.case_table(protocol, f"hd95_{HD95_UNIT[protocol]}_found")
        assert line.split()[4:] == [str(missed[0]), f"{found.mean().mean():.4f}"]
        warned = f"warning: {missed[0]} of {missed[1]} organs were missed" in out
        assert warned == bool(missed[0])
    assert "HD95 (voxels)" in out
    assert "HD95 (mm)" in out
    assert "not measured" in out  # one case has no interval
    written = pd.read_csv(table)
    np.testing.assert_allclose(written.hd95_mm, expected.scores.hd95_mm)
    assert "selection" not in written
    name = patient2.test_cases[0]
    stored = read_volume(maps / f"{name}.nii.gz")
    np.testing.assert_array_equal(stored.array, expected.predictions[name])


def test_a_training_folder_has_a_column_for_each_selection(run_folder, patient2, tmp_path, capsys):
    table = tmp_path / "scores.csv"
    data = ("--run", run_folder, "--dataset", patient2.root, "--output", table)
    out, err = run(capsys, *data)
    assert "last step" in out
    assert "best on validation" in out
    assert "best on test" not in out
    assert "left out" in err
    assert "best_on_test.safetensors" in err
    assert list(pd.read_csv(table).selection.unique()) == ["last step", "best on validation"]
    out, err = run(capsys, *data, "--with-best-on-test")
    assert ON_TEST in out
    assert err == ""
    written = pd.read_csv(table)
    assert list(written.selection.unique()) == list(SELECTIONS.values())
    assert written.groupby("selection").dsc.mean().nunique() == 3


def test_selections_of_a_run(run_folder, evaluated, tmp_path):
    assert list(weights_of_run(run_folder)) == ["last step", "best on validation"]
    assert list(evaluated) == ["last step", "best on validation", ON_TEST]
    table = selection_table(evaluated, "strict")
    for label, result in evaluated.items():
        columns = table[label]
        assert list(columns) == ["DSC (0 to 1)", "HD95 (mm)", "HD95 (voxels)", "missed", "HD95, found (mm)"]
        assert tuple(columns.loc["mean"].iloc[:2]) == pytest.approx(result.mean("strict"))
        assert columns.missed["mean"] == result.missed("strict")[0] == columns.missed[:-1].sum()
        np.testing.assert_allclose(columns.iloc[:-1, :2], result.by_organ("strict"))
    # A run that kept the last step's weights only, and none at all.
    shutil.copy(SHIPPED_TINY, tmp_path / "weights.safetensors")
    assert list(weights_of_run(tmp_path)) == ["last step"]
    with pytest.raises(InputError, match=r"holds no best_on_test\.safetensors; train with selection='test'"):
        weights_of_run(tmp_path, with_best_on_test=True)
    with pytest.raises(InputError, match=r"holds no weights\.safetensors; name the folder of a finished training"):
        weights_of_run(tmp_path / "nowhere")


def test_pictures_by_probability_logit_and_lineage(skin, tmp_path, capsys):
    home, weights, dataset = skin
    data = ("--checkpoint", weights, "--dataset", dataset.root)
    out = run(capsys, *data).out
    assert "3 test synthetic images" in out
    assert "at the prepared size; lesion: probability above 0.5; nothing opened or filled" in out
    table = tmp_path / "scores.csv"
    options = ("--threshold", -100, "--threshold-on", "logit", "--interval", "--split", "train", "--output", table)
    out = run(capsys, *data, *options, "--predictions", tmp_path / "masks").out
    assert "8 train synthetic images" in out
    assert "(Student's t over images)" in out
    written = pd.read_csv(table)
    assert list(written.columns)[:2] == ["image", "dsc"]
    assert (written.se == 1).all()  # everything is above -100
    assert len(list((tmp_path / "masks").glob("*.png"))) == 8
    out = run(capsys, *data, "--post-processing", "dlka").out
    assert "chose the sizes on the test set" in out
    masks = next(path for path in (home / "raw").rglob("*_GroundTruth") if path.is_dir())
    assert "at the original size" in run(capsys, *data, "--masks", masks).out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--threshold", 0.4), "--threshold: not for scans"),
        (("--post-processing", "dlka", "--split", "test"), "--post-processing, --split: not for scans"),
        (("--with-best-on-test",), "--with-best-on-test: chooses among the weights of a training folder"),
        (("--batch-size", 0), "--batch-size 0: give 1 or more"),
        (("--fast", "--precision", "bf16"), "precision='bf16' with fast=True on a CPU"),
    ],
)
def test_options_of_other_data_are_refused(patient2, capsys, arguments, words):
    err = run(capsys, "--checkpoint", SHIPPED_TINY, "--dataset", patient2.root, *arguments, code=2).err
    assert words in err
    assert err.count("\n") == 1


def test_options_of_scans_are_refused_for_pictures(skin, capsys):
    _, weights, dataset = skin
    data = ("--checkpoint", weights, "--dataset", dataset.root)
    err = run(capsys, *data, "--protocol", "strict", code=2).err
    assert "--protocol: not for images" in err
    assert "threshold=2.0 on a probability" in run(capsys, *data, "--threshold", 2, code=2).err


def test_what_is_read_is_not_written_over(skin, patient2, tmp_path, capsys):
    """The checkpoint, and the masks that images were prepared from, under the names that predictions get."""
    weights = shutil.copy(SHIPPED_TINY, tmp_path / "own.safetensors")
    data = ("--checkpoint", weights, "--dataset", patient2.root)
    assert "is there already and no table" in run(capsys, *data, "--output", weights, code=2).err
    home, network, dataset = skin
    masks = shutil.copytree(next((home / "raw").rglob("*_GroundTruth")), tmp_path / "masks")
    name = dataset.test_ids[0]
    own = masks / f"{name}.png"
    (masks / f"{name}_segmentation.png").rename(own)
    before = own.read_bytes()
    data = ("--checkpoint", network, "--dataset", dataset.root, "--predictions", masks)
    err = run(capsys, *data, code=2).err
    assert err == f"msa2net: {own}: is what the data were prepared from; name another folder (--predictions DIR)\n"
    assert own.read_bytes() == before
    own.unlink()
    for _ in range(2):  # earlier predictions are replaced
        run(capsys, *data, "--batch-size", 10**30)


def test_a_checkpoint_or_a_run_but_not_both(run_folder, patient2):
    for weights in ((), ("--checkpoint", SHIPPED_TINY, "--run", run_folder)):
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", "--dataset", str(patient2.root), *map(str, weights)])
        assert stopped.value.code == 2


@pytest.fixture
def two_seeds(run_folder, tmp_path):
    """Folders of two trainings that differ in their seeds: the shipped network, and a worse one."""
    folders = []
    for seed, name in ((1, "weights"), (2, "best_on_test")):
        folder = tmp_path / f"seed {seed}"
        folder.mkdir()
        shutil.copy(run_folder / f"{name}.safetensors", folder / "weights.safetensors")
        record = {"network": {"preset": "tiny"}, "training": {"seed": seed, "steps": 9}, "data": "same"}
        (folder / "run.json").write_text(json.dumps(record))
        folders.append(folder)
    return folders


def test_several_seeds_have_a_mean_and_a_spread(two_seeds, patient2, evaluated, tmp_path, capsys):
    table = tmp_path / "scores.csv"
    options = ("--dataset", patient2.root, "--output", table, "--predictions", tmp_path / "maps")
    out = run(capsys, "--run", *two_seeds, *options).out
    assert "last step: mean and sd over 2 seeds" in out
    means = [evaluated[name].mean("paper") for name in ("last step", ON_TEST)]  # whose weights the two are
    (row,) = [line.split() for line in out.splitlines() if line.split()[:3] == ["paper", "mean", "dsc"]]
    cases, mean, sd = map(float, row[6:9])  # behind protocol, organ, score and the unit "0 to 1"
    dsc = [one[0] for one in means]
    assert (cases, mean) == (1, pytest.approx(np.mean(dsc), abs=1e-4))
    assert sd == pytest.approx(np.std(dsc, ddof=1), abs=1e-4)
    assert sd > 0.001
    assert set(pd.read_csv(table).selection) == {"last step, seed 1", "last step, seed 2"}
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {"seed_1", "seed_2"}


def test_several_seeds_of_pictures(two_seeds, skin, capsys):
    home, weights, _ = skin
    for folder in two_seeds:
        shutil.copy(weights, folder / "weights.safetensors")
    out = run(capsys, "--run", *two_seeds, "--dataset", home / "prepared").out
    assert "last step: mean over 2 seeds" in out
    spread = out.partition("last step: sd over 2 seeds")[2].split()
    assert [float(word) for word in spread[5:9]] == [0.0] * 4, "the same network twice"


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"training": {"seed": 1, "steps": 9}}, "seed 1 is that of"),
        ({"training": {"seed": 2, "steps": 8}}, "another training than"),
        ({"data": "other"}, "another data than"),
        (None, "run.json: no record of a finished training"),
    ],
)
def test_trainings_that_are_no_seeds_of_one_are_refused(two_seeds, patient2, capsys, change, fragment):
    path = two_seeds[1] / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change) if change else "[]")
    err = run(capsys, "--run", *two_seeds, "--dataset", patient2.root, code=2).err
    assert fragment in err
    assert err.count("\n") == 1
