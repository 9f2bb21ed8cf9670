"""The optimized network is the same function: on every preset, batch and channel count, and when parts are missing."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import shortened
from small_networks import small_network as small_rival
from torch import nn

from msa2net_lib import MSA2Net, NetworkConfig, optimize, optimize_for_inference, predict_image, predict_volume
from msa2net_lib.baselines.spec import adopt_network
from msa2net_lib.config import PRESETS, LevelConfig
from msa2net_lib.errors import InputError
from msa2net_lib.utils import converted

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
SMALL = {
    "encoder": PRESETS["tiny"].encoder,
    "encoder_options": {"embed_dim": (16, 32, 64, 128), "depths": (1, 1, 1, 1), "transformer_dim_head": 16},
    "image_size": 64,
}


def small_network(preset: str, attention: tuple[int, ...], **overrides: Any) -> MSA2Net:
    """Build a preset's form, small and `shortened`, and batch norms that have seen something."""
    torch.manual_seed(0)
    network = shortened(MSA2Net.from_preset(preset, **SMALL | overrides), attention)
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))
        for name, weight in network.named_parameters():
            if name.endswith("norm.weight") or "gamma" in name:
                weight.uniform_(0.5, 1.5)
    return network.eval()


def largest_difference(network: nn.Module, optimized: nn.Module, image: torch.Tensor) -> float:
    with torch.no_grad():
        logits = network(image)
    assert logits.std() > 0.01, "a constant would be too easy to equal"
    return (optimized(image) - logits).abs().max().item()


@pytest.fixture(scope="module")
def tiny():
    """Every kind of level that `paper` has, once."""
    first, same, *rest = PRESETS["paper"].levels
    assert first == same
    return small_network("tiny", (2,), levels=(first, LevelConfig("none", "addition"), *rest))


@pytest.fixture(scope="module")
def plain():
    """A few convolutions, for what does not depend on the network."""
    torch.manual_seed(0)
    return small_rival("unet_nitr").eval()


@pytest.fixture(scope="module")
def plain_fast(plain):
    return optimize_for_inference(plain)


@pytest.fixture(scope="module")
def tiny_in_training(tiny):
    """`tiny` in the middle of a training: training mode, gradients."""
    network = copy.deepcopy(tiny)
    network(torch.randn(2, 1, 64, 64)).sum().backward()
    return network.train()


@pytest.fixture(scope="module")
def state_before(tiny_in_training):
    return {key: value.clone() for key, value in tiny_in_training.state_dict().items()}


@pytest.fixture(scope="module")
def fast(tiny_in_training, state_before):
    """Made in one go from a network in training: a conversion takes seconds."""
    optimized = optimize_for_inference(tiny_in_training)
    assert tiny_in_training.training
    return optimized


def test_same_logits_for_the_published_and_the_released_form():
    """One network with every kind of level that the two forms have. `tiny` has attention in another stage.

    With everything that a caller may have around: channels last in the original, inference mode outside.
    """
    published, released = PRESETS["published"], PRESETS["released"]
    levels = (published.levels[0], released.levels[2], published.levels[2], published.levels[3])
    assert {*published.levels, *released.levels} - {*levels} == {released.levels[3]}, "none of whose parts runs"
    assert replace(published, preset="", levels=levels) == replace(released, preset="", levels=levels)
    network = small_network("published", (0, 3), levels=levels).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        optimized = optimize_for_inference(network)
    assert optimized.way == "openvino"
    for shape in ((4, 1, 64, 64), (1, 3, 64, 64)):
        assert largest_difference(network, optimized, torch.randn(shape)) <= TOLERANCE


def test_tiny_stands_for_the_papers_form():
    """Other tests take `tiny`: nothing but the encoder and the size tells it from `paper`."""
    tiny, paper = (NetworkConfig.from_preset(preset, **SMALL).to_dict() for preset in ("tiny", "paper"))
    assert {**tiny, "preset": "paper"} == paper


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch", [1, 3, 4, 5, 9])
def test_same_logits_for_every_batch_and_channel_count(tiny, fast, batch, channels):
    """5 and 9 are more than OpenVINO is given at once, and no multiple of that."""
    assert fast.way == "openvino"
    assert largest_difference(tiny, fast, torch.randn(batch, channels, 64, 64)) <= TOLERANCE


