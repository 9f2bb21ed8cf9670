"""Checkpoints that a reader brings: sorted by what they segment, named by their files, refused in one line."""

from __future__ import annotations

import shutil

import pytest

from msa2net_lib import MSA2Net
from msa2net_lib.checkpoints import SHIPPED_TINY, save_network
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l11_evaluation.other_networks import open_others


@pytest.fixture
def lesions(tmp_path):
    network = MSA2Net.from_preset("tiny", num_classes=2, image_size=64)
    return save_network(network, tmp_path / "skin.safetensors", class_names=["lesion"])


def test_networks_are_sorted_by_what_they_segment(lesions):
    others = open_others([SHIPPED_TINY, lesions])
    assert [(other.name, other.network.config.num_classes) for other in others.organs] == [("tiny", 9)]
    assert [(other.name, other.path) for other in others.lesions] == [("skin", lesions)]
    assert not others.lesions[0].network.training


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [tmp_path / folder / "weights.safetensors" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(SHIPPED_TINY, path)
    assert [other.name for other in open_others(paths).organs] == ["a/weights", "b/weights"]


def test_no_networks_are_none():
    assert open_others([]).organs == open_others([]).lesions == []


def test_what_cannot_stand_there_is_refused(tmp_path, lesions):
    network = MSA2Net.from_preset("tiny", num_classes=4, image_size=64)
    four = save_network(network, tmp_path / "four.safetensors")
    polyps = save_network(
        MSA2Net.from_preset("tiny", num_classes=2, image_size=64),
        tmp_path / "polyps.safetensors",
        class_names=["polyp"],
    )
    for given, words in (([four], "4 classes"), ([polyps], "classes polyp"), ([lesions, lesions], "given twice"),
                         ([tmp_path / "none.safetensors"], "no such checkpoint")):  # fmt: skip
        with pytest.raises(InputError) as caught:
            open_others(given)
        assert words in str(caught.value)
        assert str(given[0]) in str(caught.value)
        assert "\n" not in str(caught.value)
