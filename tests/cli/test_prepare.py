"""Preparing your own data from the command line: who is trained on, and what is worth a look."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from msa2net_lib.cli.main import main
from msa2net_lib.data.datasets import PreparedDataset, validation_cases
from msa2net_lib.data.images.dataset import ImageDataset


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr()


@pytest.fixture
def images(tmp_path):
    """Ten images of four patients, with masks."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"p{number}.png")
        Image.fromarray(pixels[..., 0] > 128).save(tmp_path / "masks" / f"p{number}.png")
    return tmp_path


def prepare_images(capsys, images, *options):
    folders = "--images", images / "images", "--masks", images / "masks", "--destination", images / "out"
    return run(capsys, "prepare", "images", *folders, "--size", 32, "--workers", 1, *options)


TABLE = "id,part,patient\np1,test,a\np3,test,a\np2,train,b\np5,validation,c\n"


@pytest.mark.parametrize(
    ("split", "counts"),
    [(None, (7, 1, 2)), ("test", (0, 0, 10)), ("0.5,0,0.5", (5, 0, 5)), (TABLE, (1, 1, 2)), ("id;patient", None)],
)
def test_images_are_split_as_asked(images, capsys, split, counts):
    if split == "id;patient":
        split, counts = "id;patient\n" + "".join(f"p{n};{'aabbbbbcdd'[n]}\n" for n in range(10)), (7, 1, 2)
    if split is not None and "id" in split:
        (images / "split.csv").write_text(split)
        split = images / "split.csv"
    code, said = prepare_images(capsys, images, *([] if split is None else ["--split", split]))
    assert code == 0, said.err
    dataset = ImageDataset.open(images / "out")
    assert tuple(len(dataset.ids[part]) for part in ("train", "validation", "test")) == counts
    assert ("left out, 6 images that the split does not list" in said.out) == (counts == (1, 1, 2))


@pytest.mark.parametrize("split", ["0.5,0.5", "tset", "0.7;0.1;0.2", "1e400,0,0"])
def test_splits_that_are_none(images, capsys, split):
    code, said = prepare_images(capsys, images, "--split", split)
    assert code == 2
    assert len(said.err.splitlines()) == 1
    assert not (images / "out").exists()


def test_preparation_ends_with_what_to_look_at(images, capsys):
    (images / "images" / "p9.png").write_bytes((images / "images" / "p0.png").read_bytes())
    inverted = np.full((20, 30), 255, np.uint8)
    inverted[8:12, 8:12] = 0
    Image.fromarray(inverted).save(images / "masks" / "p4.png")
    (images / "masks" / "other.png").write_bytes((images / "masks" / "p0.png").read_bytes())
    code, said = prepare_images(capsys, images)
    assert code == 0
    looked = said.out[said.out.index("look at these:") :]
    assert "p0 (train), p9 (test)" in looked
    assert "border of 1 of 10 (p4); their masks may be inverted" in looked
    assert "files beside the masks: other.png" in looked


# ---- scans --------------------------------------------------------------------------------------------------


@pytest.fixture
def scans(tmp_path):
    """Four scans in Hounsfield units, with a box of an organ, written with SimpleITK."""
    for number, name in enumerate(("anna", "bert", "cleo", "dora")):
        image = np.random.default_rng(number).integers(-1000, 400, (3, 20, 24)).astype(np.int16)
        label = np.zeros(image.shape, np.uint8)
        label[:, 5:12, 6:14] = 1
        for folder, array in (("images", image), ("labels", label)):
            (tmp_path / folder).mkdir(exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), tmp_path / folder / f"{name}.nii.gz")
    return tmp_path


def prepare_scans(capsys, scans, *options):
    folders = "--images", scans / "images", "--labels", scans / "labels", "--destination", scans / "out"
    return run(capsys, "prepare", "scans", *folders, "--classes", "organ=1", "--workers", 1, *options)


@pytest.mark.parametrize(
    "options",
    [
        ["--test-cases", "dora", "--validation-cases", "anna"],
        ["--split", "id,part\nanna,validation\nbert,train\ncleo,train\ndora,test\n"],
        ["--split", "part\tid\tpatient\nvalidation\tanna\t1\ntrain\tbert\t2\ntest\tdora\t4\ntrain\tcleo\t2\n"],
    ],
)
def test_scans_are_split_as_asked(scans, capsys, options):
    if options[0] == "--split":
        (scans / "split.csv").write_text(options[1])
        options = ["--split", scans / "split.csv"]
    code, said = prepare_scans(capsys, scans, *options)
    assert code == 0, said.err
    dataset = PreparedDataset.open(scans / "out")
    assert dataset.test_cases == ["dora"]
    assert validation_cases(dataset) == ["anna"]
    assert {name.rpartition("_")[0] for name in dataset.train_slices} == {"anna", "bert", "cleo"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("id,part\nanna,train\nbert,train\ncleo,test\n", "does not list case dora (1 such)"),
        ("id,part\nanna,train\nbert,train\ncleo,test\ndora,test\nemil,test\n", "there are no labels of, case emil"),
        ("id,part\nanna,train\nanna,test\n", "lists anna twice"),
        (
            "id,part,patient\nanna,train,1\nbert,train,2\ncleo,test,2\ndora,test,3\n",
            "patient 2 is in train and in test",
        ),
    ],
)
def test_tables_that_do_not_fit_the_scans(scans, capsys, table, words):
    (scans / "split.csv").write_text(table)
    code, said = prepare_scans(capsys, scans, "--split", scans / "split.csv")
    assert code == 2
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    code, said = prepare_scans(capsys, scans, "--split", scans / "split.csv", "--test-cases", "anna")
    assert (code, "leave --test-cases and --validation-cases out" in said.err) == (2, True)
