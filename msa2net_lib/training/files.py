"""The folder of a training run: names of its files, and whose it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msa2net_lib.utils.files import remove_partials
from msa2net_lib.utils.locks import exclusive

WEIGHTS_FILE = "weights.safetensors"
"""The last step's weights: its presence means that the run is finished."""

BEST_FILES = {"validation": "best_on_validation.safetensors", "test": "best_on_test.safetensors"}
"""The best weights, by what chose them."""

RECORD_FILE = "run.json"
STATE_FILE = "state.pt"
LOG_FILE = "log.csv"
EVENTS_FOLDER = "tensorboard"

LOCK_FILE = ".training.lock"
"""Held while a run writes to the folder, however it ends; the file itself stays, empty."""

BATCH_FILE = "not_finite.pt"
"""Holds the batch at which the loss was no finite number: images and labels as the network got them, and ids."""


@contextmanager
def claimed(folder: Path | None) -> Iterator[None]:
    """Keep other trainings out of a folder, and clear it of what killed ones left; one process does it for all."""
    if folder is None or int(os.environ.get("RANK", "0")) > 0:
        yield
        return
    busy = "another training is at work in this folder; wait for its end, or name another output folder"
    with exclusive(folder, lock=folder / LOCK_FILE, busy=busy, needed=False):
        remove_partials(folder, claimed=True)
        yield
