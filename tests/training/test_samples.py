"""Samples are the same whether they are held in memory or streamed from the cache."""

from __future__ import annotations

import pytest
import torch
from small_run import CONFIG, PLAIN, Slices, losses

from msa2net_lib.errors import InputError
from msa2net_lib.training import samples, train
from msa2net_lib.training.samples import HeldSamples, StreamedSamples, fits, load_samples

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
ORDER = [torch.tensor([3, 0]), torch.tensor([4])]


def load(data):
    return load_samples(data, 64, 3, CPU, False)


@pytest.mark.parametrize("workers", [0, 1])
def test_streamed_batches_are_the_held_ones(tmp_path, monkeypatch, workers):
    held = load(Slices(root=tmp_path))
    monkeypatch.setattr(samples, "fits", lambda *arguments: False)
    monkeypatch.setattr(samples, "usable_cores", lambda: workers + 1)
    streamed = load(Slices(root=tmp_path))
    assert (type(held), type(streamed)) == (HeldSamples, StreamedSamples)
    assert held.image_shape == streamed.image_shape == (1, 64, 64)
    for one, other in zip(held.batches(ORDER), streamed.batches(ORDER), strict=True):
        for first, second in zip(one, other, strict=True):
            assert first.dtype == second.dtype
            assert torch.equal(first, second)


def test_a_streamed_run_is_the_held_one(tmp_path, monkeypatch):
    held = train(PLAIN, CONFIG, Slices(root=tmp_path), device="cpu", progress=False)
    monkeypatch.setattr(samples, "fits", lambda *arguments: False)
    monkeypatch.setattr(samples, "usable_cores", lambda: 1)
    streamed = train(PLAIN, CONFIG, Slices(root=tmp_path), device="cpu", progress=False)
    assert losses(streamed) == losses(held)


def test_what_fits_is_a_share_of_the_free_memory(monkeypatch):
    """Five samples of 64 x 64 at 4 bytes a value and 1 a label."""
    needed = 5 * 64 * 64 * 5
    for free, expected in ((needed / 0.4 + 1, True), (needed / 0.4 - 1, False)):
        memory = type("Memory", (), {"available": free})
        monkeypatch.setattr(samples.psutil, "virtual_memory", lambda memory=memory: memory)
        assert fits(Slices(), 64, CPU) is expected


def test_labels_beyond_the_networks_classes_are_refused_once_on_loading():
    with pytest.raises(InputError, match=r"has the class 2, the network 2 classes from 0 on; give it num_classes=3"):
        load_samples(Slices(), 64, 2, CPU, False)


def test_no_samples_are_refused():
    with pytest.raises(InputError, match="no training sample"):
        load(Slices(count=0))
