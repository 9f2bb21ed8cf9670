"""Precision, compilation and gradient accumulation change speed and memory, not what is learnt."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from small_run import CONFIG, SMALL, Slices, losses
from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training.engine import as_saved, capture_graphs, choose_precision, compile_for_training

pytestmark = pytest.mark.slow


def run(**fields):
    config = TrainConfig(**(CONFIG.to_dict() | fields))
    return train(SMALL, config, Slices(), device="cpu", progress=False)


def test_bf16_follows_fp32_and_keeps_float32_weights():
    full, half = run(precision="fp32"), run(precision="bf16")
    assert losses(half) != losses(full)
    np.testing.assert_allclose(losses(half), losses(full), rtol=0.05)
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}
    assert losses(run(precision="fp32")) == losses(full)  # one process, one precision after the other


@pytest.mark.parametrize(("name", "device", "expected"), [("auto", "cpu", "fp32"), ("bf16", "cpu", "bf16")])
def test_precision_is_exact_unless_a_gpu_or_the_user_says_otherwise(name, device, expected):
    assert choose_precision(name, torch.device(device)) == expected


def test_accumulated_gradients_are_those_of_the_parts():
    """Two passes of two slices: by hand, the mean of the two losses; norms and BDoU are each pass's own."""
    result = run(batch_size=4, accumulate=2, steps=1, augment="none")
    from msa2net_lib.losses import build_loss
    from msa2net_lib.nn.network import MSA2Net
    from msa2net_lib.training.sampler import step_parts
    from msa2net_lib.training.samples import load_samples

    config = TrainConfig(**(CONFIG.to_dict() | {"batch_size": 4, "accumulate": 2, "steps": 1, "augment": "none"}))
    parts = step_parts(5, 0, config)
    samples = load_samples(Slices(), 64, 3, torch.device("cpu"), False)
    torch.manual_seed(config.seed)
    network = MSA2Net(SMALL).to(memory_format=torch.channels_last).train()  # pyright: ignore
    loss = build_loss(config.loss, 3)
    torch.manual_seed(config.seed * 1_000_003)
    by_hand = [loss(network(images), labels).item() for images, labels in samples.batches(p.indices for p in parts)]
    assert losses(result) == [pytest.approx(np.mean(by_hand), rel=1e-5)]


def test_accumulating_is_one_optimizer_step():
    assert [row["step"] for row in run(batch_size=4, accumulate=2, steps=3).history] == [1, 2, 3]


class Doubling(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.weight * x


def compiled(monkeypatch, compiler):
    network = Doubling()
    monkeypatch.setattr(torch, "compile", compiler)
    compile_for_training(network, TrainConfig(compilation="on"), torch.device("cpu"))
    return network


def test_compiling_keeps_keys_and_values(monkeypatch):
    compile_now = torch.compile
    network = compiled(monkeypatch, lambda call, dynamic: compile_now(call, backend="eager", dynamic=dynamic))
    assert list(network.state_dict()) == ["weight"]
    assert network(torch.tensor(3.0)) == 6
    with as_saved(network):
        assert network._compiled_call_impl is None
    assert network._compiled_call_impl is not None


TRITONS = type("CompilationError", (Exception,), {"__module__": "triton.compiler.errors"})


@pytest.mark.parametrize("error", [torch._dynamo.exc.TorchDynamoException, TRITONS])
def test_a_compiler_that_fails_is_told_once_and_done_without(monkeypatch, error):
    def broken(call, dynamic):
        def raise_error(*arguments):
            raise error("no compiler")

        return raise_error

    network = compiled(monkeypatch, broken)
    with pytest.warns(UserWarning, match="torch.compile failed .*; compilation='off' does not try"):
        assert network(torch.tensor(3.0)) == 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert network(torch.tensor(4.0)) == 8


def test_the_networks_own_errors_pass_through(monkeypatch):
    def not_the_compilers(call, dynamic):
        def raise_error(*arguments):
            raise ValueError("the network's")

        return raise_error

    with pytest.raises(ValueError, match="the network's"):
        compiled(monkeypatch, not_the_compilers)(torch.tensor(3.0))


def test_on_a_cpu_nothing_is_compiled_unasked(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda *arguments, **named: pytest.fail("compiled"))
    network = Doubling()
    compile_for_training(network, TrainConfig(), torch.device("cpu"))
    assert network(torch.tensor(3.0)) == 6


def test_half_a_launch_is_refused(monkeypatch):
    """Without LOCAL_RANK every process would take itself for the only one."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="WORLD_SIZE is set, but not all of"):
        run()


def test_a_compiler_that_fails_in_the_backward_pass_is_done_without(monkeypatch):
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    def broken(graph, inputs):
        raise torch._dynamo.exc.TorchDynamoException("no backward")

    backend = aot_autograd(fw_compiler=lambda graph, inputs: make_boxed_func(graph.forward), bw_compiler=broken)
    compile_now = torch.compile
    network = compiled(monkeypatch, lambda call, dynamic: compile_now(call, backend=backend, dynamic=dynamic))
    with pytest.warns(UserWarning, match="torch.compile failed"):
        network(torch.tensor(3.0)).backward()
    assert network.weight.grad == 3


@pytest.mark.parametrize("fails", [False, True])
def test_a_captured_step_leaves_no_trace_of_its_warm_up_and_may_fail(fails, monkeypatch):
    """By interface: `make_graphed_callables` runs the network some times on a side stream, then wraps it."""
    seen = []

    def make(network, inputs):
        for _ in range(3):
            network(*inputs)
        if fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        return lambda images: seen.append(images) or network(images)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make)
    network, images = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)), torch.randn(2, 1, 4, 4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.warns(UserWarning, match="no CUDA graph") if fails else warnings.catch_warnings():
        captured = capture_graphs(network, images)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert captured(images).shape == (2, 2, 4, 4)
    assert (captured is network) == fails == (not seen)


def test_memory_that_runs_out_while_a_step_is_captured_is_told_as_such(monkeypatch):
    def make(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make)
    with pytest.raises(torch.OutOfMemoryError):
        capture_graphs(torch.nn.Conv2d(1, 2, 1), torch.zeros(1, 1, 2, 2))
