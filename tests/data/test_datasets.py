"""Opening prepared folders, ours and TransUNet's, and resizing for the network."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.resize import normalise, resize_image, resize_label
from msa2net_lib.data.training_slices import SliceDataset, load_training_tensors


@pytest.fixture
def downloaded(tmp_path):
    """A folder as TransUNet's own preparation leaves it: float labels, no manifest, no spacing."""
    root = tmp_path / "Synapse"
    rng = np.random.default_rng(5)
    (root / "train_npz").mkdir(parents=True)
    (root / "test_vol_h5").mkdir()
    (root / "lists" / "lists_Synapse").mkdir(parents=True)
    names = [f"case0031_slice{z:03d}" for z in (2, 0, 1)]
    for name in names:
        image = rng.random((20, 30), dtype=np.float32)
        np.savez(
            root / "train_npz" / f"{name}.npz",
            image=image,
            label=rng.integers(0, 9, (20, 30)).astype(np.float32),
        )
    with h5py.File(root / "test_vol_h5" / "case0008.npy.h5", "w") as file:
        file["image"] = rng.random((4, 20, 30), dtype=np.float32)
        file["label"] = rng.integers(0, 9, (4, 20, 30)).astype(np.float32)
    (root / "lists" / "lists_Synapse" / "train.txt").write_text("\n".join(names) + "\n")
    (root / "lists" / "lists_Synapse" / "test_vol.txt").write_text("case0008\n")
    return root


def rewrite(path, **arrays):
    """Replace some arrays of an npz file; None drops one."""
    with np.load(path) as stored:
        merged = {**stored, **arrays}
    np.savez(path, **{key: value for key, value in merged.items() if value is not None})


def test_folder_prepared_by_others(downloaded):
    prepared = PreparedDataset.open(downloaded)
    assert prepared.train_slices == ["case0031_slice002", "case0031_slice000", "case0031_slice001"]
    assert prepared.test_cases == ["case0008"]
    assert prepared.manifest == {}
    image, label = prepared.load_slice("case0031_slice000")
    with np.load(downloaded / "train_npz" / "case0031_slice000.npz") as stored:
        np.testing.assert_array_equal(image, stored["image"])
        np.testing.assert_array_equal(label, stored["label"])
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    case = prepared.load_case("case0008")
    with h5py.File(downloaded / "test_vol_h5" / "case0008.npy.h5") as file:
        np.testing.assert_array_equal(case.image, file["image"])
        np.testing.assert_array_equal(case.label, file["label"])
    assert (case.image.dtype, case.label.dtype, case.spacing) == (np.float32, np.uint8, None)


def test_lists_may_lie_one_folder_higher(downloaded):
    for path in (downloaded / "lists" / "lists_Synapse").iterdir():
        path.rename(downloaded / "lists" / path.name)
    assert len(PreparedDataset.open(downloaded).train_slices) == 3


def test_folder_that_is_not_prepared(tmp_path, refused):
    refused([tmp_path / "nowhere", "no such folder", "prepare"], PreparedDataset.open, tmp_path / "nowhere")
    refused([tmp_path, "no prepared data", "msa2net prepare"], PreparedDataset.open, tmp_path)


def test_unfinished_preparation(downloaded, refused):
    (downloaded / "cases").mkdir()
    refused([downloaded, "did not finish"], PreparedDataset.open, downloaded)


def test_broken_manifest(downloaded, refused):
    (downloaded / "dataset.json").write_text("{")
    refused([downloaded / "dataset.json", "not valid JSON"], PreparedDataset.open, downloaded)


@pytest.mark.parametrize("name", ["train_npz/case0031_slice001.npz", "test_vol_h5/case0008.npy.h5"])
def test_listed_file_that_is_missing(downloaded, refused, name):
    (downloaded / name).unlink()
    refused([downloaded / name, "missing", ".txt"], PreparedDataset.open, downloaded)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"label": None}, "lacks an array"),
        ({"image": np.full((20, 30), 1.01)}, "leaves [0, 1]"),
        ({"image": np.full((20, 30), -0.01)}, "leaves [0, 1]"),
        ({"image": np.full((20, 30), np.nan)}, "leaves [0, 1]"),
        ({"label": np.full((20, 30), 9)}, "9"),
        ({"label": np.full((20, 30), 1 / 255)}, "0.00392157"),
        ({"label": np.zeros((20, 29))}, "one shape"),
        ({"image": np.zeros((1, 20, 30)), "label": np.zeros((1, 20, 30))}, "2-D"),
    ],
)
def test_slice_in_another_form(downloaded, refused, arrays, words):
    path = downloaded / "train_npz" / "case0031_slice000.npz"
    rewrite(path, **arrays)
    prepared = PreparedDataset.open(downloaded)
    refused([path, words], prepared.load_slice, "case0031_slice000")


