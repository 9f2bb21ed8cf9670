"""The log on disk: a CSV that is whole, and TensorBoard's events, read back by its own reader."""

from __future__ import annotations

import pandas as pd
import pytest
from small_run import CONFIG, SMALL, Slices
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from msa2net_lib.training import train


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def stopped_and_resumed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")

    def stop(history):
        if history[-1]["step"] == 5:
            raise StopError

    with pytest.raises(StopError):
        train(SMALL, CONFIG, Slices(), folder, device="cpu", progress=False, on_log=stop)
    return folder, train(SMALL, CONFIG, Slices(), folder, device="cpu", progress=False)


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
