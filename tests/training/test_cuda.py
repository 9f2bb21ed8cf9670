"""What a CUDA device does otherwise: precision, compiler, float16 samples, fused optimizer, steps without waiting.

None of this was run where the tests were written, for no CUDA device was at hand there; bounds are estimates.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from small_run import CONFIG, SMALL, Slices, StopError, losses, stopping

from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training.samples import HeldSamples, load_samples
from msa2net_lib.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device at hand")

# Batches and weights are the same, but kernels add up in changing order, and training enlarges the difference.
RESUMED = 1e-2


def run(output_dir=None, **options):
    on_log = options.pop("on_log", None)
    config = TrainConfig(**(CONFIG.to_dict() | {"compilation": "off", "precision": "fp32"} | options))
    return train(SMALL, config, Slices(), output_dir, device="cuda", progress=False, on_log=on_log)


def test_float32_follows_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    on_cpu = train(SMALL, CONFIG, Slices(), device="cpu", progress=False)
    assert losses(run())[0] == pytest.approx(losses(on_cpu)[0], rel=1e-3)  # images are float16 on the device


def test_auto_is_bf16_and_keeps_float32_weights():
    half = run(precision="auto")
    assert losses(half)[0] == pytest.approx(losses(run())[0], rel=0.05)
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}


def test_a_compiled_step_is_the_eager_one():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a compiler that fails would be told, and training go on eagerly
        compiled = run(compilation="on", steps=2)
    assert losses(compiled)[0] == pytest.approx(losses(run(steps=2))[0], rel=1e-2)


def test_samples_are_held_as_float16_and_uint8():
    held = load_samples(Slices(), 64, 3, torch.device("cuda"), False)
    assert isinstance(held, HeldSamples)
    assert (held.images.dtype, held.labels.dtype) == (torch.float16, torch.uint8)
    assert held.images.is_cuda
    expected = load_samples(Slices(), 64, 3, torch.device("cpu"), False)
    assert isinstance(expected, HeldSamples)
    torch.testing.assert_close(held.images.cpu().float(), expected.images, rtol=0, atol=5e-4)
    images, labels = next(held.batches([torch.tensor([3, 0])]))
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_optimizer_is_fused(optimizer):
    trainer = Trainer(SMALL, TrainConfig(**(CONFIG.to_dict() | {"optimizer": optimizer})), Slices(), "cuda")
    assert trainer.optimizer.param_groups[0]["fused"] is True


def test_a_stopped_run_goes_on_within_the_tolerance(tmp_path):
    with pytest.raises(StopError):
        run(tmp_path, on_log=stopping(5))
    np.testing.assert_allclose(losses(run(tmp_path)), losses(run()), rtol=RESUMED)


@pytest.mark.parametrize("recipe", ["smoke", "synapse"])
def test_no_step_waits_for_the_device(recipe):
    """The CPU hands over step after step; it waits at log entries, validations and checkpoints only."""
    config = TrainConfig.from_recipe(recipe, steps=4, batch_size=2, compilation="off")
    trainer = Trainer(SMALL, config, Slices(), "cuda")
    steps = trainer.learn(load_samples(Slices(), 64, 3, trainer.device, False))
    next(steps)  # the first step makes what later ones use
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in steps:
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")