def test_logits_are_as_the_networks(tiny, fast):
    image = torch.randn(2, 1, 64, 64, requires_grad=True)
    logits, expected = fast(image), tiny(image)
    assert (logits.shape, logits.dtype, logits.device) == (expected.shape, expected.dtype, expected.device)
    assert logits.is_contiguous()
    assert not logits.requires_grad
    # Strides that are not the usual ones: every second row and column of a larger image, channels last.
    strided = torch.randn(2, 3, 128, 128).to(memory_format=torch.channels_last)[..., ::2, ::2]
    assert largest_difference(tiny, fast, strided) <= TOLERANCE


def test_a_result_is_not_overwritten_by_the_next_call(fast):
    first = fast(torch.randn(2, 1, 64, 64))
    kept = first.clone()
    fast(torch.randn(2, 1, 64, 64))
    assert torch.equal(first, kept)


def test_threads_do_not_mix_their_results(tiny, fast):
    images = [torch.randn(3, 1, 64, 64) for _ in range(4)]
    found: dict[int, list[torch.Tensor]] = {}

    def run(index: int) -> None:
        found[index] = [fast(images[index]) for _ in range(3)]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, image in enumerate(images):
        with torch.no_grad():
            expected = tiny(image)
        assert all((logits - expected).abs().max() <= TOLERANCE for logits in found[index])


def test_label_maps_are_identical(tiny, fast):
    generator = np.random.default_rng(0)
    volume = generator.random((6, 70, 50))
    predicted = predict_volume(fast, volume, batch_size=4)
    assert len(np.unique(predicted)) > 1
    np.testing.assert_array_equal(predicted, predict_volume(tiny, volume, batch_size=4))
    image = generator.random((50, 70, 3))
    np.testing.assert_array_equal(predict_image(fast, image), predict_image(tiny, image))


def test_the_original_stays_as_it_is_and_has_no_further_effect(tiny_in_training, state_before, fast):
    network = tiny_in_training
    assert all(torch.equal(value, state_before[key]) for key, value in network.state_dict().items())
    assert all(p.is_contiguous() and p.requires_grad and p.grad is not None for p in network.parameters())
    assert all(not p.requires_grad and p.grad is None for p in fast.parameters())

    image = torch.randn(2, 1, 64, 64)
    before = fast(image)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(fast(image), before)


@pytest.mark.parametrize("shape", [(1, 2, 64, 64), (1, 1, 96, 96), (1, 1, 65, 64), (1, 64, 64)])
def test_wrong_shapes_are_refused_in_the_networks_words(tiny, fast, shape):
    with pytest.raises(InputError) as ours:
        fast(torch.zeros(shape))
    with pytest.raises(InputError) as theirs:
        tiny(torch.zeros(shape))
    assert str(ours.value) == str(theirs.value)


def test_what_an_optimized_network_refuses(tiny, fast):
    with pytest.raises(InputError, match="train the original"):
        fast.train()
    assert fast.eval() is fast
    assert not fast.training
    with pytest.raises(InputError, match="move or convert the original"):
        fast.double()
    with pytest.raises(InputError, match="load into the original"):
        fast.load_state_dict({})
    with pytest.raises(InputError, match=r"input of torch\.float64 on cpu"):
        fast(torch.zeros(1, 1, 64, 64, dtype=torch.float64))
    with pytest.raises(InputError, match="network of type OptimizedNetwork is optimized already: give the original"):
        optimize_for_inference(fast)
    with pytest.raises(InputError, match=r"weights in torch\.float64: convert it with network\.float\(\)"):
        optimize_for_inference(copy.deepcopy(tiny).double())


