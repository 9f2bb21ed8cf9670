"""Training can be stopped anywhere and goes on bit for bit; schedules, augmentation and checkpoints."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from msa2net_lib import training
from msa2net_lib.checkpoints import load_network, load_state, save_network
from msa2net_lib.config import NetworkConfig, TrainConfig
from msa2net_lib.data.augment import AffineAugmentation
from msa2net_lib.data.resize import normalise, resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.interrupts import deferred_interrupt
from msa2net_lib.losses import build_loss
from msa2net_lib.training import batch_indices, build_optimizer, build_schedule, choose_device, train

SMALL = NetworkConfig.from_preset("tiny", image_size=64, num_classes=3)
CONFIG = TrainConfig(steps=6, batch_size=2, checkpoint_every=2, log_every=1, learning_rate=1e-3)


class Slices:
    """Five seeded slices with two ellipses each, in memory."""

    def __init__(self, digest="one"):
        self.digest = lambda: digest

    root = Path("in memory")
    class_names = ("disc", "square")
    train_ids = tuple(f"case0001_slice{i:03d}" for i in range(5))

    def training_sample(self, name, size):
        rng = np.random.default_rng(int(name[-3:]))
        y, x = np.mgrid[:40, :44]
        label = np.zeros((40, 44), np.uint8)
        for organ in (1, 2):
            cy, cx = rng.uniform(10, 30, 2)
            label[((y - cy) / 8) ** 2 + ((x - cx) / 6) ** 2 <= 1] = organ
        image = np.clip(0.4 * label + 0.05 * rng.standard_normal(label.shape), 0, 1).astype(np.float32)
        return normalise(resize_image(image, size))[None], resize_label(label, size)


def losses(result):
    return [row["loss"] for row in result.history]


def run(output_dir=None, config=CONFIG, data="one", **options):
    return train(SMALL, config, Slices(data), output_dir, device="cpu", progress=False, **options)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


class StopError(Exception):
    pass


@pytest.mark.parametrize("stop_at", [2, 3, 5])
@pytest.mark.parametrize("how", [StopError, KeyboardInterrupt])
def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path, uninterrupted, stop_at, how):
    """A crash falls back to the last checkpoint; the run ends with identical weights."""

    def stop(history):
        if history[-1]["step"] == stop_at:
            raise how

    with pytest.raises(how):
        run(tmp_path, on_log=stop)
    resumed = run(tmp_path)
    assert losses(resumed) == losses(uninterrupted)
    for key, value in uninterrupted.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


def test_ctrl_c_in_the_middle_of_a_step_saves_the_whole_step(tmp_path, uninterrupted, monkeypatch):
    """The signal comes between forward and backward pass, after batch norm has moved; nothing is saved half."""
    steps = []

    def loss_with_signal(name, num_classes):
        loss = build_loss(name, num_classes)

        def compute(logits, target):
            steps.append(None)
            if len(steps) == 3:
                signal.raise_signal(signal.SIGINT)
            return loss(logits, target)

        return compute

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
    try:
        with monkeypatch.context() as patch:
            patch.setattr(training, "build_loss", loss_with_signal)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert load_state(tmp_path / "state.pt")["step"] == 3
    resumed = run(tmp_path)
    assert losses(resumed) == losses(uninterrupted)
    for key, value in uninterrupted.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


def test_a_background_run_goes_on_ignoring_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt() as requested:
            signal.raise_signal(signal.SIGINT)
        assert not requested.is_set()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_weights_on_disk_are_the_last_steps(uninterrupted):
    loaded = load_network(uninterrupted.weights)
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(image), uninterrupted.network(image))


def test_the_seed_decides(uninterrupted):
    assert losses(run()) == losses(uninterrupted)
    assert losses(run(config=TrainConfig(**(CONFIG.to_dict() | {"seed": 5})))) != losses(uninterrupted)


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    run()
    assert torch.equal(torch.rand(3), expected)


def test_it_learns():
    """Thirty steps on five slices halve the loss: gradients reach what they should."""
    config = TrainConfig(steps=30, batch_size=5, augment="none", log_every=1)
    values = losses(run(config=config))
    assert np.mean(values[-3:]) < 0.5 * np.mean(values[:3])


def test_state_of_another_run_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match=r"state\.pt: of a run with another training config"):
        run(tmp_path, config=TrainConfig(**(CONFIG.to_dict() | {"steps": 7})))


def test_state_of_another_data_set_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match=r"state\.pt: of a run with another data set"):
        run(tmp_path, data="two")


def test_a_torch_file_of_something_else_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt: no training state of this version"):
        run(tmp_path)


def test_output_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file: cannot write there"):
        run(tmp_path / "file")


@pytest.mark.parametrize("device", ["gpu", "cuda:99x", "abacus"])
def test_unknown_devices_are_refused(device):
    if torch.cuda.is_available() and device.startswith("cuda"):
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(InputError, match=r"torch sees none such here; use auto or one of .*cpu"):
        choose_device(device)


def test_a_damaged_state_is_refused_and_code_in_it_not_run(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"cos\nsystem\n(S'echo no'\ntR.")
    with pytest.raises(InputError, match=r"state\.pt: not a readable training state"):
        run(tmp_path)


def test_infinite_loss_stops_the_run():
    config = TrainConfig(**(CONFIG.to_dict() | {"learning_rate": 1e30, "schedule": "constant", "steps": 20}))
    with pytest.raises(FloatingPointError, match=r"lower learning_rate=1e\+30"):
        run(config=config)


def test_every_epoch_sees_every_slice_once():
    config = TrainConfig(batch_size=4)
    for epoch in range(3):
        seen = torch.cat([batch_indices(10, 3 * epoch + batch, config) for batch in range(3)])
        assert sorted(seen.tolist()) == list(range(10))
    assert batch_indices(10, 0, config).tolist() != batch_indices(10, 3, config).tolist()


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_paper_recipe_and_friends_build(name):
    module = torch.nn.Linear(2, 2)
    config = TrainConfig.from_recipe("synapse", optimizer=name)
    optimizer = build_optimizer(module, config)
    schedule = build_schedule(optimizer, config)
    assert type(optimizer).__name__.lower() == name
    assert schedule.get_last_lr() == [pytest.approx(0.0416667, abs=1e-7)]


def test_paper_recipe_counts_its_steps():
    assert TrainConfig.from_recipe("synapse").steps == 700 * 111


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [({"recipe": "smok"}, ["recipe='smok'", "'smoke'"]),
     ({"recipe": "smoke", "step": 3}, ["'step'", "'steps'"]),
     ({"recipe": "smoke", "steps": 0}, ["steps=0", "at least 1"]),
     ({"recipe": "smoke", "optimizer": "lion"}, ["optimizer='lion'", "'adamw'"]),
     ({"recipe": "smoke", "learning_rate": -1.0}, ["learning_rate=-1.0", "positive"])],
)  # fmt: skip
def test_config_errors(overrides, fragments):
    with pytest.raises(InputError) as caught:
        TrainConfig.from_recipe(**overrides)
    assert "\n" not in str(caught.value)
    assert all(fragment in str(caught.value) for fragment in fragments)


def test_augmentation_moves_image_and_label_together():
    """On an image that is its own label, the warped image thresholded is the warped label, edges apart."""
    y, x = np.mgrid[:64, :80]
    disc = torch.from_numpy(((y - 30) ** 2 + (x - 42) ** 2 <= 18**2).astype(np.int64))
    torch.manual_seed(0)
    augment = AffineAugmentation(contrast=0.0, noise=0.0)
    images, labels = augment(disc.float().repeat(16, 1, 1, 1), disc.repeat(16, 1, 1))
    assert ((images[:, 0] > 0.5).long() != labels).float().mean() < 0.003
    assert len({int(label.sum()) for label in labels}) > 8
    assert labels.unique().tolist() == [0, 1]


def test_a_label_that_reaches_the_border_is_repeated_outwards_like_its_image():
    """A lesion larger than the picture stays one: background moving in would teach the border wrongly."""
    torch.manual_seed(0)
    images, labels = torch.ones(8, 3, 32, 32), torch.ones(8, 32, 32, dtype=torch.int64)
    moved = AffineAugmentation(rotation=20.0, shift=0.2, contrast=0.0, noise=0.0)(images, labels)
    torch.testing.assert_close(moved[0], images)
    assert bool((moved[1] == 1).all())


def test_augmentation_rotates_without_shearing_a_picture_that_is_not_square():
    """A pure rotation agrees with SciPy's on the same angle."""
    torch.manual_seed(1)
    augment = AffineAugmentation(rotation=20.0, scale=0.0, shift=0.0, contrast=0.0, noise=0.0)
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((60, 90)), 4).astype(np.float32)
    turned, _ = augment(torch.from_numpy(smooth)[None, None], torch.zeros(1, 60, 90, dtype=torch.int64))
    torch.manual_seed(1)
    angle = 20.0 * float(2 * torch.rand(1) - 1)
    candidates = [ndimage.rotate(smooth, sign * angle, reshape=False, order=1) for sign in (1, -1)]
    middle = (slice(15, 45), slice(25, 65))
    gaps = [np.abs(turned[0, 0].numpy()[middle] - c[middle]).max() for c in candidates]
    assert min(gaps) < 1e-3 * np.ptp(smooth)


def test_half_precision_file_is_half_the_size_and_close(tmp_path, uninterrupted):
    whole = save_network(uninterrupted.network, tmp_path / "whole.safetensors")
    half = save_network(uninterrupted.network, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = uninterrupted.network(image)
        assert (load_network(half)(image) - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(None, "no such checkpoint"), (b"not safetensors", "not a readable safetensors")],
)
def test_checkpoint_errors(tmp_path, content, fragment):
    path = tmp_path / "net.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=fragment) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_truncated_checkpoint_is_refused(tmp_path, uninterrupted):
    path = save_network(uninterrupted.network, tmp_path / "net.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a readable safetensors"):
        load_network(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, uninterrupted, monkeypatch):
    from msa2net_lib import checkpoints

    path = save_network(uninterrupted.network, tmp_path / "net.safetensors")
    before = path.read_bytes()

    def full_disk(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full_disk)
    with pytest.raises(InputError, match="the disk is full"):
        save_network(uninterrupted.network, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
