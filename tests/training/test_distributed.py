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


def test_two_processes_train_as_one_does_and_a_process_that_dies_ends_a_job_that_goes_on(
    tmp_path, start_run, logged_losses
):
    """One test: starting processes takes longest, and each run is compared with several others."""
    one, two, dying = (tmp_path / name for name in ("one", "two", "dying"))
    small_run(one)
    small_run(one / "then", **RECIPE)

    # First the main process dies, as soon as the whole runs are done, then the other; two processes end what is left,
    # and so does one.
    for rank, step, first in ((0, 3, {"output": two, "then": RECIPE, "last": dying}), (1, 5, {"output": dying})):
        ended = start_run(**first, processes=2, expect=None, die_at=step, die_rank=rank)
        assert ended.returncode != 0
        assert "exitcode  : -9" in ended.stderr
        assert load_state(dying / "state.pt")["step"] == step - 1
    shutil.copytree(dying, tmp_path / "alone")
    start_run(dying, processes=2)
    np.testing.assert_allclose(logged_losses(dying), logged_losses(two), rtol=1e-6)
    small_run(tmp_path / "alone")
    np.testing.assert_allclose(logged_losses(tmp_path / "alone"), logged_losses(one), rtol=TOLERANCE)

    # Augmentation, batch norm, BDoU and cross-entropy are those of the whole batch; so is the paper's recipe.
    np.testing.assert_allclose(logged_losses(two), logged_losses(one), rtol=TOLERANCE)
    assert len(logged_losses(one / "then")) == 2
    np.testing.assert_allclose(logged_losses(two / "then"), logged_losses(one / "then"), rtol=TOLERANCE)
    weights, expected = (load_state(folder / "state.pt")["network"] for folder in (two, one))
    assert list(weights) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(
            weights[key], value, rtol=1e-2, atol=2e-3, msg=lambda text, key=key: f"{key}: {text}"
        )


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
