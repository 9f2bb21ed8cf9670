"""Two processes train as one does with the same batches; one that dies ends the job, which then goes on."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_run import CONFIG, SMALL, Slices, small_run
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from msa2net_lib.checkpoints import load_state
from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import distributed, train, trainer
from msa2net_lib.training.distributed import SynchronizedBatchNorm, synchronize_batch_norm

pytestmark = pytest.mark.slow

# Sums are taken in another order: a difference in the last digits of float32, which training then enlarges.
TOLERANCE = 1e-5


# SGD, BDoU over the whole batch, and the released augmentation with its noise, whose seeds are a sample's own.
RECIPE = TrainConfig.from_recipe("synapse", steps=2, batch_size=5, log_every=1).to_dict()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, start_run):
    """The same run in this process and in two, and a shorter one by the paper's recipe in ``then``."""
    folders = {processes: tmp_path_factory.mktemp(f"of {processes}") for processes in (1, 2)}
    small_run(folders[1])
    small_run(folders[1] / "then", **RECIPE)
    start_run(folders[2], processes=2, then=RECIPE)
    return folders


def test_two_processes_follow_the_curve_of_one(runs, logged_losses):
    """Augmentation, batch norm, BDoU and cross-entropy are those of the whole batch."""
    np.testing.assert_allclose(logged_losses(runs[2]), logged_losses(runs[1]), rtol=TOLERANCE)


def test_two_processes_end_at_the_weights_of_one(runs):
    one, two = (load_state(runs[processes] / "state.pt")["network"] for processes in (1, 2))
    assert list(one) == list(two)
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-2, atol=2e-3, msg=lambda text, key=key: f"{key}: {text}")


def test_two_processes_follow_the_papers_recipe_as_one_does(runs, logged_losses):
    one, two = (logged_losses(runs[processes] / "then") for processes in (1, 2))
    assert len(one) == 2
    np.testing.assert_allclose(two, one, rtol=TOLERANCE)


def test_a_process_that_dies_ends_the_job_and_the_next_one_goes_on(tmp_path, runs, start_run, logged_losses):
    """First the main process dies, then the other; two processes end what is left, and so does one."""
    folder = tmp_path / "two"
    for rank, step in ((0, 3), (1, 5)):
        ended = start_run(folder, processes=2, expect=None, die_at=step, die_rank=rank)
        assert ended.returncode != 0
        assert "exitcode  : -9" in ended.stderr
        assert load_state(folder / "state.pt")["step"] == step - 1
    shutil.copytree(folder, tmp_path / "one")
    start_run(folder, processes=2)
    np.testing.assert_allclose(logged_losses(folder), logged_losses(runs[2]), rtol=1e-6)
    small_run(tmp_path / "one")
    np.testing.assert_allclose(logged_losses(tmp_path / "one"), logged_losses(runs[1]), rtol=TOLERANCE)


def test_more_processes_than_samples_in_a_batch_are_refused(monkeypatch):
    two = SimpleNamespace(process_index=0, num_processes=2, mixed_precision="no", device=torch.device("cpu"))
    monkeypatch.setattr(trainer, "build_accelerator", lambda *_: two)
    config = TrainConfig(**(CONFIG.to_dict() | {"batch_size": 5}))
    with pytest.raises(InputError, match="the smallest pass over 11 samples has 1 for 2 processes; use another batch"):
        train(SMALL, config, Slices(count=11), device="cpu", progress=False)


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, BatchNormAct2d])
def test_synchronized_norm_of_one_process_is_torchs_own(monkeypatch, kind):
    """Outputs, gradients and running statistics, in training and in evaluation."""
    monkeypatch.setattr(distributed, "add_over_processes", lambda values: values.clone())
    torch.manual_seed(0)
    plain, ours = kind(4).double(), kind(4).double()
    ours.load_state_dict(plain.state_dict())
    ours = synchronize_batch_norm(nn.Sequential(ours), torch.device("cpu"))[0]
    assert type(ours) is not kind
    for _ in range(2):
        x = torch.randn(3, 4, 5, 6, dtype=torch.float64)
        first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
        out, expected = ours(second), plain(first)
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
        out.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(second.grad, first.grad, rtol=1e-4, atol=1e-5)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.eval()(x), plain.eval()(x))


def test_synchronizing_keeps_every_key():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    keys = list(network.state_dict())
    synchronize_batch_norm(network, torch.device("cpu"))
    assert isinstance(network[1], SynchronizedBatchNorm)
    assert list(network.state_dict()) == keys
