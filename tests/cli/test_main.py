"""The command line, in-process: what each command leaves, and mistakes in one line with exit code 2."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
import types
import zipfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from small_run import SMALL

from msa2net_lib import checkpoints
from msa2net_lib.cli import doctor
from msa2net_lib.cli.main import COMMANDS, _check_paths, _parser, main
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.download import synapse as obtain
from msa2net_lib.data.isic import find_isic
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.skin.images import write_skin_images
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l01_data.study import store_as_others
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.official_checkpoints import open_checkpoint
from msa2net_lib.utils.files import sha256

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A random `tiny` network on disk, for 32 x 32 pixels."""
    network = MSA2Net(NetworkConfig.from_preset("tiny", image_size=32))
    return checkpoints.save_network(network, tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Scans 0001, 0005 and 0008 in the BTCV layout, 12 slices of 40 x 36 voxels, all 13 structures. Read only."""
    rng = np.random.default_rng(0)
    label = np.zeros((36, 40, 12), np.uint8)
    for number in range(1, 14):
        row, column = divmod(number, 4)
        label[9 * column : 9 * column + 7, 10 * row : 10 * row + 7, 3:9] = number
    affine = np.diag([-4.0, -4.0, 5.0, 1.0])
    folder = tmp_path_factory.mktemp("scans") / "raw"
    for case in ("0001", "0005", "0008"):
        image = rng.normal(40, 20, label.shape).astype(np.int16)
        image[:, -2:] = -1000
        for kind, array in (("img", image), ("label", label)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), folder / kind / f"{kind}{case}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def prepared_once(raw, tmp_path_factory):
    """Case 0005 to train on, 0008 to test on."""
    folder = tmp_path_factory.mktemp("scans") / "prepared"
    run("prepare", "synapse", "--source", raw, "--destination", folder, "--workers", 1,
        "--train-cases", "0005", "--test-cases", "0008")  # fmt: skip
    return folder


@pytest.fixture
def prepared(prepared_once, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(prepared_once, tmp_path / "prepared"))


@pytest.fixture
def small_preset(monkeypatch):
    """What `train` builds unless told otherwise, small."""
    monkeypatch.setitem(PRESETS, "tiny", replace(SMALL, num_classes=9))


def run(*arguments):
    return main([str(argument) for argument in arguments])


def refused(capsys, *arguments):
    """Run a command that must fail on its input; return its one line."""
    capsys.readouterr()
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("msa2net: ")
    assert err.count("\n") == 1
    return err


def test_help_the_doctor_and_a_mistyped_path_are_fast_because_they_load_little(tmp_path):
    code = """
import contextlib, io, sys, msa2net_lib.cli.main as cli
with contextlib.redirect_stdout(io.StringIO()):
    for name in cli.COMMANDS:
        with contextlib.suppress(SystemExit):
            cli.main([name, "--help"])
    print(*{"numpy", "psutil", "importlib.metadata", "asyncio"} & set(sys.modules), file=sys.stderr)
    cli.main(["doctor", "--data", sys.argv[1]])
for words in ("predict nowhere", "evaluate --run nowhere --dataset .", "train --dataset nowhere --output .",
              "export --checkpoint nowhere", "prepare scans --images nowhere --labels . --destination . --classes a=1",
              "reproduce --cluster nowhere"):
    assert cli.main(words.split()) == 2, words
print(*{"numpy", "torch", "timm", "pandas"} & set(sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
    assert result.stderr.count("nowhere: no such") == 6
    assert result.stderr.count("\n") == 7
    assert result.stderr.startswith("\n"), "help has loaded what only a run needs"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_parses_no_table_and_builds_no_config(command):
    code = """
import sys, msa2net_lib.cli.main as cli
try:
    cli.main([sys.argv[1], "--help"])
finally:
    print(*sorted({"dataclasses", "hashlib", "json", "tomllib"} & set(sys.modules)), file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True, check=True)
    assert f"usage: msa2net {command}" in result.stdout
    assert result.stderr == "\n"


@pytest.mark.parametrize("record", ["", "{}", '{"sha256": 1}', "[]", None])
def test_doctor_tells_a_shipped_network_whose_record_does_not_fit(record, checkpoint, tmp_path):
    shipped = Path(shutil.copy(checkpoint, tmp_path))
    if record is not None:
        shipped.with_suffix(".json").write_text(record)
    assert "absent or altered" in str(doctor._checkpoint(shipped))


def test_where_the_scans_that_ship_are_not_it_says_where_they_come_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "run msa2net data example" in refused(capsys, "prepare", "virtual")
    assert "run msa2net data example" in refused(capsys, "prepare", "virtual", "--source", "other/example_ct")
    run("doctor")
    assert "run msa2net data example" in capsys.readouterr().out


def test_a_home_folder_is_written_short_in_any_option(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert str(tmp_path / "scan.nii.gz") in refused(capsys, "predict", "~/scan.nii.gz")
    assert str(tmp_path / "run") in refused(capsys, "evaluate", "--run", "~/run", "--dataset", "~")
    run("doctor", "--data", "~/data")
    assert f"{tmp_path / 'data' / 'example_ct'}" in capsys.readouterr().out
    assert "~no-such-user" in refused(capsys, "predict", "~no-such-user/scan.nii.gz")
    arguments = _parser().parse_args(["train", "--dataset", ".", "--output", "~/run", "--pretrained", "~/encoder.pth"])
    _check_paths(arguments)
    assert (arguments.output, arguments.pretrained) == (tmp_path / "run", str(tmp_path / "encoder.pth"))


@pytest.mark.parametrize("words", [["doctor"], ["--help"], ["prepare", "synapse", "--destination", "nowhere"]])
def test_a_full_device_behind_standard_output_is_told_in_one_line(words, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("msa2net: standard output: cannot be written (No space")


@pytest.mark.parametrize("words", [["doctor"], ["--help"], ["prepare", "synapse", "--destination", "nowhere"]])
def test_a_reader_that_goes_away_is_no_error(words, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(words) == 141
    assert "Traceback" not in capsys.readouterr().err


def test_a_terminal_that_lacks_a_letter_still_gets_help(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with pytest.raises(SystemExit):
        main(["--help"])
    assert b"MSA?Net as a workbook" in written.getvalue()


def parsers(parser):
    """A parser and all those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


def test_every_option_says_what_it_is():
    told = {
        (parser.prog, *action.option_strings): action.help
        for parser in parsers(_parser())
        for action in parser._actions
    }
    assert len(told) > 150
    assert [
        name
        for name, text in told.items()
        if not text and name not in {(parent,) for parent in ("msa2net", "msa2net data", "msa2net prepare")}
    ] == []
    assert {text for name, text in told.items() if "--device" in name} == {told["msa2net train", "--device"]}
    for parser in parsers(_parser()):
        for action in parser._actions:
            plain = action.default in (None, False, argparse.SUPPRESS) or action.default == []
            assert plain or not action.option_strings or "default" in str(action.help), action.option_strings


def test_as_a_module():
    command = [sys.executable, "-m", "msa2net_lib", "prepare", "scans", "--images", ".", "--labels", "."]
    command += ["--destination", "nowhere", "--classes", "liver"]  # a mistake that needs no torch to be seen
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("msa2net: --classes liver: write NAME=ID")
    assert result.stderr.count("\n") == 1


# ---- doctor -----------------------------------------------------------------------------------------------


@pytest.fixture
def without_notebooks(monkeypatch):
    """Let the doctor know of other packages for notebooks: none, or those given."""
    original = doctor.required

    def know(*names):
        monkeypatch.setattr(doctor, "required", lambda extra="": list(names) if extra else original())

    return know


def test_doctor_knows_the_dependencies(root, monkeypatch):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        extra: [f'{line}; extra == "{extra}"' for line in lines]
        for extra, lines in project["optional-dependencies"].items()
    }
    metadata = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: metadata)

    def names(requirements):
        return [requirement.partition(">")[0] for requirement in requirements]

    assert doctor.required() == names(project["dependencies"])
    assert doctor.required("notebooks") == names(project["optional-dependencies"]["notebooks"])


@pytest.mark.parametrize(("tag", "extra"), [({}, "notebooks"), ({"COLAB_RELEASE_TAG": "release-colab_1"}, "colab")])
def test_doctor_asks_for_what_lessons_need_where_it_runs(monkeypatch, tmp_path, tag, extra):
    asked = []
    monkeypatch.setattr(doctor, "_packages", lambda extra="": [doctor.Finding(asked.append(extra) or extra, False)])
    monkeypatch.setattr("os.environ", tag)
    doctor.examine(tmp_path)
    assert asked == ["", extra]


def test_doctor_says_where_the_library_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr("msa2net_lib.utils.system_info.DISTRIBUTION", "no-such-distribution")
    assert run("doctor") == 1
    assert "missing  no-such-distribution: run pip install -e '.' in the checkout" in capsys.readouterr().out


def test_doctor_says_how_to_get_altered_scans_again_with_and_without_a_checkout(root, tmp_path):
    readme = Path(shutil.copy(root / "data" / "example_ct" / "README.md", tmp_path))
    told = str(doctor._example_ct(tmp_path))
    assert f"run msa2net data example, in a checkout git restore {tmp_path}" in told
    readme.unlink()
    assert "run msa2net data example" in str(doctor._example_ct(tmp_path))


def test_doctor_on_a_whole_checkout(root, tmp_path, checkpoint, without_notebooks, monkeypatch, capsys):
    shipped = shutil.copy(checkpoint, tmp_path)
    (tmp_path / "tiny.json").write_text(json.dumps({"sha256": sha256(Path(shipped))}))
    monkeypatch.setattr("msa2net_lib.config.SHIPPED_TINY", Path(shipped))
    without_notebooks()
    shutil.copytree(root / "data" / "example_ct", tmp_path / "example_ct")
    assert run("doctor", "--data", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("ok ", "missing ")) for line in lines)
    assert all("not needed for smoke" in line for line in lines if line.startswith("missing"))
    text = "\n".join(lines)
    for word in (
        "Python 3.",
        "torch ",
        "cores",
        "GiB",
        "accelerator",
        "4 files",
        "tiny.safetensors (sha256 as recorded)",
    ):
        assert word in text
    for name in ("virtual", "patient2", "synapse"):
        assert f"missing  data set {name}" in text


