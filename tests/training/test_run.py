"""Training can be stopped anywhere and goes on bit for bit; schedules, augmentation and checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_run import CONFIG, PLAIN, SMALL, Slices, StopError, losses, stopping

from msa2net_lib.checkpoints import load_network, load_state, save_network
from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.losses import build_loss
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import choose_device, train
from msa2net_lib.training import trainer as trainer
from msa2net_lib.training.optimizer import build_optimizer, build_schedule

pytestmark = pytest.mark.slow


def run(output_dir=None, config=CONFIG, data="one", network=PLAIN, **options):
    """Of a network whose run takes no time, where it is not the network that could be at fault."""
    return train(network, config, Slices(data), output_dir, device="cpu", progress=False, **options)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def msa2net(tmp_path_factory):
    """The same of MSA²Net, which draws what it drops in every step."""
    return run(tmp_path_factory.mktemp("msa2net"), network=SMALL)


@pytest.mark.parametrize(
    ("network", "how", "stop_at"), [(PLAIN, StopError, 2), (SMALL, StopError, 5), (SMALL, KeyboardInterrupt, 3)]
)
def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path, uninterrupted, msa2net, network, stop_at, how):
    """A crash falls back to the last checkpoint; the run ends with identical weights."""

    with pytest.raises(how):
        run(tmp_path, network=network, on_log=stopping(stop_at, how))
    resumed, whole = run(tmp_path, network=network), uninterrupted if network is PLAIN else msa2net
    assert losses(resumed) == losses(whole)
    weights = resumed.network.state_dict()
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, weights[key]), key


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_a_step_saves_the_whole_step(tmp_path, uninterrupted, monkeypatch, number):
    """The signal comes between forward and backward pass, after batch norm has moved; nothing is saved half."""
    steps = []

    class LossWithSignal(torch.nn.Module):
        def __init__(self, loss):
            super().__init__()
            self.loss = loss

        def forward(self, logits, target):
            steps.append(None)
            if len(steps) == 3:
                signal.raise_signal(number)
            return self.loss(logits, target)

    def loss_with_signal(name, num_classes, **options):
        return LossWithSignal(build_loss(name, num_classes))

    before = signal.signal(number, signal.default_int_handler)  # a background job starts with it ignored
    try:
        with monkeypatch.context() as patch:
            patch.setattr(trainer, "build_loss", loss_with_signal)
            with pytest.raises(KeyboardInterrupt) as stop:
                run(tmp_path)
        assert stop.value.number == number
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert load_state(tmp_path / "state.pt")["step"] == 3
    resumed = run(tmp_path)
    assert losses(resumed) == losses(uninterrupted)
    weights = resumed.network.state_dict()
    for key, value in uninterrupted.network.state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_one_training_at_a_time_in_a_folder(tmp_path, refused):
    """The second is refused in a line, and what killed runs left behind, a lock too, is in nobody's way."""
    (tmp_path / ".training.lock").touch()
    (tmp_path / ".partial-1-00000000-state.pt").touch()

    def start_another(history):
        refused([tmp_path, "another training is at work in this folder"], run, tmp_path)

    run(tmp_path, changed(steps=1), on_log=start_another)
    assert not list(tmp_path.glob(".partial-*"))
    run(tmp_path, changed(steps=1))


def test_weights_can_be_read_by_those_the_umask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        run(tmp_path, changed(steps=1))
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("[a-z]*.*")} == dict.fromkeys(
        ("weights.safetensors", "state.pt", "log.csv", "run.json"), 0o640
    )


def test_weights_on_disk_are_the_last_steps(msa2net):
    loaded = load_network(msa2net.weights)
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(image), msa2net.network(image))


def test_the_seed_decides(uninterrupted):
    assert losses(run()) == losses(uninterrupted)
    assert losses(run(config=TrainConfig(**(CONFIG.to_dict() | {"seed": 5})))) != losses(uninterrupted)


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    run(config=changed(steps=1), network=SMALL)
    assert torch.equal(torch.rand(3), expected)


def test_it_learns():
    """Thirty steps on five slices halve the loss: gradients reach what they should."""
    config = TrainConfig(steps=30, batch_size=5, augment="none", log_every=1)
    values = losses(run(config=config, network=SMALL))
    assert np.mean(values[-3:]) < 0.5 * np.mean(values[:3])


def test_numbers_of_numpy_in_both_configs_are_saved_and_resumed(tmp_path, msa2net):
    label = np.zeros((2, 2), np.uint8) + np.uint8(2)
    network = NetworkConfig.from_dict(SMALL.to_dict() | {"num_classes": label.max() + 1, "image_size": np.int64(64)})
    config = changed(steps=np.int64(6), learning_rate=np.logspace(-3, -1, 2)[0], seed=np.uint32(1234))
    options = {"device": "cpu", "progress": False}
    with pytest.raises(StopError):
        train(network, config, Slices(), tmp_path, on_log=stopping(3), **options)
    assert losses(train(network, config, Slices(), tmp_path, **options)) == losses(msa2net)


@pytest.fixture
def copy(tmp_path, uninterrupted):
    """The folder of a run that is done, to go on in."""
    return shutil.copytree(uninterrupted.weights.parent, tmp_path / "copy")


def test_state_of_another_run_is_refused(copy):
    with pytest.raises(InputError, match=r"state\.pt: of a run with another training config"):
        run(copy, config=TrainConfig(**(CONFIG.to_dict() | {"steps": 7})))


