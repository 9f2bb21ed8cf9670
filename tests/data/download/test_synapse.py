"""Prepared Synapse data from their archive, again and again; the download itself is `download.drive`'s."""

from __future__ import annotations

import shutil
import zipfile

import pytest

from msa2net_lib.data.download import synapse as obtain
from msa2net_lib.data.download.archives import unpack
from msa2net_lib.data.download.synapse import download_synapse

FILE = "train_npz/case0005_slice000.npz"


@pytest.fixture(params=["", "project/data/Synapse/"])
def downloads(request, tmp_path, monkeypatch):
    """A folder with the archive, which is not asked for again."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    with zipfile.ZipFile(folder / "synapse_prepared.zip", "w") as archive:
        archive.writestr(request.param + FILE, b"a slice")
        archive.writestr("README.txt", b"beside it")
    monkeypatch.setattr(obtain, "fetch_drive", lambda _, destination, **__: destination)
    return folder


def download(downloads):
    return download_synapse(downloads.parent / "synapse", downloads=downloads, progress=False, say=print)


def test_again_after_the_data_were_removed(downloads):
    for _ in range(3):
        out = download(downloads)
        assert (out / FILE).read_bytes() == b"a slice"
        assert not (downloads / "synapse_prepared").exists()
        shutil.rmtree(out)


def test_again_after_a_run_killed_between_moving_and_clearing(downloads):
    remains = unpack(downloads / "synapse_prepared.zip", downloads / "synapse_prepared", progress=False)
    [moved] = remains.rglob("train_npz")
    shutil.rmtree(moved)
    assert (download(downloads) / FILE).is_file()


def test_a_folder_of_that_name_that_is_the_users_stays(downloads, refused):
    (downloads / "synapse_prepared").mkdir()
    (downloads / "synapse_prepared" / "notes.txt").write_text("mine")
    refused([downloads / "synapse_prepared", "is there already"], download, downloads)
    assert (downloads / "synapse_prepared" / "notes.txt").read_text() == "mine"
