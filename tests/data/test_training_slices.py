"""Training samples as tensors: the same whether decoded in memory, read from the cache or loaded by workers."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from msa2net_lib.data import training_slices
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.data.training_slices import SliceDataset, load_training_tensors

SIZE = (32, 48)


@pytest.fixture
def prepared(btcv, tmp_path):
    """Nine training slices of two small scans."""
    return prepare_synapse(btcv, tmp_path / "prepared", workers=1, progress=False)


@pytest.fixture
def expected(prepared):
    """The tensors by the field's recipe, straight from the files."""
    images, labels = [], []
    for name in prepared.train_slices:
        with np.load(prepared.slice_path(name)) as stored:
            images.append((resize_image(stored["image"], SIZE)[None] - np.float32(0.5)) / np.float32(0.5))
            labels.append(resize_label(stored["label"], SIZE))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)).long()


@dataclasses.dataclass(frozen=True)
class Color:
    """Training data of three channels."""

    root: Path
    train_ids: tuple[str, ...] = ("a", "b")

    def digest(self):
        return "0" * 64

    def training_sample(self, sample_id, size):
        rng = np.random.default_rng(ord(sample_id))
        return rng.random((3, *size), dtype=np.float32), rng.integers(0, 2, size).astype(np.uint8)


def assert_same(tensors, expected):
    for ours, theirs in zip(tensors, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_few_samples_are_decoded_without_a_trace(prepared, expected, tree):
    before = tree(prepared.root)
    images, labels = load_training_tensors(prepared, SIZE, progress=False)
    assert (images.shape, images.dtype) == ((9, 1, 32, 48), torch.float32)
    assert (labels.shape, labels.dtype) == ((9, 32, 48), torch.int64)
    assert_same((images, labels), expected)
    assert tree(prepared.root) == before


def test_many_samples_come_through_the_cache(prepared, expected, monkeypatch):
    monkeypatch.setattr(training_slices, "WORTH_CACHING", 9)
    assert_same(load_training_tensors(prepared, SIZE, progress=False), expected)
    assert (prepared.root / "cache" / f"32x48-{prepared.digest()[:8]}" / "images.npy").is_file()
    decoded = []
    monkeypatch.setattr(PreparedDataset, "load_slice", count_into(decoded, PreparedDataset.load_slice))
    images, labels = load_training_tensors(prepared, SIZE, progress=False)
    assert len(decoded) == 3  # compared with the cache, which has the rest
    assert_same((images, labels), expected)
    images += 1  # training may write to them; the cache stays as it was
    labels += 1
    assert_same(load_training_tensors(prepared, SIZE, progress=False), expected)


def count_into(calls, function):
    def counted(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return counted


def test_where_no_cache_can_be_kept_they_are_decoded(prepared, expected, monkeypatch):
    monkeypatch.setattr(training_slices, "WORTH_CACHING", 9)
    (prepared.root / "cache").write_text("in the way, as on a read-only disk")
    assert_same(load_training_tensors(prepared, SIZE, progress=False), expected)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_loader_gives_the_same_samples(prepared, expected, workers):
    slices = SliceDataset(prepared, SIZE, progress=False)
    assert len(slices) == 9
    loader = DataLoader(slices, batch_size=4, num_workers=workers, multiprocessing_context="spawn" if workers else None)
    batches = list(loader)
    assert [len(images) for images, _ in batches] == [4, 4, 1]
    assert_same([torch.cat(parts) for parts in zip(*batches, strict=True)], expected)


def test_a_sample_can_be_written_to_and_the_cache_stays(prepared, expected):
    slices = SliceDataset(prepared, SIZE, progress=False)
    image, label = slices[3]
    image.zero_()
    label.zero_()
    assert_same(slices[3], (expected[0][3], expected[1][3]))
    assert len(pickle.dumps(slices)) < 2000
    assert_same(pickle.loads(pickle.dumps(slices))[3], slices[3])
    with pytest.raises(IndexError):
        slices[9]


def test_three_channels(tmp_path):
    data = Color(tmp_path / "color")
    images, labels = load_training_tensors(data, (6, 4), progress=False)
    assert images.shape == (2, 3, 6, 4)
    slices = SliceDataset(data, (6, 4), folder=tmp_path / "elsewhere", progress=False)
    for index, sample_id in enumerate("ab"):
        image, label = data.training_sample(sample_id, (6, 4))
        for tensors in ((images[index], labels[index]), slices[index]):
            assert_same(tensors, (torch.from_numpy(image), torch.from_numpy(label).long()))
    assert not data.root.exists()


def test_no_training_slice(prepared, refused):
    empty = dataclasses.replace(prepared, train_slices=[])
    for load in (load_training_tensors, SliceDataset):
        refused([prepared.root, "no training slice"], load, empty, 32)


def test_damaged_slice(prepared, refused):
    path = prepared.slice_path("case0006_slice001")
    path.write_bytes(path.read_bytes()[:200])
    for load in (load_training_tensors, SliceDataset):
        refused([path, "damaged"], load, prepared, SIZE, progress=False)


def test_cache_folder_that_cannot_be_written_is_told(prepared, refused):
    (prepared.root / "cache").write_text("in the way")
    refused([prepared.root / "cache", "name another"], SliceDataset, prepared, SIZE, progress=False)
