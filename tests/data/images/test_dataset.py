"""Prepared images: what opens, what is loaded, and what training asks for."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from msa2net_lib.data.images.dataset import ImageDataset
from msa2net_lib.data.images.prepare import prepare_images
from msa2net_lib.data.training_slices import load_training_tensors
from msa2net_lib.evaluation.images import original_mask

IDS = [f"p{number}" for number in range(10)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(3)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for name in IDS:
        image = rng.integers(30, 220, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(image[..., 0] > 120).save(root / "masks" / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def dataset(source):
    return prepare_images(source / "images", source / "masks", source / "out", size=(32, 64), workers=1, progress=False)


@pytest.fixture
def folder(dataset, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(dataset.root, tmp_path / "copy")


def stored(dataset, part, row):
    return tuple(np.load(dataset.root / f"{part}_{kind}.npy")[row] for kind in ("images", "masks"))


def test_parts_and_size(dataset):
    assert (dataset.train_ids, dataset.validation_ids, dataset.test_ids) == (IDS[:7], IDS[7:8], IDS[8:])
    assert dataset.height_width == (32, 64)
    assert not dataset.is_synthetic
    assert ImageDataset.open(dataset.root) == dataset


@pytest.mark.parametrize(("name", "part", "row"), [("p2", "train", 2), ("p7", "validation", 0), ("p9", "test", 1)])
def test_load_is_the_row_stretched_to_its_own_range(dataset, name, part, row):
    image, mask = stored(dataset, part, row)
    loaded = dataset.load(name)
    assert (loaded.id, loaded.image.dtype, loaded.mask.dtype) == (name, np.float32, np.uint8)
    low, high = float(image.min()), float(image.max())
    np.testing.assert_allclose(loaded.image, (image - low) / (high - low), atol=1e-6)
    np.testing.assert_array_equal(loaded.mask, mask)
    assert set(np.unique(mask)) == {0, 1}


def test_training_sample(dataset):
    loaded = dataset.load("p3")
    image, mask = dataset.training_sample("p3", (32, 64))
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((3, 32, 64), np.float32, (32, 64), np.uint8)
    np.testing.assert_allclose(image, 2 * loaded.image.transpose(2, 0, 1) - 1, atol=1e-6)
    np.testing.assert_array_equal(mask, loaded.mask)
    assert (image.min(), image.max()) == (-1, 1)
    # At another size: the recipe's filters once more, and stretched after that.
    small, small_mask = dataset.training_sample("p3", 16)
    assert small.shape == (3, 16, 16)
    assert (small.min(), small.max()) == (-1, 1)
    np.testing.assert_array_equal(small_mask, loaded.mask[::2, ::4])  # nearest, at whole factors


def test_training_takes_it(dataset):
    images, labels = load_training_tensors(dataset, (32, 64), progress=False)
    assert tuple(images.shape) == (7, 3, 32, 64)
    assert tuple(labels.shape) == (7, 32, 64)
    for row, name in enumerate(dataset.train_ids):
        image, mask = dataset.training_sample(name, (32, 64))
        np.testing.assert_array_equal(images[row], image)
        np.testing.assert_array_equal(labels[row], mask)


def test_digest_depends_on_images_and_recipe_only(dataset, source, folder, tmp_path):
    assert ImageDataset.open(folder).digest() == dataset.digest()
    folders = source / "images", source / "masks"
    seen = {dataset.digest()}
    for number, options in enumerate([{"recipe": "dlka"}, {"size": 32}, {"split": {"train": IDS}}]):
        options = {"size": (32, 64), "workers": 1, "progress": False, **options}
        seen.add(prepare_images(*folders, tmp_path / str(number), **options).digest())
    assert len(seen) == 4


def test_unknown_id(dataset, refused):
    refused([dataset.root, "'p77'"], dataset.load, "p77")
    refused([dataset.root, "'p77'"], dataset.training_sample, "p77", 32)


def test_folders_that_do_not_open(folder, tmp_path, refused):
    refused([tmp_path / "none", "holds no prepared images"], ImageDataset.open, tmp_path / "none")
    manifest = json.loads((folder / "dataset.json").read_text())
    damaged = ["{", "[]", '{"format": 1}', json.dumps(manifest | {"kind": "CT"})]
    damaged += [json.dumps(manifest | {"images": {"p0": {"split": "dev"}}}), json.dumps(manifest | {"recipe": {}})]
    for text in damaged:
        (folder / "dataset.json").write_text(text)
        refused([folder / "dataset.json", "again"], ImageDataset.open, folder)
    (folder / "dataset.json").unlink()
    refused([folder, "did not finish"], ImageDataset.open, folder)


@pytest.mark.parametrize("name", ["../p0", "/elsewhere/p0", "..", "a" * 250, "p\n0", ".p0"])
def test_ids_that_lead_elsewhere(folder, refused, name):
    manifest = json.loads((folder / "dataset.json").read_text())
    manifest["images"][name] = manifest["images"].pop("p0")
    (folder / "dataset.json").write_text(json.dumps(manifest))
    refused([folder / "dataset.json", "id ", "rename"], ImageDataset.open, folder)


@pytest.mark.parametrize("name", ["../masks/p9.png", "/etc/hostname", "..\\p9.png"])
def test_masks_that_lead_elsewhere(folder, source, refused, name):
    manifest = json.loads((folder / "dataset.json").read_text())
    manifest["images"]["p9"]["sources"]["mask"]["file"] = name
    (folder / "dataset.json").write_text(json.dumps(manifest))
    refused(["separator"], original_mask, ImageDataset.open(folder), "p9", source / "masks")


def test_a_name_twice_in_the_manifest(folder, refused):
    text = (folder / "dataset.json").read_text()
    (folder / "dataset.json").write_text(text.replace('"p1": {', '"p0": {'))
    refused([folder / "dataset.json", "stands twice"], ImageDataset.open, folder)


def test_arrays_cut_short_missing_or_of_another_shape(folder, dataset, refused):
    path = folder / "test_masks.npy"
    content = path.read_bytes()
    for spoilt in (content[:-1], content + b"0", content[:60], b""):
        path.write_bytes(spoilt)
        refused([path, "expected shape (2, 32, 64)"], ImageDataset.open, folder)
    np.save(path, np.zeros((2, 64, 32), np.uint8))
    refused([path, "expected shape (2, 32, 64)"], ImageDataset.open, folder)
    np.save(path, np.zeros((2, 32, 64), np.int8))
    refused([path], ImageDataset.open, folder)
    path.unlink()
    refused([path], ImageDataset.open, folder)


def test_a_changed_pixel_is_noticed_when_it_is_read(folder, refused):
    content = bytearray((folder / "train_images.npy").read_bytes())
    content[-7] ^= 1  # of the last training image
    (folder / "train_images.npy").write_bytes(content)
    dataset = ImageDataset.open(folder)
    dataset.load("p5")
    refused([folder, "p6 is not as it was prepared"], dataset.load, "p6")
    (folder / "train_images.npy").unlink()
    refused([folder, "damaged"], dataset.load, "p5")
