"""What stops a run says why and what to do, and loses nothing that was saved: NaN, memory, disk, kill -9."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import pytest
import torch
from small_run import CONFIG, SMALL, Slices, losses

from msa2net_lib.checkpoints import load_network, load_state
from msa2net_lib.errors import InputError
from msa2net_lib.files import DiskFullError
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training.trouble import NotFiniteError, told_lost_process, told_out_of_memory


def run(output_dir=None, config=CONFIG, **options):
    return train(SMALL, config, Slices(), output_dir, device="cpu", progress=False, **options)


def changed(**fields):
    return TrainConfig(**(CONFIG.to_dict() | fields))


def test_infinite_loss_stops_the_run_and_keeps_the_batch(tmp_path, monkeypatch):
    """Noticed at a log entry, steps later; the batch saved is nevertheless that of the first bad step."""
    seen = []
    forward = MSA2Net.forward

    def remember(self, image):
        seen.append(image.clone())
        return forward(self, image)

    monkeypatch.setattr(MSA2Net, "forward", remember)
    config = changed(learning_rate=1e30, schedule="constant", steps=20, log_every=5, checkpoint_every=20)
    with pytest.raises(NotFiniteError, match=r"from step \d+ on; its batch is in .*not_finite\.pt: lower learning_r"):
        run(tmp_path, config)
    kept = torch.load(tmp_path / "not_finite.pt", weights_only=True)
    assert 0 < kept["step"] < len(seen)
    assert torch.equal(kept["images"], seen[kept["step"]])
    assert len(kept["ids"]) == len(kept["images"]) == len(kept["labels"])
    assert not (tmp_path / "state.pt").exists()  # weights that are no numbers are not saved


def test_a_state_saved_before_the_loss_broke_stays(tmp_path, monkeypatch):
    run(tmp_path, changed(steps=6))
    forward = MSA2Net.forward
    monkeypatch.setattr(MSA2Net, "forward", lambda self, image: forward(self, image) * float("nan"))
    state = load_state(tmp_path / "state.pt") | {"step": 3}
    torch.save(state, tmp_path / "state.pt")
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(NotFiniteError, match="from step 4 on"):
        run(tmp_path, changed(steps=6))
    assert (tmp_path / "state.pt").read_bytes() == before


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, MemoryError()])
def test_out_of_memory_says_what_to_try(monkeypatch, error):
    def forward(self, image):
        raise error

    monkeypatch.setattr(MSA2Net, "forward", forward)
    with pytest.raises(InputError) as caught:
        run(config=changed(batch_size=4))
    assert str(caught.value) == (
        "out of memory in step 1 with 4 samples of 64 x 64 a pass: try accumulate=2 (the same batch in passes of 2), "
        "or batch_size=2, or precision='bf16', or a smaller image_size"
    )


def test_a_real_lack_of_memory_is_recognised():
    told = told_out_of_memory(changed(batch_size=1), "bf16", (64, 64), 7)
    with pytest.raises(InputError, match=r"out of memory in step 8 .* a smaller image_size"), told:
        torch.empty(1 << 60, dtype=torch.uint8)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), told_out_of_memory(CONFIG, "fp32", (64, 64), 0):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(RuntimeError, match="gloo"), told_lost_process(1, None):
        raise RuntimeError("gloo: connection closed")


def test_a_lost_process_is_named(tmp_path):
    gone = "one of the 2 processes of this run is gone; start the same command again to go on from the state in"
    with pytest.raises(InputError, match=gone), told_lost_process(2, tmp_path):
        raise RuntimeError("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1")


@contextmanager
def files_of_at_most(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class StopError(Exception):
    pass


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path):
    def stop(history):
        if history[-1]["step"] == 3:
            raise StopError

    with pytest.raises(StopError):
        run(tmp_path, on_log=stop)
    saved = (tmp_path / "state.pt").read_bytes()
    with files_of_at_most(len(saved) // 2), pytest.raises(DiskFullError, match=r"state\.pt: the disk is full"):
        run(tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == saved
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]
    assert losses(run(tmp_path)) == losses(run())


def test_kill_9_and_a_restart_continue_bit_for_bit(tmp_path, start_run, logged_losses):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    start_run(whole)
    ended = start_run(killed, expect=None, die_at=3)
    assert ended.returncode == -9
    assert load_state(killed / "state.pt")["step"] == 2
    start_run(killed)
    assert logged_losses(killed) == logged_losses(whole)
    weights = [load_network(folder / "weights.safetensors").state_dict() for folder in (killed, whole)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
