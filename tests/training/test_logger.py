"""The log on disk: a CSV that is whole, and TensorBoard's events, read back by its own reader."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from small_run import CONFIG, PLAIN, Slices, StopError, stopping
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training.logger import Bars


@pytest.fixture(scope="module")
def stopped_and_resumed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")

    with pytest.raises(StopError):
        train(PLAIN, CONFIG, Slices(), folder, device="cpu", progress=False, on_log=stopping(5))
    return folder, train(PLAIN, CONFIG, Slices(), folder, device="cpu", progress=False)


def test_the_csv_has_every_entry_once(stopped_and_resumed):
    folder, result = stopped_and_resumed
    table = pd.read_csv(folder / "log.csv")
    assert table.step.tolist() == [1, 2, 3, 4, 5, 6]
    assert table.epoch.tolist() == pytest.approx([step / 3 for step in range(1, 7)])
    assert table.loss.tolist() == pytest.approx([row["loss"] for row in result.history])
    assert table.validation_dsc.isna().all()
    assert (table.images_per_second > 0).all()


def test_tensorboard_reads_the_same_curve(stopped_and_resumed):
    """A resumed run drops the steps that it takes again."""
    folder, result = stopped_and_resumed
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    loss = events.Scalars("loss")
    assert [entry.step for entry in loss] == [1, 2, 3, 4, 5, 6]
    assert [entry.value for entry in loss] == pytest.approx([row["loss"] for row in result.history])


def test_the_record_says_what_was_run(stopped_and_resumed):
    folder, _ = stopped_and_resumed
    record = pd.read_json(folder / "run.json", typ="series")
    assert record["steps"] == 6
    assert record["processes"] == 1
    assert record["training"]["recipe"] == "smoke"
    assert record["versions"]["torch"]
    assert record["best"] is None


@pytest.mark.parametrize("length", [{"steps": 5, "epochs": 0}, {"steps": 0, "epochs": 2}])
def test_bars_show_epochs_steps_images_a_second_and_the_time_left(length, capsys, monkeypatch):
    """Counted in steps the last epoch may be cut short: 5 steps of 2 of 6 samples are one epoch and two thirds."""
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    config = TrainConfig(batch_size=2, **length)
    total = config.total_steps(6)
    with Bars(config, samples=6, first_step=0, enabled=True) as bars:
        for step in range(1, total + 1):
            bars.advance(step)
            bars.show({"loss": 0.5, "images_per_second": 123.4})
    shown = capsys.readouterr().err
    assert f"training:  {100 * (total - 1) // total}%" in shown
    assert re.search(rf"{total - 1}/{total} \[\d\d:\d\d<\d\d:\d\d, .*loss 0.500, 123 images/s", shown)
    assert f"training: 100%|██████████| {total}/{total}" in shown
    assert "epochs: 100%|██████████| 2/2" in shown


def test_bars_go_on_where_a_run_does_and_can_be_silent(capsys, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    config = TrainConfig(batch_size=2, steps=5)
    with Bars(config, samples=6, first_step=4, enabled=True) as bars:
        bars.advance(5)
    assert "epochs: 100%" in (shown := capsys.readouterr().err)
    assert "training: 100%" in shown
    with Bars(config, samples=6, first_step=4, enabled=False) as bars:
        bars.advance(5)
    assert not capsys.readouterr().err
