"""Synthetic skin as a data set: where each setting lives, and what is refused before it costs time."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from msa2net_lib.data.catalog import open_prepared
from msa2net_lib.data.skin import prepare
from msa2net_lib.data.skin.prepare import prepare_skin, skin_folder


def test_skin_folders_that_have_their_names():
    assert skin_folder(Path("data")) == Path("data/skin")
    assert skin_folder(Path("data"), 40, 224) == Path("data/skin_40_224")
    assert skin_folder(Path("data"), 40, 224, seed=7, recipe="dlka") == Path("data/skin_40_224_seed7_dlka")


def test_no_two_settings_share_a_folder():
    settings = list(itertools.product((300, 40), (224, 64), (2024, 7), ("dermosegdiff", "dlka")))
    assert len({skin_folder(Path("data"), *setting) for setting in settings}) == len(settings)


@pytest.mark.parametrize(
    ("wrong", "words"), [({"recipe": "dlak"}, "'dlak'"), ({"size": 0}, "size"), ({"workers": 0}, "workers=0")]
)
def test_wrong_arguments_before_anything_is_drawn(tmp_path, refused, monkeypatch, wrong, words):
    monkeypatch.setattr(prepare, "write_skin_images", lambda *_, **__: pytest.fail("images were drawn"))
    refused(words, prepare_skin, tmp_path / "skin", count=2, progress=False, **wrong)
    assert not (tmp_path / "skin").exists()


def test_the_folder_above_is_told_from_the_prepared_one(tmp_path, refused):
    home = tmp_path / "skin"
    dataset = prepare_skin(home, count=3, size=64, workers=1, progress=False)
    refused([home / "prepared", "give that folder"], open_prepared, home)
    assert open_prepared(home / "prepared").digest() == dataset.digest()


@pytest.mark.parametrize("place", ["file", "file/within", "file/within/that"])
def test_a_file_where_a_folder_should_be(tmp_path, refused, place):
    (tmp_path / "file").write_text("")
    refused("cannot write there", prepare_skin, tmp_path / place, count=1, size=16, workers=1, progress=False)
