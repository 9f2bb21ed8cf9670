"""Several GPUs from a notebook: what is refused, and what is read back (the launcher itself needs GPUs)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

import pytest
import torch
from small_run import CONFIG, PLAIN, Slices, losses

from msa2net_lib.errors import InputError
from msa2net_lib.training import launch, train
from msa2net_lib.training.launch import train_on_gpus

pytestmark = pytest.mark.slow

train_here = partial(train, device="cpu", progress=False)


def test_more_processes_than_gpus_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_gpus", lambda: 1)
    with pytest.raises(InputError, match="processes=2: torch sees 1 CUDA devices here; give 1 to 1"):
        train_on_gpus(PLAIN, CONFIG, Slices(), tmp_path, processes=2)


def test_a_kernel_that_has_used_cuda_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_gpus", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(InputError, match="restart the kernel"):
        train_on_gpus(PLAIN, CONFIG, Slices(), tmp_path, processes=1)


def test_the_result_read_back_is_the_one_trained(tmp_path, monkeypatch):
    """The launcher is played: it calls the function in this process, on the CPU."""
    trained = []
    monkeypatch.setattr(launch, "train", lambda *arguments: trained.append(train_here(*arguments)))
    monkeypatch.setattr(launch, "notebook_launcher", lambda function, arguments, num_processes: function(*arguments))
    with monkeypatch.context() as patch:
        patch.setattr(launch, "_gpus", lambda: 2)
        result = train_on_gpus(PLAIN, CONFIG, Slices(), tmp_path, processes=2)
    assert trained[0] is not result
    assert losses(result) == losses(trained[0]) == losses(train_here(PLAIN, CONFIG, Slices()))
    assert (result.weights, result.best, result.best_score) == (trained[0].weights, None, None)
    weights = result.network.state_dict()
    for key, value in trained[0].network.state_dict().items():
        assert torch.equal(value, weights[key])


FORKED = """
import os
import torch
from msa2net_lib.training import launch

def compute(*arguments):
    torch.rand(1 << 20).exp().sum()

torch.set_num_threads(2)
compute()
launch.train = compute
if (child := os.fork()) == 0:
    launch._train()
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system starts no processes by forking")
def test_a_process_forked_after_computing_on_threads_computes_too():
    """As in a notebook that showed something before it trained; without care the child waits for ever."""
    started = subprocess.Popen([sys.executable, "-c", FORKED], start_new_session=True)
    try:
        assert started.wait(timeout=90) == 0
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