def changed(**fields):
    return TrainConfig(**(CONFIG.to_dict() | fields))


def test_only_fields_that_would_make_another_run_are_named(tmp_path):
    run(tmp_path, changed(steps=2))
    with pytest.raises(InputError, match=r"of a run with another training config \(steps, batch_size\); name another"):
        run(tmp_path, changed(steps=3, batch_size=1, log_every=2))
    tall = replace(PLAIN, image_size=(64, 32))
    with pytest.raises(InputError, match=r"another network \(image_size\)"):
        train(tall, changed(steps=2), Slices(), tmp_path, device="cpu", progress=False)


@pytest.mark.parametrize(
    ("field", "before", "after"),
    [
        ("learning_rate", 1e-3, 1e-4),
        ("accumulate", 1, 2),
        ("precision", "fp32", "bf16"),
        ("compilation", "auto", "off"),
        ("log_every", 1, 2),
        ("checkpoint_every", 2, 3),
    ],
)
def test_what_a_message_advises_can_be_changed_on_resuming(tmp_path, field, before, after):
    """It is told once, and stands in the record also after the next restart."""

    with pytest.raises(StopError):
        run(tmp_path, changed(**{field: before}), on_log=stopping(3))
    with pytest.warns(UserWarning, match=rf"state\.pt: goes on from step 2 with {field}={after} \(was {before}\)$"):
        run(tmp_path, changed(**{field: after}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path, changed(**{field: after}))
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["changed_on_resume"] == [{"field": field, "from": before, "to": after, "step": 2}]
    assert record["training"][field] == after


def scheduled(config):
    """The rates that stand in a run's log: each as it is after its step."""
    optimizer = build_optimizer(torch.nn.Linear(1, 1), config)
    schedule = build_schedule(optimizer, config, config.steps)
    rates = []
    for _ in range(config.steps):
        optimizer.step()
        schedule.step()
        rates += schedule.get_last_lr()
    return rates


def test_the_log_holds_the_schedules_rates(uninterrupted):
    assert [row["learning_rate"] for row in uninterrupted.history] == scheduled(CONFIG)


@pytest.mark.parametrize("schedule", ["poly", "one_cycle", "constant"])
def test_a_changed_learning_rate_is_followed_as_if_it_had_been_there_all_along(tmp_path, schedule):
    rates = {rate: scheduled(changed(schedule=schedule, learning_rate=rate)) for rate in (1e-3, 2e-4)}
    with pytest.raises(StopError):
        run(tmp_path, changed(schedule=schedule), on_log=stopping(3))
    with pytest.warns(UserWarning, match="learning_rate=0.0002"):
        resumed = run(tmp_path, changed(schedule=schedule, learning_rate=2e-4))
    expected = rates[1e-3][:2] + rates[2e-4][2:]
    assert [row["learning_rate"] for row in resumed.history] == pytest.approx(expected, rel=1e-12)


def test_versions_that_differ_are_told_on_resuming(copy):
    state = load_state(copy / "state.pt")
    state["versions"] |= {"torch": "1.0", "gone": "3"}
    torch.save(state, copy / "state.pt")
    with pytest.warns(UserWarning, match=r"written with torch 1\.0 \(here .*\), gone 3 \(here without\): the loss may"):
        run(copy)


def test_state_of_another_data_set_is_refused(copy):
    with pytest.raises(InputError, match=r"state\.pt: of a run with another data set"):
        run(copy, data="two")


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
    trace = tmp_path / "was run"

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    torch.save({"format": Code()}, tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt: not a readable training state"):
        run(tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_paper_recipe_and_friends_build(name):
    module = torch.nn.Linear(2, 2)
    config = TrainConfig.from_recipe("synapse", optimizer=name)
    optimizer = build_optimizer(module, config)
    schedule = build_schedule(optimizer, config, 100)
    assert type(optimizer).__name__.lower() == name
    assert schedule.get_last_lr() == [pytest.approx(0.0416667, abs=1e-7)]


@pytest.mark.parametrize(("recipe", "rate"), [("synapse", 0.05 * 5 / 24), ("isic", 1e-4)])
def test_the_papers_recipes_run(recipe, rate):
    """Two of their steps, with all that they switch on, on few small slices."""
    config = TrainConfig.from_recipe(recipe, steps=2, batch_size=5, log_every=1)
    result = run(config=config, network=SMALL)
    assert np.isfinite(losses(result)).all()
    schedule = {"synapse": [rate / 2**0.9, 0.0], "isic": [rate, rate]}[recipe]
    assert [row["learning_rate"] for row in result.history] == pytest.approx(schedule)


def test_paper_recipe_counts_its_steps():
    assert TrainConfig.from_recipe("synapse").total_steps(2211) == 700 * 111


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


def test_half_precision_file_is_half_the_size_and_close(tmp_path, msa2net):
    whole = save_network(msa2net.network, tmp_path / "whole.safetensors")
    half = save_network(msa2net.network, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = msa2net.network(image)
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


def test_truncated_checkpoint_is_refused(tmp_path, msa2net):
    path = save_network(msa2net.network, tmp_path / "net.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a readable safetensors"):
        load_network(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, msa2net, monkeypatch):
    from msa2net_lib import checkpoints

    path = save_network(msa2net.network, tmp_path / "net.safetensors")
    before = path.read_bytes()

    def full_disk(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full_disk)
    with pytest.raises(InputError, match="the disk is full"):
        save_network(msa2net.network, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
