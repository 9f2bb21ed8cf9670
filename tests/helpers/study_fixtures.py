"""Fixtures for the gate lessons: slices of noise with drawn organs, and a network's way through them.

`study` has Synapse's organs and the shipped network, `other_study` a data set of three classes with names of its own.
"""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from small_run import SMALL

from msa2net_lib import MSA2Net
from msa2net_lib.analysis.slice_study import study_slice
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.config import PRESETS
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.official_checkpoints import FORMS
from msa2net_lib.viz.cursor import cell_at


@pytest.fixture
def small_forms(monkeypatch):
    """Both released forms on a small encoder; `tests/nn/test_official_forward.py` reads the whole ones' files."""
    small = {"encoder": SMALL.encoder, "encoder_options": SMALL.encoder_options}
    for form in FORMS:
        monkeypatch.setitem(PRESETS, form, replace(PRESETS[form], **small))


@pytest.fixture(scope="session")
def noise_case():
    """Three slices of noise; the middle one has a liver and an aorta, the last one a liver, all square."""
    label = np.zeros((3, 96, 96), np.uint8)
    label[1:, 20:60, 20:60], label[1, 70:80, 70:80] = 5, 1
    image = np.random.default_rng(0).random((3, 96, 96), dtype=np.float32)
    return Case("case", image, label, (3.0, 3.0, 3.0))


@pytest.fixture(scope="session")
def studies(noise_case):
    """The shipped network on the two slices with organs; tests read them and change nothing."""
    network = load_network(SHIPPED_TINY)
    return [study_slice(network, noise_case, z, "noise of this test") for z in (1, 2)]


@pytest.fixture(scope="session")
def study(studies):
    """The shipped network on the middle slice; tests read it and change nothing."""
    return studies[0]


@pytest.fixture(scope="session")
def other_dataset(tmp_path_factory):
    """Prepared data of three classes: eight training slices and one test case of six, a square a class."""
    root, rng = tmp_path_factory.mktemp("other"), np.random.default_rng(0)
    for folder in ("train_npz", "test_vol_h5", "lists"):
        (root / folder).mkdir()
    label = np.zeros((8, 64, 64), np.uint8)
    label[:, 4:40, 4:30], label[1:, 44:60, 8:24], label[2:, 20:44, 36:60] = 2, 1, 3
    image = (0.3 * label / 3 + 0.5 * rng.random(label.shape)).astype(np.float32)
    names = [f"a_slice{z:03d}" for z in range(8)]
    for name, pixels, classes in zip(names, image, label, strict=True):
        np.savez(root / "train_npz" / f"{name}.npz", image=pixels, label=classes)
    with h5py.File(root / "test_vol_h5" / "b.npy.h5", "w") as file:
        file["image"], file["label"] = image[:6], label[:6]
    (root / "lists" / "train.txt").write_text("\n".join(names) + "\n")
    (root / "lists" / "test_vol.txt").write_text("b\n")
    (root / "dataset.json").write_text(json.dumps({"organs": {"stone": 1, "root": 2, "leaf": 3}}))
    return PreparedDataset.open(root)


@pytest.fixture(scope="session")
def other_study(other_dataset):
    """An untrained network of four channels on a slice of `other_dataset`."""
    torch.manual_seed(0)
    network = MSA2Net.from_preset("tiny", num_classes=4, image_size=64)
    return study_slice(network, other_dataset.load_case("b"), 3, "drawn squares")


def check_steps_within_a_cell(draw, study, grid):
    """Whether ``draw(row, column)`` shows each place of the cursor, though several lie in one cell of the grid."""
    places = [(row, column) for row in range(0, 20, 4) for column in (0, 4)]
    marks = {tuple(tuple(map(tuple, line.get_xydata())) for line in draw(*at).axes[0].lines) for at in places}
    assert len({cell_at(study, grid, *at) for at in places}) < len(places) == len(marks)
