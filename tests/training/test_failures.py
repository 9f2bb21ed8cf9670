"""What stops a run says why and what to do, and loses nothing that was saved: NaN, memory, disk."""

from __future__ import annotations

import resource
import subprocess
from contextlib import contextmanager

import pytest
import torch
from small_run import CONFIG, PLAIN, Slices, StopError, losses, stopping

from msa2net_lib.baselines.unet import UNet
from msa2net_lib.checkpoints import load_state
from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training import trainer as trainer
from msa2net_lib.training.failures import NotFiniteError, told_large_step, told_lost_process, told_out_of_memory
from msa2net_lib.utils.files import DiskFullError

pytestmark = pytest.mark.slow


def run(output_dir=None, config=CONFIG, **options):
    return train(PLAIN, config, Slices(), output_dir, device="cpu", progress=False, **options)


def changed(**fields):
    return TrainConfig(**(CONFIG.to_dict() | fields))


def test_infinite_loss_stops_the_run_and_keeps_the_batch(tmp_path, monkeypatch):
    """Noticed at a log entry, steps later; the batch saved is nevertheless that of the first bad step."""
    seen = []
    forward = UNet.forward

    def remember(self, image):
        seen.append(image.clone())
        return forward(self, image)

    monkeypatch.setattr(UNet, "forward", remember)
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
    forward = UNet.forward
    monkeypatch.setattr(UNet, "forward", lambda self, image: forward(self, image) * float("nan"))
    state = load_state(tmp_path / "state.pt") | {"step": 3}
    torch.save(state, tmp_path / "state.pt")
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(NotFiniteError, match="from step 4 on"):
        run(tmp_path, changed(steps=6))
    assert (tmp_path / "state.pt").read_bytes() == before


class EndlessSlope(torch.nn.Module):
    """Changes no loss, and makes its gradient no number: the slope of a square root at 0."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, logits, target):
        return self.loss(logits, target) + (0 * logits).sum().abs().sqrt()


@pytest.mark.parametrize("fields", [{"checkpoint_every": 1}, {"selection": "validation", "validate_every": 1}])
def test_weights_that_are_no_numbers_are_not_kept_though_the_loss_is_one(tmp_path, monkeypatch, fields):
    build = trainer.build_loss
    monkeypatch.setattr(trainer, "build_loss", lambda *names, **options: EndlessSlope(build(*names, **options)))
    monkeypatch.setattr("msa2net_lib.training.run.arrange_selection", lambda data, config, size: (data, lambda _: 0.5))
    config = changed(**({"steps": 1, "checkpoint_every": 9} | fields))
    with pytest.raises(NotFiniteError, match=r"^weights are not finite from step 1 on; its batch is in .*not_finite"):
        run(tmp_path, config)
    assert {path.suffix for path in tmp_path.glob("[a-z]*") if path.is_file()} == {".pt"}
    assert not (tmp_path / "state.pt").exists()


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("error", [OUT_OF_MEMORY, MemoryError()])
def test_out_of_memory_says_what_to_try(monkeypatch, error):
    def forward(self, image):
        raise error

    monkeypatch.setattr(UNet, "forward", forward)
    with pytest.raises(InputError) as caught:
        run(config=changed(batch_size=4))
    assert str(caught.value) == (
        "out of memory in step 1 with 4 samples of 64 x 64 a pass: try accumulate=2 (the same batch in passes of 2), "
        "or precision='bf16', or in a new run batch_size=2 or a smaller image_size"
    )


def test_out_of_memory_names_the_share_of_a_process():
    told = told_large_step(3, changed(batch_size=20, accumulate=2), "bf16", (224, 224), 4)
    with pytest.raises(InputError, match="in step 3 with 3 samples of 224 x 224 a pass and process: try acc"), told:
        raise MemoryError


def test_passes_are_not_split_further_than_processes_go():
    told = told_large_step(3, changed(batch_size=4, accumulate=1), "bf16", (224, 224), 4)
    with pytest.raises(InputError, match=r"1 sample of .*: try in a new run a smaller image_size$"), told:
        raise MemoryError


def fail(*arguments, **options):
    raise OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("broken", "doing"),
    [
        ("msa2net_lib.baselines.unet.UNet.to", "putting the network on cpu: try a device that other programs leave fr"),
        ("msa2net_lib.training.samples.decode_training_data", "holding 5 samples of 64 x 64 on cpu: try a device"),
    ],
)
def test_out_of_memory_before_the_first_step(monkeypatch, broken, doing):
    monkeypatch.setattr(broken, fail)
    with pytest.raises(InputError, match=f"^out of memory {doing}"):
        run()


def test_out_of_memory_on_validating(monkeypatch):
    monkeypatch.setattr("msa2net_lib.training.run.arrange_selection", lambda data, config, size: (data, fail))
    with pytest.raises(InputError, match=r"^out of memory validating after step 3: try a device"):
        run(config=changed(selection="validation", validate_every=1))


def test_a_real_lack_of_memory_is_recognized():
    told = told_large_step(8, changed(batch_size=1), "bf16", (64, 64), 1)
    with pytest.raises(InputError, match=r"out of memory in step 8 .* a smaller image_size"), told:
        torch.empty(1 << 60, dtype=torch.uint8)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), told_out_of_memory("holding samples", "fewer"):
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


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path):
    with pytest.raises(StopError):
        run(tmp_path, on_log=stopping(3))
    saved = (tmp_path / "state.pt").read_bytes()
    with files_of_at_most(len(saved) // 2), pytest.raises(DiskFullError, match=r"state\.pt: the disk is full"):
        run(tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == saved
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]
    assert losses(run(tmp_path)) == losses(run())


def test_a_full_disk_at_the_start_is_told_in_one_line(small_disk, fill_disk, capfd):
    """TensorBoard's events are the first to be written; its own writer printed a traceback."""
    filler = fill_disk(small_disk)
    with pytest.raises(DiskFullError, match=r"run/tensorboard: the disk is full; free some space and run the same"):
        run(small_disk / "run")
    assert "Traceback" not in capfd.readouterr().err
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=256m", str(small_disk)], check=True)
    saved = run(small_disk / "run")
    fill_disk(small_disk)
    with pytest.raises(DiskFullError, match="run/tensorboard: the disk is full"):
        run(small_disk / "run")
    assert load_state(small_disk / "run" / "state.pt")["step"] == saved.history[-1]["step"]
