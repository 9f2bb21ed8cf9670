"""What a run writes down as it goes: its log as CSV, as TensorBoard events, and in bars."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

from msa2net_lib.files import write_text
from msa2net_lib.progress import progress_bar
from msa2net_lib.train_config import TrainConfig

History = list[dict[str, float]]
"""One row per log entry: step, epoch, loss, learning_rate (of the step to come), images_per_second; validation_dsc."""

COLUMNS = ("step", "epoch", "loss", "learning_rate", "images_per_second", "validation_dsc")


class Journal:
    """Keeps the log of a run. With a folder it writes ``log.csv`` and, in ``tensorboard/``, events.

    The CSV is whole at any moment and as long as the last checkpoint at least; a run that is resumed goes on in both.
    """

    def __init__(self, history: History, folder: Path | None, first_step: int) -> None:
        self.history, self.folder = history, folder
        self._samples, self._since = 0, time.perf_counter()
        self._events: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)

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
        if self._events is not None:
            for name, value in row.items():
                if name not in ("step", "epoch"):
                    self._events.add_scalar(name, value, step)
        return row

    def score(self, value: float) -> None:
        """Add a validation score to the last entry."""
        row = self.history[-1]
        row["validation_dsc"] = value
        if self._events is not None:
            self._events.add_scalar("validation_dsc", value, int(row["step"]))

    def write(self) -> None:
        """Write the CSV anew and hand the events to the disk."""
        if self.folder is None:
            return
        text = io.StringIO()
        writer: Any = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self.folder / "log.csv", text.getvalue())
        self._events.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        if self._events is not None:
            self._events.close()


class Bars:
    """A bar for steps, with images a second and the time left, and for runs counted in epochs one for those."""

    def __init__(self, config: TrainConfig, samples: int, first_step: int, enabled: bool) -> None:
        self._epoch_steps = config.epoch_steps(samples)
        total = config.total_steps(samples)
        self._epochs = progress_bar(
            total=-(-total // self._epoch_steps),
            initial=first_step // self._epoch_steps,
            desc="epochs",
            unit="epoch",
            enabled=enabled and config.epochs > 0,
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
        if step % self._epoch_steps == 0:
            self._epochs.update()

    def show(self, row: dict[str, float]) -> None:
        """Show the last entry of the log."""
        self._steps.set_postfix_str(f"loss {row['loss']:.3f}, {row['images_per_second']:.0f} images/s")
