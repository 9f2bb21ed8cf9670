"""Names of the files in the folder of a training run."""

from __future__ import annotations

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
