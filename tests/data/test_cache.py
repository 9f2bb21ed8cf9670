"""The cache of training samples: bit for bit the samples, whole after any kill, never another data set's."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from msa2net_lib.data import cache as slice_cache
from msa2net_lib.data.cache import CacheUnavailable, SliceCache, decode_all, open_cache, read_record
from msa2net_lib.errors import InputError

SIZE = (12, 10)
SPAWN = multiprocessing.get_context("spawn")


@dataclasses.dataclass
class Samples:
    """Training data made on the spot, each sample from its id alone; ``asked`` are the ids decoded so far."""

    root: Path
    count: int = 40
    channels: int = 1
    version: int = 0
    seconds: float = 0.0
    prefix: str = ""
    asked: list[str] = dataclasses.field(default_factory=list)

    @property
    def train_ids(self):
        return [f"sample{index:03d}" for index in range(self.count)]

    def digest(self):
        return f"{self.prefix}{self.version:064d}"[:64]

    def training_sample(self, sample_id, size):
        self.asked.append(sample_id)
        time.sleep(self.seconds)
        rng = np.random.default_rng([self.version, int(sample_id.removeprefix("sample"))])
        image = rng.normal(0, 1 / 3, (self.channels, *size)).astype(np.float32)
        return image, rng.integers(0, 9, size).astype(np.uint8)


@pytest.fixture
def data(tmp_path):
    return Samples(tmp_path / "data")


def opened(data, folder=None, **options):
    return open_cache(data, SIZE, folder=folder, **{"workers": 1, "progress": False, **options})


def assert_holds(cache, data):
    """Every array is the sample itself, to the last bit."""
    count = len(data.train_ids)
    assert len(cache) == count
    assert (cache.images.dtype, cache.images.shape) == (np.float32, (count, data.channels, *SIZE))
    assert (cache.labels.dtype, cache.labels.shape) == (np.uint8, (count, *SIZE))
    for index, sample_id in enumerate(data.train_ids):
        image, label = data.training_sample(sample_id, SIZE)
        assert cache.images[index].tobytes() == image.tobytes()
        assert cache.labels[index].tobytes() == label.tobytes()


@pytest.mark.parametrize(("channels", "workers"), [(1, 1), (3, 4)])
def test_cache_holds_the_samples(data, channels, workers, tree):
    data.channels = channels
    cache = opened(data, workers=workers)
    assert cache.folder == data.root / "cache" / "12x10-00000000"
    assert_holds(cache, data)
    assert sorted(tree(cache.folder)) == ["cache.json", "images.npy", "labels.npy"]
    images, labels = (np.load(data.root / "cache" / "12x10-00000000" / name) for name in ("images.npy", "labels.npy"))
    assert_holds(SliceCache(images, labels), data)
    assert not cache.images.flags.writeable
    data.asked.clear()
    assert_holds(opened(data), Samples(data.root, channels=channels))
    assert data.asked == ["sample000", "sample020", "sample039"]  # to compare with, none to fill in


def test_in_memory_it_holds_the_same_and_writes_nothing(data):
    assert_holds(decode_all(data, SIZE, workers=3, progress=False), data)
    assert not data.root.exists()


def test_one_size_asks_for_another_folder(data, tree):
    square = open_cache(data, 8, progress=False)
    assert square.folder == data.root / "cache" / "8x8-00000000"
    before = tree(square.folder)
    assert_holds(opened(data), data)
    assert tree(square.folder) == before


def test_other_data_have_another_folder(data, tree):
    """The full training set and one with cases held out lie side by side, and neither is built twice."""
    full, part = data, Samples(data.root, count=20, prefix="1a2b3c4d")
    folders = [opened(which).folder for which in (full, part)]
    assert [folder.name for folder in folders] == ["12x10-00000000", "12x10-1a2b3c4d"]
    before = tree(data.root)
    for which in (full, part):
        which.asked.clear()
        assert len(opened(which)) == which.count
        assert len(which.asked) == 3  # to compare with
    assert tree(data.root) == before


def _same_elsewhere(cache, count):
    """Run in another process: the cache it was sent is a map of the files, not a copy of them."""
    assert isinstance(cache.images, np.memmap)
    assert_holds(cache, Samples(Path("nowhere"), count=count))


@pytest.mark.slow
def test_pickled_cache_maps_the_files_again(data, refused):
    cache = opened(data)
    message = pickle.dumps(cache)
    assert len(message) < 2000 < cache.images.nbytes
    process = SPAWN.Process(target=_same_elsewhere, args=(cache, data.count))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    opened(dataclasses.replace(data, version=1))
    refused([cache.folder, "replaced", "start again"], pickle.loads, message)
    in_memory = decode_all(data, SIZE, progress=False)
    assert_holds(pickle.loads(pickle.dumps(in_memory)), data)


# ---- stopped builds --------------------------------------------------------------------------------------


def _build_until(root, function, call):
    """Build with one thread and die of SIGKILL as ``os.<function>`` is called for the given time."""
    real, calls = getattr(os, function), iter(range(1, 1000))

    def counted(*arguments):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    setattr(os, function, counted)
    opened(Samples(root))


# 40 samples are chunks of 16, 16 and 8. Files reach the disk (fsync) in the order: record, empty images, empty labels,
# then images, labels and record of each chunk; put in place (replace) are all but the rows of the chunks.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "call", "kept"),
    [("fsync", 2, [0]), ("fsync", 8, [0, 1]), ("replace", 2, [0]), ("replace", 5, [1]), ("replace", 6, [2])],
)
def test_killed_build_goes_on(data, tmp_path, tree, function, call, kept):
    process = SPAWN.Process(target=_build_until, args=(data.root, function, call))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    folder = data.root / "cache" / "12x10-00000000"
    done = len(read_record(folder)["done"])
    assert done in kept  # the record of one chunk and the next chunk's arrays are written side by side
    cache = opened(data)
    assert data.asked == ["sample000", *data.train_ids[16 * done :]]  # the first tells the shape
    assert_holds(cache, data)
    undisturbed = opened(Samples(tmp_path / "undisturbed"))
    assert tree(cache.folder) == tree(undisturbed.folder)


def _build_slowly(root):
    opened(Samples(root, seconds=0.02), workers=2)


def wait_for_chunks(folder, count):
    """Return once a build has recorded so many chunks."""
    for _ in range(3000):
        record = read_record(folder)
        if record and len(record["done"]) >= count:
            return
        time.sleep(0.01)
    raise AssertionError("the build never came so far")


@pytest.mark.slow
def test_killed_from_outside(data, tmp_path, tree):
    folder = data.root / "cache" / "12x10-00000000"
    process = SPAWN.Process(target=_build_slowly, args=(data.root,))
    process.start()
    wait_for_chunks(folder, 1)
    process.kill()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert_holds(opened(data), data)
    assert tree(folder) == tree(opened(Samples(tmp_path / "undisturbed")).folder)


@pytest.mark.slow
def test_second_process_waits_and_uses_what_the_first_built(data):
    process = SPAWN.Process(target=_build_slowly, args=(data.root,))
    process.start()
    wait_for_chunks(data.root / "cache" / "12x10-00000000", 0)
    cache = opened(data)
    process.join(60)
    assert process.exitcode == 0
    assert len(data.asked) <= 4  # its shape and three to compare with
    assert_holds(cache, data)


class Damaged(Samples):
    """One sample of the last chunk cannot be read."""

    def training_sample(self, sample_id, size):
        if sample_id == "sample035":
            raise InputError("sample035.npz: damaged")
        return super().training_sample(sample_id, size)


@pytest.fixture
def stopped(data, refused):
    """A folder in which a build stopped after two of three chunks."""
    refused("sample035.npz", opened, Damaged(data.root))
    return data.root / "cache" / "12x10-00000000"


def test_error_in_one_sample_keeps_the_rest(data, stopped):
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())
    assert_holds(opened(data), data)
    assert data.asked[1:9] == data.train_ids[32:]


def test_stopped_build_of_other_data_is_not_gone_on_with(data, stopped):
    assert read_record(stopped)["done"] == {0, 1}
    other = dataclasses.replace(data, version=1)
    assert_holds(opened(other), other)


def test_damaged_files_of_a_stopped_build_start_over(data, stopped):
    images = stopped / "images.npy"
    os.truncate(images, images.stat().st_size // 2)
    assert_holds(opened(data), data)


# ---- other data, damage, no room -------------------------------------------------------------------------


def altered(folder, what):
    """Damage a finished cache in one way."""
    images, record = folder / "images.npy", folder / "cache.json"
    if what == "truncated":
        os.truncate(images, images.stat().st_size - 1)
    elif what == "empty":
        images.write_bytes(b"")
    elif what == "no array":
        (folder / "labels.npy").write_bytes(b"PK" + bytes(400))
    elif what == "another shape":
        np.save(images, np.load(images)[:, :, :-1])
    elif what == "another dtype":
        np.save(images, np.load(images).astype(np.float16))
    elif what == "gone":
        (folder / "labels.npy").unlink()
    elif what == "zeroed":
        np.save(images, np.zeros_like(np.load(images)))
    elif what == "record cut short":
        record.write_text(record.read_text()[:-20])
    elif what == "record of a list":
        record.write_text("[1]")
    elif what == "another key":
        record.write_text(record.read_text().replace('"format": 1', '"format": 2'))
    elif what == "fewer samples":
        record.write_text(json.dumps({**json.loads(record.read_text()), "shape": [39, 1, *SIZE]}))


WAYS = [
    *("truncated", "empty", "no array", "another shape", "another dtype", "gone", "zeroed"),
    *("record cut short", "record of a list", "another key", "fewer samples"),
]


@pytest.mark.parametrize("what", WAYS)
def test_damaged_cache_is_built_anew(data, tree, what):
    folder = opened(data).folder
    whole = tree(folder)
    altered(folder, what)
    assert tree(folder) != whole
    assert_holds(opened(data), data)
    assert tree(folder) == whole


@pytest.mark.parametrize("change", [{"version": 1}, {"count": 39}, {"channels": 3}])
def test_other_data_are_never_read_from_it(data, change):
    opened(data)
    other = dataclasses.replace(data, **change)
    assert_holds(opened(other), other)


def test_folder_that_holds_something_else(data, tmp_path, refused):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("thesis.tex", "images.npy"):
        (mine / name).write_text("mine")
        refused([mine, name, "folder for the cache alone"], opened, data, mine)
        assert (mine / name).read_text() == "mine"
        (mine / name).unlink()


def test_folder_that_cannot_be_written(data, tmp_path, refused):
    """A file in the way, which stops even an administrator; a read-only disk fails in the same call."""
    data.root.mkdir()
    (data.root / "cache").write_text("")
    message = refused([data.root / "cache" / "12x10-00000000", "cannot write"], opened, data)
    assert "name another" in message
    assert_holds(opened(data, tmp_path / "elsewhere"), data)
    with pytest.raises(CacheUnavailable):
        opened(data)


def test_too_little_space_is_noticed_before_any_work(data, monkeypatch, refused, tree):
    needed = 40 * 12 * 10 * 5
    usage = shutil.disk_usage(data.root.parent)
    monkeypatch.setattr(slice_cache.shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(CacheUnavailable):
        opened(data)
    refused(["needs 0 MB", "free some"], opened, data)
    assert tree(data.root) == {}
    monkeypatch.setattr(slice_cache.shutil, "disk_usage", lambda _: usage._replace(free=needed))
    assert_holds(opened(data), data)
    monkeypatch.setattr(slice_cache.shutil, "disk_usage", lambda _: usage._replace(free=0))
    other = dataclasses.replace(data, version=1)
    assert_holds(opened(other), other)  # takes the place of the first


def test_disk_that_fills_up_meanwhile(data, monkeypatch, refused):
    write, calls = slice_cache.write_rows, iter(range(100))

    def full(*arguments):
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments)

    monkeypatch.setattr(slice_cache, "write_rows", full)
    refused(["the disk is full", "name another folder"], opened, data)
    monkeypatch.setattr(slice_cache, "write_rows", write)
    data.asked.clear()
    assert_holds(opened(data), data)
    assert data.asked[1:25] == data.train_ids[16:]  # the first chunk was there


def test_wrong_arguments(data, refused):
    refused("workers=0", opened, data, workers=0)
    refused("positive", open_cache, data, 0, progress=False)
    data.count = 0
    refused([data.root, "no training slice"], opened, data)
    refused([data.root, "no training slice"], decode_all, data, SIZE)
