"""What a run writes down as it goes: its log as CSV, as TensorBoard events, and in bars."""

from __future__ import annotations

import csv
import importlib
import io
import os
import platform
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.files import EVENTS_FOLDER, LOG_FILE
from msa2net_lib.utils.files import DiskFullError, tell_disk_full, write_text
from msa2net_lib.utils.progress import progress_bar

History = list[dict[str, float]]
"""One row per log entry: step, epoch, loss, learning_rate (of the step to come), images_per_second; validation_dsc, and
of scans that of each organ, ``validation_dsc liver``."""

COLUMNS = ("step", "epoch", "loss", "learning_rate", "images_per_second", "validation_dsc")


class Logger:
    """Keeps the log of a run. With a folder it writes ``log.csv`` and, in ``tensorboard/``, events.

    The CSV is whole at any moment and as long as the last checkpoint at least; a run that is resumed goes on in both.
    """

    def __init__(self, history: History, folder: Path | None, first_step: int) -> None:
        self.history, self.folder = history, folder
        self._samples, self._since = 0, time.perf_counter()
        self._events: _Events | None = None
        if folder is not None:
            with self._told():
                self._events = _Events(folder / EVENTS_FOLDER, first_step)

    def _told(self) -> AbstractContextManager[None]:
        return tell_disk_full(f"{self.folder}/{EVENTS_FOLDER}")

    def saw(self, samples: int) -> None:
        """Count samples for the rate."""
        self._samples += samples

    def restart_clock(self) -> None:
        """Leave out of the next rate what was no training. Samples since the last entry are left out with it."""
        self._samples, self._since = 0, time.perf_counter()

    def enter(self, step: int, epoch: float, loss: float, rate: float) -> dict[str, float]:
        """Append an entry, and return it."""
        now = time.perf_counter()
        speed = self._samples / max(now - self._since, 1e-9)
        self._samples, self._since = 0, now
        row = {"step": step, "epoch": epoch, "loss": loss, "learning_rate": rate, "images_per_second": speed}
        self.history.append(row)
        self._add({name: value for name, value in row.items() if name not in ("step", "epoch")}, step)
        return row

    def score(self, value: float, by_class: Mapping[str, float]) -> None:
        """Add a validation score to the last entry, and what it is by class."""
        scores = {"validation_dsc": value} | {f"validation_dsc {name}": part for name, part in by_class.items()}
        self.history[-1].update(scores)
        self._add(scores, int(self.history[-1]["step"]))

    def _add(self, values: dict[str, float], step: int) -> None:
        if self._events is not None:
            with self._told():
                self._events.add(values, step)

    def write(self) -> None:
        """Write the CSV anew; the events are there already."""
        if self.folder is None:
            return
        text = io.StringIO()
        columns = dict.fromkeys((*COLUMNS, *(name for row in self.history for name in row)))
        writer: Any = csv.DictWriter(text, [*columns], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self.folder / LOG_FILE, text.getvalue())

    def __enter__(self) -> Logger:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._events is None:
            return
        try:
            with self._told():
                self._events.close()
        except DiskFullError:
            if kind is None:  # else what went wrong first is what is to be told
                raise


class _Events:
    """Scalars as TensorBoard reads them, written when they come.

    Not by torch's SummaryWriter, whose thread prints a traceback of its own when the disk is full. TensorBoard drops
    what an earlier run wrote after ``first_step``.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        # Slow to import, and not needed by a run that writes nothing.
        event_pb2: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{platform.node()}.{os.getpid()}"
        self._file = open(folder / name, "wb")  # noqa: SIM115
        self._records, self._event = RecordWriter(self._file), event_pb2.Event
        try:
            self._write(file_version="brain.Event:2")
            self._write(step=first_step + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
        except OSError:
            with suppress(OSError):  # what could not be written cannot be on closing either
                self.close()
            raise

    def add(self, values: dict[str, float], step: int) -> None:
        from torch.utils.tensorboard.summary import scalar

        for name, value in values.items():
            self._write(step=step, summary=scalar(name, value))

    def close(self) -> None:
        self._file.close()

    def _write(self, **content: Any) -> None:
        self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
        self._file.flush()


class Bars:
    """A bar for epochs and one for steps, with images a second and the time left."""

    def __init__(self, config: TrainConfig, samples: int, first_step: int, enabled: bool) -> None:
        self._epoch_steps = config.epoch_steps(samples)
        self._total = total = config.total_steps(samples)
        self._epochs = progress_bar(
            total=-(-total // self._epoch_steps),
            initial=first_step // self._epoch_steps,
            desc="epochs",
            unit="epoch",
            enabled=enabled,
        )
        self._steps = progress_bar(total=total, initial=first_step, desc="training", unit="step", enabled=enabled)

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *error: object) -> None:
        self._steps.close()
        self._epochs.close()

    def advance(self, step: int) -> None:
        """Move on to a step."""
        self._steps.update()
        if step % self._epoch_steps == 0 or step == self._total:  # the last epoch may be cut short
            self._epochs.update()

    def show(self, row: dict[str, float]) -> None:
        """Show the last entry of the log."""
        self._steps.set_postfix_str(f"loss {row['loss']:.3f}, {row['images_per_second']:.0f} images/s")