def test_without_openvino_it_says_so_and_runs(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.warns(UserWarning, match=r"pip install openvino.*channels last") as caught:
        optimized = optimize_for_inference(tiny)
    assert [warning.filename for warning in caught] == [__file__]
    assert optimized.way == "channels_last"
    assert largest_difference(tiny, optimized, torch.randn(3, 1, 64, 64)) <= TOLERANCE
    assert optimized(torch.randn(3, 1, 64, 64)).is_contiguous()


def test_a_slice_alone_has_all_threads(fast):
    fast(torch.randn(1, 1, 64, 64))
    alone = fast._forward.alone.get_compiled_model()
    assert alone.get_property("NUM_STREAMS") == 1
    assert alone.get_property("INFERENCE_NUM_THREADS") == torch.get_num_threads()


def test_batches_that_run_side_by_side_come_back_in_order(tiny, fast, monkeypatch):
    volume = np.random.default_rng(0).random((11, 50, 40)).astype(np.float32)
    expected = predict_volume(tiny, volume)
    for batch_size in (1, 2, 3, 11):
        assert (predict_volume(fast, volume, batch_size=batch_size) != expected).mean() < 1e-3
    bad, forward = iter([False, False, True, False, False, False]), fast._forward
    monkeypatch.setattr(fast, "_forward", lambda image: forward(image) * (float("nan") if next(bad) else 1.0))
    with pytest.raises(InputError, match="not finite"):
        predict_volume(fast, volume, batch_size=2)


def test_one_thread_gives_openvino_its_first_array_before_any_other(monkeypatch):
    import openvino

    began, many = [], threading.Barrier(8)
    monkeypatch.setattr(openvino, "Tensor", lambda array: began.append(array.shape))
    monkeypatch.setattr(openvino, "Core", lambda: time.sleep(0.01) or began.append("core"))
    monkeypatch.setattr(optimize, "_new_openvino_core", cache(optimize._new_openvino_core.__wrapped__))
    threads = [threading.Thread(target=lambda: (many.wait(), optimize._openvino_core())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert began == [(1,), "core"]


def test_failing_conversion_is_said_and_survived(tiny, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such operation\nand a long story")

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.warns(
        UserWarning, match=r"could not convert the network \(RuntimeError: no such operation and.*\); going"
    ):
        optimized = optimize_for_inference(tiny)
    assert largest_difference(tiny, optimized, torch.randn(2, 3, 64, 64)) <= TOLERANCE


def kept(network, optimized, folder, monkeypatch):
    """Where a network comes to lie in a cache, and the whole of it: it is converted already."""
    monkeypatch.setenv("MSA2NET_CACHE", str(folder / "cache"))
    found = optimize._place_in_cache(network)
    assert found is not None
    converted.keep(optimized._forward.model, found)
    return found


@pytest.fixture
def place(plain, plain_fast, tmp_path, monkeypatch):
    return kept(plain, plain_fast, tmp_path, monkeypatch)


def test_a_kept_network_is_taken_at_once_for_some_slices_and_its_own_weights_only(tiny, fast, tmp_path, monkeypatch):
    place = kept(tiny, fast, tmp_path, monkeypatch)
    monkeypatch.setattr(torch.export, "export", None)
    again = optimize.OptimizedWhenLong(copy.deepcopy(tiny), optimize.SOME_SLICES)
    assert again.way == "openvino"
    assert largest_difference(tiny, again, torch.randn(5, 1, 64, 64)) <= TOLERANCE
    assert predict_volume(again, np.random.default_rng(0).random((3, 50, 40))).shape == (3, 50, 40)
    assert optimize._optimized(tiny, place)._forward.several.get_property("LOADED_FROM_CACHE"), "compiled only once"
    shutil.rmtree(place)  # at any time: what runs goes on, a slice alone, too, for which it would compile anew
    assert largest_difference(tiny, again, torch.randn(1, 1, 64, 64)) <= TOLERANCE
    converted.keep(fast._forward.model, place)
    assert optimize.OptimizedWhenLong(tiny, optimize.SOME_SLICES - 1).way == "eager"
    other = copy.deepcopy(tiny)
    with torch.no_grad():
        other.decoder.head.bias[0] += 1e-3
    assert optimize._place_in_cache(other).parent == place.parent
    assert optimize.OptimizedWhenLong(other, optimize.SOME_SLICES).way == "eager"


def test_a_long_volume_goes_on_optimized_and_the_conversion_is_kept(plain, plain_fast, place, monkeypatch):
    shutil.rmtree(place)
    old, others = place.with_name(f"openvino-{'0' * 32}"), [place.with_name(n) for n in ("scans", "openvino-models")]
    for folder in (old, *others):
        folder.mkdir()
        os.utime(folder, (0, 0))
    monkeypatch.setattr(optimize, "_to_openvino", lambda network: plain_fast._forward.model)
    monkeypatch.setattr(converted, "MOST_KEPT", 1)
    image = torch.randn(2, 1, 64, 64)
    monkeypatch.setattr(optimize, "LONG_SECONDS", 1e6)
    short = optimize.OptimizedWhenLong(plain, 100)
    short(image)
    assert short.way == "eager"
    monkeypatch.setattr(optimize, "LONG_SECONDS", 0.0)
    long = optimize.OptimizedWhenLong(plain, 100)
    assert torch.equal(long(image), plain(image))
    assert long.way == "openvino"
    assert largest_difference(plain, long, image) <= TOLERANCE
    stay = sorted([place, *others])
    assert sorted(place.parent.iterdir()) == stay, "MOST_KEPT stay, nothing half made, and what is somebody else's"


@pytest.mark.parametrize("damage", ["cut short", "empty", "gone", "compiled"])
def test_a_damaged_cache_is_made_again(plain, plain_fast, place, damage, monkeypatch):
    monkeypatch.setattr(optimize, "_to_openvino", lambda network: plain_fast._forward.model)
    model = place / "model.xml"
    whole = model.read_bytes()
    if damage == "compiled":
        optimize._optimized(plain, place)
        (blob,) = place.glob("*.blob")
        blob.chmod(0o644)
        blob.write_bytes(blob.read_bytes()[:1000])
    else:
        model.write_bytes({"cut short": whole[: len(whole) // 2]}.get(damage, b""))
    if damage == "gone":
        shutil.rmtree(place)
    found = optimize._optimized(plain, place)
    assert largest_difference(plain, found, torch.randn(2, 1, 64, 64)) <= TOLERANCE
    assert model.read_bytes() == whole


@pytest.mark.parametrize("damage", ["a byte changed", "zeros", "cut short", "gone", "of another version"])
def test_weights_that_are_not_as_they_were_written_are_not_computed_with(plain, plain_fast, place, damage, monkeypatch):
    made = []
    monkeypatch.setattr(optimize, "_to_openvino", lambda network: made.append(1) or plain_fast._forward.model)
    weights = place / "model.bin"
    whole = weights.read_bytes()
    if damage == "gone":
        weights.unlink()
    elif damage == "of another version":
        (place / "sha256").unlink()
    else:
        middle = len(whole) // 2
        changed = whole[:middle] + bytes([whole[middle] ^ 64]) + whole[middle + 1 :]
        weights.write_bytes({"zeros": bytes(len(whole)), "cut short": whole[:-4]}.get(damage, changed))
    found = optimize.OptimizedWhenLong(plain, optimize.SOME_SLICES)
    assert made == [1]
    assert largest_difference(plain, found, torch.randn(2, 1, 64, 64)) <= TOLERANCE
    assert weights.read_bytes() == whole


def test_somebody_elses_cache_is_read(plain, place, monkeypatch):
    def not_permitted(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(torch.export, "export", None)
    monkeypatch.setattr(os, "utime", not_permitted)
    assert optimize.OptimizedWhenLong(plain, optimize.SOME_SLICES).way == "openvino"


def test_what_a_killed_process_left_goes(plain_fast, place):
    old, young = (place.with_name(f"openvino-partial-{name}") for name in ("old", "young"))
    for folder in (old, young):
        (folder / "whole").mkdir(parents=True)
    os.utime(old, (0, 0))
    converted.keep(plain_fast._forward.model, place)
    assert sorted(place.parent.iterdir()) == sorted([place, young]), "somebody may be writing to the other one"


def test_a_cache_that_cannot_be_written_is_done_without(plain, plain_fast, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(optimize, "_to_openvino", lambda network: plain_fast._forward.model)
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        monkeypatch.setenv("MSA2NET_CACHE", str(folder))
        assert optimize._optimized(plain, optimize._place_in_cache(plain)).way == "openvino"
    assert (tmp_path / "file").read_bytes() == b""


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("MSA2NET_CACHE", "")
    assert converted.cache_folder() is None
    monkeypatch.delenv("MSA2NET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert converted.cache_folder() == tmp_path / "msa2net"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert converted.cache_folder() == tmp_path / ".cache" / "msa2net"
    monkeypatch.setenv("MSA2NET_CACHE", "~/kept")
    assert converted.cache_folder() == tmp_path / "kept"


def test_networks_that_stay_as_they_are(plain, plain_fast, tmp_path, monkeypatch):
    """One of the reader's own, of which weights do not say all; one in another type; one that is optimized already."""
    monkeypatch.setenv("MSA2NET_CACHE", str(tmp_path))
    own = adopt_network(nn.Conv2d(3, 2, 1), num_classes=2, image_size=64)
    for network in (own, copy.deepcopy(plain).double(), plain_fast):
        assert optimize._place_in_cache(network) is None
        assert optimize.OptimizedWhenLong(network, 1000).network is network
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert optimize._place_in_cache(plain) is None


def test_which_way_on_which_device(plain):
    assert optimize._fastest(copy.deepcopy(plain), "mps")[0] == "eager"
    way, forward = optimize._fastest(copy.deepcopy(plain), "cuda")
    assert way == "torch.compile"
    assert isinstance(forward, optimize.CompiledForward)


@pytest.mark.parametrize("moment", ["at once", "at the first call", "at the second call"])
def test_failing_compilation_is_said_once_and_survived(plain, monkeypatch, moment):
    """On a CPU with `torch.compile` replaced: what is tested is the way out, not the compiler."""
    calls = []

    def compile_network(network):
        if moment == "at once":
            raise RuntimeError("no compiler")

        def run(image):
            calls.append(len(image))
            if moment == "at the first call" or len(calls) == 2:
                raise RuntimeError("no compiler")
            return network(image)

        return run

    monkeypatch.setattr(torch, "compile", compile_network)
    network = copy.deepcopy(plain)
    optimized = optimize.OptimizedNetwork(network, "torch.compile", optimize.CompiledForward(network))
    with pytest.warns(UserWarning, match=r"torch\.compile failed \(RuntimeError: no compiler\)") as caught:
        differences = [largest_difference(plain, optimized, torch.randn(2, 1, 64, 64)) for _ in range(3)]
    assert max(differences) <= TOLERANCE
    assert len(caught) == 1
    assert len(calls) == {"at once": 0, "at the first call": 1, "at the second call": 2}[moment]


def test_compiled_network_is_used_and_memory_errors_come_through(plain, monkeypatch):
    def run_out(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    network = copy.deepcopy(plain)
    monkeypatch.setattr(torch, "compile", lambda compiled: compiled)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert largest_difference(plain, optimize.CompiledForward(network), torch.randn(2, 1, 64, 64)) <= TOLERANCE
    monkeypatch.setattr(torch, "compile", lambda _: run_out)
    forward = optimize.CompiledForward(network)
    with pytest.raises(torch.OutOfMemoryError):
        forward(torch.randn(2, 1, 64, 64))
    assert not forward.failed


def test_nothing_is_reported_and_signals_are_survived_after_networks_are_gone(tmp_path):
    """In a process of its own, which converts once and compiles twice.

    A planted openvino_telemetry leaves a trace when imported; `import openvino` alone shows that it would be. With two
    plugins of OpenVINO unloaded in the order they came, a handler's stack was gone: SIGSEGV at Ctrl-C.
    """
    trace = tmp_path / "imported"
    (tmp_path / "openvino_telemetry.py").write_text(f"open({str(trace)!r}, 'w').close()\nraise ImportError\n")
    convert = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.posix_spawn"):
        raise SystemExit(f"{{event}} {{arguments}}")
import gc, os, signal, torch, timm  # what they do is not asked here
from msa2net_lib import build_network, optimize, optimize_for_inference
network = build_network("unet_nitr", num_classes=2, image_size=64, widths=(4, 8))
sys.addaudithook(watch)
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
first = optimize_for_inference(network)
first(torch.zeros(1, 1, 64, 64))
print(first.way, "openvino_telemetry" in sys.modules, "openvino.tools.ovc.telemetry_stub" in sys.modules)
model = first._forward.model
optimize._to_openvino = lambda network: model
second = optimize_for_inference(network)
del first, model
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", convert], capture_output=True, text=True)
    told = ["openvino", "False", "True", "heard", "alive"]
    assert (done.returncode, done.stdout.split()) == (0, told), done.stderr
    assert not trace.exists()
    plain = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import openvino"
    subprocess.run([sys.executable, "-c", plain], check=True, capture_output=True)
    assert trace.exists()