def test_damaged_files(downloaded, refused):
    prepared = PreparedDataset.open(downloaded)
    for path in (prepared.slice_path("case0031_slice000"), prepared.case_path("case0008")):
        path.write_bytes(path.read_bytes()[:200])
    refused([prepared.slice_path("case0031_slice000"), "damaged"], prepared.load_slice, "case0031_slice000")
    refused([prepared.case_path("case0008"), "damaged"], prepared.load_case, "case0008")
    refused("no such file", prepared.load_slice, "case0099_slice000")


def test_volume_without_label_or_with_half_a_spacing(downloaded, refused):
    prepared = PreparedDataset.open(downloaded)
    with h5py.File(prepared.case_path("case0008"), "a") as file:
        file.attrs["spacing"] = [3.0, 1.0]
    refused([prepared.case_path("case0008"), "damaged"], prepared.load_case, "case0008")
    with h5py.File(prepared.case_path("case0008"), "a") as file:
        file.attrs["spacing"] = [3.0, 1.0, 0.5]
        assert prepared.load_case("case0008").spacing == (3.0, 1.0, 0.5)
        del file["label"]
    refused([prepared.case_path("case0008"), "lacks an array"], prepared.load_case, "case0008")


@pytest.mark.parametrize("size", [32, (17, 53), 224, (20, 30)])
def test_resizing_gives_the_asked_shape_and_keeps_labels(size):
    rng = np.random.default_rng(0)
    image = rng.random((20, 30), dtype=np.float32)
    label = rng.choice(np.array([0, 2, 7], np.uint8), (20, 30))
    height, width = (size, size) if isinstance(size, int) else size
    resized, relabelled = resize_image(image, size), resize_label(label, size)
    assert resized.shape == relabelled.shape == (height, width)
    assert (resized.dtype, relabelled.dtype) == (np.float32, np.uint8)
    assert set(np.unique(relabelled)) == {0, 2, 7}
    # zoom maps the corners onto the corners.
    np.testing.assert_allclose(
        resized[[0, 0, -1, -1], [0, -1, 0, -1]], image[[0, 0, -1, -1], [0, -1, 0, -1]], atol=1e-5
    )
    assert relabelled[-1, 0] == label[-1, 0]


def test_cubic_resize_follows_a_smooth_function():
    y, x = np.mgrid[0:1:25j, 0:1:33j]
    fine_y, fine_x = np.mgrid[0:1:97j, 0:1:65j]
    resized = resize_image(np.sin(3 * y) * x**2, (97, 65))
    # Away from the border, where the mirror ending bends the spline. Linear resizing would be off by 2e-3.
    np.testing.assert_allclose(resized[12:-12, 8:-8], (np.sin(3 * fine_y) * fine_x**2)[12:-12, 8:-8], atol=5e-4)


def test_cubic_resize_overshoots_a_step():
    step = np.zeros((16, 16), np.float32)
    step[:, 8:] = 1
    resized = resize_image(step, 64)
    assert resized.min() < -0.05
    assert resized.max() > 1.05


@pytest.mark.parametrize("size", [0, (32, -1)])
def test_size_that_is_none(refused, size):
    refused("positive", resize_label, np.zeros((4, 4)), size)


def test_only_slices_are_resized(refused):
    refused("one slice", resize_image, np.zeros((2, 4, 4)), 8)


def test_normalise():
    normalised = normalise(np.array([0.0, 0.25, 1.0]))
    assert normalised.dtype == np.float32
    assert normalised.tolist() == [-1.0, -0.5, 1.0]


def test_training_tensors_and_lazy_dataset_agree(downloaded):
    prepared = PreparedDataset.open(downloaded)
    images, labels = load_training_tensors(prepared, (32, 48), progress=False)
    assert images.shape == (3, 1, 32, 48)
    assert labels.shape == (3, 32, 48)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    batch = next(iter(DataLoader(SliceDataset(prepared, (32, 48)), batch_size=3)))
    assert torch.equal(batch[0], images)
    assert torch.equal(batch[1], labels)
    # List order, and the label of the list's first slice untouched by any scaling.
    image, label = prepared.load_slice("case0031_slice002")
    np.testing.assert_array_equal(images[0, 0], (resize_image(image, (32, 48)) - 0.5) / 0.5)
    assert set(labels[0].unique().tolist()) == set(np.unique(label).tolist())


def test_no_training_slice(downloaded, refused):
    (downloaded / "lists" / "lists_Synapse" / "train.txt").write_text("")
    refused([downloaded, "no training slice"], load_training_tensors, PreparedDataset.open(downloaded), 32)


def test_manifest_is_read(downloaded):
    (downloaded / "dataset.json").write_text(json.dumps({"label_scheme": "A"}))
    assert PreparedDataset.open(downloaded).manifest == {"label_scheme": "A"}