def test_doctor_finds_what_is_wrong(root, tmp_path, prepared, without_notebooks, monkeypatch, capsys):
    monkeypatch.setattr("msa2net_lib.config.SHIPPED_TINY", tmp_path / "tiny.safetensors")
    without_notebooks("no-such-package")
    shutil.copytree(root / "data" / "example_ct", tmp_path / "example_ct")
    (tmp_path / "example_ct" / "img" / "img0002.nii.gz").write_bytes(b"altered")
    (tmp_path / "example_ct" / "label" / "label0001.nii.gz").unlink()
    prepared.rename(tmp_path / "synapse")
    capsys.readouterr()
    assert run("doctor", "--data", tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    (scans,) = [line for line in lines if line.startswith("missing  shipped CT")]
    assert "img/img0002.nii.gz, label/label0001.nii.gz;" in scans
    assert [line for line in lines if line.startswith("missing  shipped checkpoint")]
    assert [line for line in lines if line.startswith("missing  no-such-package: run pip install")]
    assert [line for line in lines if line.startswith("ok       data set synapse") and "12 training" in line]


def test_doctor_elsewhere(tmp_path):
    (found,) = [f for f in doctor.examine(tmp_path) if "shipped CT" in f.what]
    assert not found.ok
    assert "--data" in found.remedy


# ---- prepare ----------------------------------------------------------------------------------------------


def test_prepare_synapse(raw, tmp_path, capsys):
    out = tmp_path / "out"
    chosen = ("--train-cases", "0008, 0005", "--workers", 1)
    run("prepare", "synapse", "--source", raw, "--destination", out, *chosen)
    assert "24 training" in PreparedDataset.open(out).counts()
    run("prepare", "synapse", "--source", raw, "--destination", out, "--workers", 1)
    assert PreparedDataset.open(out).test_cases == ["case0008", "case0001"]
    assert len(PreparedDataset.open(out).train_slices) == 12


def test_prepare_synapse_ends_with_the_contract(root, raw, tmp_path, capsys):
    """Blocks in a row are no organs, and the command says so by its exit code; real patients pass."""
    out = ("--destination", tmp_path / "out", "--workers", 1)
    assert run("prepare", "synapse", "--source", raw, *out) == 1
    assert "not passed" in capsys.readouterr().out
    out = ("--destination", tmp_path / "real", "--workers", 1)
    assert run("prepare", "synapse", "--source", root / "data" / "example_ct", *out) == 0
    printed = capsys.readouterr().out
    assert "label scheme" in printed
    assert f"{tmp_path / 'real'}: 0 training slices, 2 test cases\nwarning: nothing to train on" in printed
    assert (tmp_path / "real" / "orientation.png").read_bytes().startswith(b"\x89PNG")


def test_prepare_synapse_of_others(root, tmp_path, capsys):
    """Stored in scheme B and transposed: the command stops, names the flip that is needed, and passes with it."""
    home = tmp_path / "virtual"
    two = ("--source", root / "data" / "example_ct", "--train", 0, "--test", 1, "--workers", 1)
    assert run("prepare", "virtual", "--destination", home, *two) == 0
    virtual = PreparedDataset.open(home / "prepared")
    foreign = store_as_others(virtual, virtual.test_cases, tmp_path / "theirs", "B", "t")
    assert run("prepare", "synapse", "--prepared", foreign) == 1
    printed = capsys.readouterr().out
    assert "--flip t" in printed
    assert not (foreign / "contract.json").exists()
    with pytest.raises(InputError, match="msa2net prepare synapse"):
        PreparedDataset.open(foreign).load_case("case2001")
    assert run("prepare", "synapse", "--prepared", foreign, "--flip", "t") == 0
    assert run("prepare", "synapse", "--prepared", foreign) == 0  # said once is enough while the files stay
    case = PreparedDataset.open(foreign).load_case("case2001")
    np.testing.assert_array_equal(case.label, virtual.load_case("case2001").label)


def test_prepare_virtual(raw, tmp_path, capsys):
    out = tmp_path / "virtual"
    sizes = ("--train", 1, "--test", 1, "--workers", 1)
    assert run("prepare", "virtual", "--source", raw, "--destination", out, *sizes) == 0
    dataset = PreparedDataset.open(out / "prepared")
    assert dataset.test_cases == ["case2001"]
    assert {name[:8] for name in dataset.train_slices} == {"case1001"}
    assert (out / "raw" / "cohort.json").is_file()


def test_prepare_synapse_from_drive(tmp_path, capsys, monkeypatch):
    """What is downloaded is unpacked, found at whatever depth, moved to the destination, and then examined."""
    asked = []

    def fetch_drive(file_id, destination, **options):
        asked.append((file_id, options["dataset"]))
        destination.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(destination, "w") as archive:
            archive.writestr("project/data/Synapse/train_npz/case0005_slice000.npz", b"no npz")
        return destination

    monkeypatch.setattr(obtain, "fetch_drive", fetch_drive)
    out = tmp_path / "data" / "synapse"
    assert run("prepare", "synapse", "--download", "--destination", out) == 1
    assert asked == [(obtain.SYNAPSE_DRIVE_ID, "synapse-prepared")]
    assert (out / "train_npz" / "case0005_slice000.npz").is_file()
    assert "not passed" in capsys.readouterr().out
    assert run("prepare", "synapse", "--download", "--destination", out) == 1
    assert len(asked) == 1


def test_prepare_synapse_without_a_source_shows_the_terms_and_the_ways(tmp_path, capsys):
    assert run("prepare", "synapse", "--destination", tmp_path / "none") == 2
    out, err = capsys.readouterr()
    assert "synapse.org" in out
    assert err.count("\n") == 1
    for way in ("--source", "--fetch-raw", "--prepared", "--download"):
        assert way in err


def test_prepare_skin_then_train_and_evaluate(tmp_path, capsys, small_preset):
    out, few = tmp_path / "skin", ("--count", 12, "--size", 64, "--workers", 1)
    assert run("prepare", "skin", "--destination", out, *few) == 0
    printed = capsys.readouterr().out
    assert "8 training, 1 validation and 3 test images" in printed
    assert "synthetic" in printed
    trained = ("--output", tmp_path / "run", "--recipe", "isic", "--steps", 2, "--batch-size", 4, "--device", "cpu")
    often = ("--checkpoint-every", 1, "--log-every", 1)
    assert run("train", "--dataset", out / "prepared", *trained, *often) == 0
    assert pd.read_csv(tmp_path / "run" / "log.csv").step.tolist() == [1, 2]
    record = json.loads((tmp_path / "run" / "run.json").read_text())["training"]
    assert (record["recipe"], record["checkpoint_every"], record["log_every"]) == ("isic", 1, 1)
    capsys.readouterr()
    weights = ("--checkpoint", tmp_path / "run" / "weights.safetensors", "--device", "cpu")
    table = ("--output", tmp_path / "scores.csv")
    assert run("evaluate", "--dataset", out / "prepared", *weights, *table) == 0
    assert "3 test synthetic images" in capsys.readouterr().out
    assert list(pd.read_csv(tmp_path / "scores.csv").columns)[:2] == ["image", "dsc"]


def test_prepare_images_and_isic(tmp_path, capsys):
    write_skin_images(tmp_path / "raw", count=5, size=(64, 80), progress=False)
    images, masks = find_isic(tmp_path / "raw", progress=False)
    small = ("--size", 32, "--workers", 1)
    out = tmp_path / "images"
    assert run("prepare", "images", "--images", images, "--masks", masks, "--destination", out, *small) == 0
    assert "3 training, 0 validation and 2 test images" in capsys.readouterr().out
    line = refused(capsys, "prepare", "isic", "--source", tmp_path / "raw", "--destination", tmp_path / "isic", *small)
    assert "2594" in line
    assert "--split 0.7,0.1,0.2" in line
    split = ("--split", "0.4,0.2,0.4")  # what the line advises works
    run("prepare", "isic", "--source", tmp_path / "raw", "--destination", tmp_path / "isic", *small, *split)
    assert "2 training, 1 validation and 2 test images" in capsys.readouterr().out


def test_prepare_your_own_scans_and_train_on_their_classes(raw, tmp_path, capsys, small_preset):
    for kind, folder in (("img", "images"), ("label", "labels")):
        (tmp_path / folder).mkdir()
        for case in ("0001", "0005"):
            shutil.copy(raw / kind / f"{kind}{case}.nii.gz", tmp_path / folder / f"case {case}.nii.gz")
    folders = ("--images", tmp_path / "images", "--labels", tmp_path / "labels", "--destination", tmp_path / "own")
    classes = ("--classes", "liver=6", "both kidneys=2,3", "--others-are-background", "--workers", 1)
    assert run("prepare", "scans", *folders, *classes, "--test-cases", "case 0005") == 0
    assert "12 training slices, 1 test cases" in capsys.readouterr().out
    assert PreparedDataset.open(tmp_path / "own").class_names == ("liver", "both kidneys")
    small = ("--steps", 1, "--batch-size", 2, "--device", "cpu")
    assert run("train", "--dataset", tmp_path / "own", "--output", tmp_path / "run", *small) == 0
    assert open_checkpoint(tmp_path / "run" / "weights.safetensors").config.num_classes == 3
    assert "--classes liver" in refused(capsys, "prepare", "scans", *folders, "--classes", "liver")


def test_a_class_named_twice_or_absent(raw, tmp_path, capsys):
    """Of two ids for one name the last would win, and a class nobody has trains nothing: neither is silent."""
    for kind in ("img", "label"):
        (tmp_path / kind).mkdir()
        shutil.copy(raw / kind / f"{kind}0001.nii.gz", tmp_path / kind / "a.nii.gz")
    folders = ("--images", tmp_path / "img", "--labels", tmp_path / "label", "--destination", tmp_path / "own")
    few = ("--others-are-background", "--workers", 1)
    assert "NAME=ID,ID" in refused(capsys, "prepare", "scans", *folders, "--classes", "kidney=2", "kidney=3", *few)
    assert run("prepare", "scans", *folders, "--classes", "liver=6", "tail=14", *few) == 0
    printed = capsys.readouterr().out
    assert "warning: no case has a voxel of tail" in printed
    assert "warning: nothing to test on" in printed


def test_a_header_that_lies_can_be_turned_where_the_scans_are_prepared(raw, prepared_once, tmp_path, capsys):
    out = tmp_path / "turned"
    options = ["--source", raw, "--destination", out, "--workers", 1, "--train-cases", "0005", "--test-cases", "0008"]
    run("prepare", "synapse", *options, "--flip", "0008=xz")
    plain, turned = (PreparedDataset.open(root) for root in (prepared_once, out))
    np.testing.assert_array_equal(turned.load_case("case0008").label, plain.load_case("case0008").label[::-1, :, ::-1])
    name = turned.train_slices[4]
    np.testing.assert_array_equal(turned.load_slice(name)[1], plain.load_slice(name)[1])
    capsys.readouterr()
    line = refused(capsys, "prepare", "synapse", "--prepared", out, "--flip", "xz")
    assert "prepare the scans again with --flip (--source DIR --flip VALUE)" in line
    line = refused(capsys, "prepare", "synapse", "--prepared", out, "--flip", "0008=xz")
    assert "one flip for all cases" in line
    assert "'u'" in refused(capsys, "prepare", "synapse", *options, "--flip", "u")


def test_prepare_refuses_options_of_other_sources(raw, tmp_path, capsys):
    line = refused(capsys, "prepare", "synapse", "--prepared", raw, "--train-cases", "0005")
    assert "--train-cases" in line
    line = refused(capsys, "prepare", "synapse", "--source", raw, "--label-scheme", "B")
    assert "--label-scheme" in line
    assert run("prepare", "isic") == 2
    out, err = capsys.readouterr()
    assert "CC0" in out
    assert err == "msa2net: say where the images come from: --source DIR, or --download (11.2 GB)\n"
    assert "dlkaa" in refused(capsys, "prepare", "isic", "--download", "--recipe", "dlkaa")


def test_scores_are_not_written_over_a_folder_nor_after_the_work(prepared, checkpoint, tmp_path, capsys):
    line = refused(capsys, "evaluate", "--checkpoint", checkpoint, "--dataset", prepared, "--output", tmp_path)
    assert "is a folder" in line


def test_evaluate_refuses_a_network_of_other_classes(prepared, tmp_path, capsys):
    network = MSA2Net(NetworkConfig.from_preset("tiny", image_size=32))
    other = checkpoints.save_network(network, tmp_path / "other.safetensors", class_names=ORGANS[::-1])
    line = refused(capsys, "evaluate", "--checkpoint", other, "--dataset", prepared)
    assert "was trained on stomach, spleen" in line


def test_prepare_refuses(raw, tmp_path, capsys):
    out = ("--destination", tmp_path / "out")
    line = refused(capsys, "prepare", "synapse", "--source", tmp_path / "nowhere", *out)
    assert "nowhere" in line
    assert "twice" in refused(capsys, "prepare", "synapse", "--source", raw, *out, "--train-cases", "0005,0005")
    assert "workers=0" in refused(capsys, "prepare", "synapse", "--source", raw, *out, "--workers", 0)
    assert "train=-1" in refused(capsys, "prepare", "virtual", "--source", raw, *out, "--train", -1)


# ---- train and evaluate -----------------------------------------------------------------------------------


def test_train(prepared, tmp_path, capsys, small_preset):
    command = ("train", "--dataset", prepared, "--output", tmp_path / "run", "--steps", 1, "--batch-size", 2)
    capsys.readouterr()
    assert run(*command, "--device", "cpu", "--half") == 0
    out, _ = capsys.readouterr()
    weights = tmp_path / "run" / "weights.safetensors"
    assert out.startswith(f"weights: {weights} (1 steps; ")
    assert out.count("\n") == 1
    assert checkpoints.load_network(weights).config == NetworkConfig.from_preset("tiny")
    half = weights.stat().st_size
    assert half < 0.6 * checkpoints.save_network(checkpoints.load_network(weights), weights).stat().st_size
    assert "another training config" in refused(capsys, *command, "--seed", 5)


def test_train_refuses(prepared, tmp_path, capsys, monkeypatch):
    command = ("train", "--dataset", prepared, "--output", tmp_path / "run")
    assert "huge" in refused(capsys, *command, "--preset", "huge")
    assert "quick" in refused(capsys, *command, "--recipe", "quick")
    assert "steps=0" in refused(capsys, *command, "--steps", 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "device 'cuda'" in refused(capsys, *command, "--device", "cuda")
    assert not (tmp_path / "run").exists()


def test_evaluate(prepared, tmp_path, checkpoint, capsys):
    table = tmp_path / "scores.csv"
    command = ("evaluate", "--checkpoint", checkpoint, "--dataset", prepared, "--device", "cpu")
    capsys.readouterr()
    assert run(*command, "--protocol", "both", "--output", table) == 0
    out, _ = capsys.readouterr()
    for word in ("paper protocol", "strict protocol", "DSC (0 to 1)", "HD95 (voxels)", "HD95 (mm)", *ORGANS):
        assert word in out
    assert len([line for line in out.splitlines() if line.startswith("mean")]) == 2
    scores = pd.read_csv(table)
    assert len(scores) == 2 * len(ORGANS)
    assert set(zip(scores.protocol, scores.hd95_unit, strict=True)) == {("paper", "voxels"), ("strict", "mm")}
    assert set(scores.case) == {"case0008"}
    assert list(tmp_path.glob(".partial-*")) == []


def test_evaluate_refuses(prepared, tmp_path, checkpoint, capsys):
    data = ("--dataset", prepared)
    assert "no such checkpoint" in refused(capsys, "evaluate", "--checkpoint", tmp_path / "none", *data)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(checkpoint.read_bytes()[:1000])
    assert str(damaged) in refused(capsys, "evaluate", "--checkpoint", damaged, *data)
    binary = MSA2Net(NetworkConfig.from_preset("tiny", image_size=32, num_classes=2))
    other = checkpoints.save_network(binary, tmp_path / "other.safetensors")
    assert "2 classes" in refused(capsys, "evaluate", "--checkpoint", other, *data)
    with h5py.File(prepared / "test_vol_h5" / "case0008.npy.h5", "r+") as file:
        del file.attrs["spacing"]
    strict = ("--protocol", "strict", "--device", "cpu")
    assert "spacing" in refused(capsys, "evaluate", "--checkpoint", checkpoint, *data, *strict)
    (prepared / "lists" / "test_vol.txt").write_text("")
    assert "no test case" in refused(capsys, "evaluate", "--checkpoint", checkpoint, *data)


# ---- reproduce and interruption ---------------------------------------------------------------------------


@pytest.fixture
def batches(monkeypatch):
    """Stand in for the batch runner; returns the calls, and leaves as many jobs undone as `undone` says."""
    calls = []
    runner = types.ModuleType("msa2net_lib.batch.reproduce")
    runner.undone = 0  # pyright: ignore[reportAttributeAccessIssue]

    def reproduce(plan, output_dir, **options):
        calls.append((plan, str(output_dir), options))
        return runner.undone

    runner.profile_plan = lambda profile, **changes: {"profile": profile, **changes}  # pyright: ignore
    runner.reproduce = reproduce  # pyright: ignore[reportAttributeAccessIssue]
    runner.calls = calls  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "msa2net_lib.batch.reproduce", runner)
    return runner


def test_reproduce(batches):
    assert run("reproduce") == 0
    values = ("STEPS=3", "DATASET=virtual", "RESUME=False", "CASE=0008", "NOTE=a=b")
    given = [word for value in values for word in ("-p", value)]
    batches.undone = 3
    options = (
        "--cores",
        "2",
        "--cluster",
        "workflow/profiles/slurm",
        "--seeds",
        "1",
        "2",
        "--device",
        "cpu",
        "--dry-run",
    )
    lessons = ["01_data", "10_training"]
    assert run("reproduce", "--profile", "gpu", "--output", "out", "--only", *lessons, *options, *given) == 1
    parameters = {"STEPS": 3, "DATASET": "virtual", "RESUME": False, "CASE": "0008", "NOTE": "a=b"}
    plain = {
        "profile": "smoke",
        "lessons": [],
        "seeds": None,
        "networks": None,
        "parameters": {},
        "device": "auto",
        "on_cluster": False,
    }
    changed = {
        "profile": "gpu",
        "lessons": lessons,
        "seeds": [1, 2],
        "networks": None,
        "parameters": parameters,
        "device": "cpu",
    }
    assert batches.calls == [
        (plain, "results", {"cores": None, "cluster": None, "dry_run": False}),
        (
            changed | {"on_cluster": True},
            "out",
            {"cores": 2, "cluster": Path("workflow/profiles/slurm"), "dry_run": True},
        ),
    ]


def test_reproduce_refuses(batches, capsys):
    assert "NAME=VALUE" in refused(capsys, "reproduce", "-p", "STEPS")
    assert batches.calls == []


@pytest.mark.parametrize(
    "given",
    ["STEPS={1, 2}", "STEPS=b'5'", "STEPS={[]}", "STEPS=1e3", "STEPS=1180591620717411303424", "RESUME=false",
     "DEVICE={'cpu'}", "CHECKPOINT=b'a'", "OTHERS={1: 2}", "LEVEL=" + "(" * 150 + ")" * 150, "STEPS=" + "9" * 5000],
)  # fmt: skip
def test_values_that_no_lesson_takes_are_one_line(capsys, given):
    """Nothing stands in for the batch here: the plan is made, and refuses."""
    line = refused(capsys, "reproduce", "-p", given)
    assert line.startswith(f"msa2net: {given.partition('=')[0]}=")
    assert len(line) < 300


def test_interrupted(batches, monkeypatch, capsys):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(batches, "reproduce", stop)
    assert run("reproduce") == 130
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_told_and_in_the_exit_code(batches, monkeypatch, capsys, number):
    """Batch systems send SIGTERM, a terminal that is closed SIGHUP; both ended a command without a word."""
    monkeypatch.setattr(batches, "reproduce", lambda *_, **__: signal.raise_signal(number))
    before = signal.signal(number, signal.default_int_handler)
    try:
        assert run("reproduce") == 128 + number
    finally:
        signal.signal(number, before)
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"


@pytest.mark.parametrize("command", ["score", "compare", "evaluate"])
def test_what_starts_over_says_so(command, monkeypatch, capsys):
    def stop(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"msa2net_lib.cli.{command}.run", stop)
    words = {"score": "--predictions . --references .", "compare": ".", "evaluate": "--checkpoint . --dataset ."}
    assert run(command, *words[command].split()) == 130
    assert capsys.readouterr().err == "stopped; run the same command again to start over\n"


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("score", "--predictions", ".", "--references", ".", "--output", f"{LONG}.csv"),
        ("compare", ".", ".", "--figure", f"{LONG}/a.png", "--names", "a", "b"),
        ("doctor", "--data", LONG),
        ("prepare", "skin", "--destination", LONG, "--count", 1, "--size", 16, "--workers", 1),
    ],
)
def test_a_name_longer_than_the_system_takes_is_one_line(words, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, *words)
    assert LONG in line
    assert "File name too long" in line


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP])
def test_what_the_system_refuses_is_one_line_with_advice(batches, monkeypatch, capsys, number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr(batches, "reproduce", fail)
    assert refused(capsys, "reproduce").startswith(f"msa2net: some/file: {os.strerror(number)}; ")


def test_a_bug_keeps_its_traceback(batches, monkeypatch):
    def fail(*arguments, **options):
        raise KeyError("a bug")

    monkeypatch.setattr(batches, "reproduce", fail)
    with pytest.raises(KeyError, match="a bug"):
        run("reproduce")


def test_the_version_is_said(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"msa2net {version('msa2net-workbook')}\n"


def options_with_values(parser, *words):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from options_with_values(command, *words, name)
        elif action.option_strings and action.nargs not in (0, argparse.PARSER) and not action.choices:
            yield parser, action


@pytest.mark.parametrize("text", ["-1e3", "-1.5E-3", "-.5e1", "-5.", "-1_000", "-inf", "-nan", "-7", "-0.25"])
def test_negative_numbers_in_any_form_are_values_of_every_option(text):
    """argparse itself knows -7 and -0.25, and takes the others for options that do not exist."""
    found = list(options_with_values(_parser()))
    assert {"window", "field_of_view", "threshold", "tolerance", "learning_rate"} <= {each.dest for _, each in found}
    for parser, action in found:
        for other in (*parser._actions, *parser._mutually_exclusive_groups):
            other.required = False
        action.type = None  # what the number may be is another matter
        given = [text] * (action.nargs if isinstance(action.nargs, int) else 1)
        read = getattr(parser.parse_args([action.option_strings[0], *given]), action.dest)
        assert text in (read if isinstance(read, list) else [read]), action.option_strings


@pytest.mark.parametrize("arguments", [[], ["prepare"], ["train"], ["conquer"], ["train", "--steps", "few"]])
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: msa2net" in capsys.readouterr().err
