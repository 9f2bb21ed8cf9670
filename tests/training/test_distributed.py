"""Two processes train as one does with the same batches; one that dies ends the job, which then goes on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_run import CONFIG, SMALL, Slices, small_run
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from msa2net_lib.checkpoints import load_network, load_state
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
def ended(tmp_path_factory, run_stages):
    """The folder of all runs, and how each stage of them ended: once for all tests, since loading takes longest.

    Of two processes the main one dies, as soon as the whole runs are done, then the other; two end what is left. One
    alone is killed as well.
    """
    home = tmp_path_factory.mktemp("processes")
    dying = {"processes": 2, "output": home / "dying"}
    said = run_stages(
        {"processes": 1, "output": home / "killed", "die_at": 3},
        dying | {"whole": home / "two", "then": RECIPE, "die_at": 3, "kept": home / "after_3"},
        dying | {"die_at": 5, "die_rank": 1, "kept": home / "alone"},
        dying,
    )
    return home, said


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The whole runs, in this process."""
    home = tmp_path_factory.mktemp("one")
    small_run(home)
    small_run(home / "then", **RECIPE)
    return home


def test_kill_9_and_a_restart_continue_bit_for_bit(ended, one, logged_losses):
    home, said = ended
    assert said[0] == "exitcode  : -9"
    assert load_state(home / "killed" / "state.pt")["step"] == 2
    small_run(home / "killed")
    assert logged_losses(home / "killed") == logged_losses(one)
    weights = [load_network(folder / "weights.safetensors").state_dict() for folder in (home / "killed", one)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_a_process_that_dies_ends_a_job_that_goes_on_with_two_and_with_one(ended, one, logged_losses):
    home, said = ended
    assert "exitcode  : -9" in said[1]
    assert "exitcode  : " in said[2]  # of the process that died, or of the main one, if that has failed for it already
    assert said[3] == ""
    assert [load_state(home / name / "state.pt")["step"] for name in ("after_3", "alone")] == [2, 4]
    np.testing.assert_allclose(logged_losses(home / "dying"), logged_losses(home / "two"), rtol=1e-6)
    small_run(home / "alone")
    np.testing.assert_allclose(logged_losses(home / "alone"), logged_losses(one), rtol=TOLERANCE)


def test_two_processes_train_as_one_does(ended, one, logged_losses):
    """Augmentation, batch norm, BDoU and cross-entropy are those of the whole batch; so is the paper's recipe."""
    two = ended[0] / "two"
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
