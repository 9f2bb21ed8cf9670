"""What a lesson's parameters may hold, by name: types, bounds and choices, checked before any work."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msa2net_lib.config import PRESETS
from msa2net_lib.data.catalog import DATASETS, dataset_entry, is_prepared
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.train_choices import CHOICES
from msa2net_lib.train_config import PROFILES
from msa2net_lib.utils.devices import DEVICES

LARGEST = 2**31 - 1
"""No number of steps, slices or pixels is larger."""
SEED_MOST = 2**32 - 1
"""The largest seed that NumPy's and torch's generators both take."""


@dataclass(frozen=True)
class Values:
    """What one parameter may hold.

    kind: "number" (whole), "switch", "word", "path", "paths" (a list of them), "data" (a data set's name, or the
    folder of a prepared one) or "organ" (a class of that data set). least, most: of a number. words: what may stand in
    its place. choices: of a word; a function where naming them loads more than a command's start should.
    """

    kind: str
    least: int = 0
    most: int = LARGEST
    words: tuple[str, ...] = ()
    choices: Collection[str] | Callable[[], Iterable[str]] = ()

    def checked(self, name: str, value: Any, dataset: Any = "auto") -> Any:
        """The value as plain Python, ``~`` in paths replaced. Raises: `InputError` for one that it may not hold.

        dataset: what DATASET is: data of one's own have organs of their own, which only opening them tells.
        """
        if isinstance(value, np.generic | Path):
            value = str(value) if isinstance(value, Path) else value.item()
        if isinstance(value, str) and value in self.words:
            return value
        if self.kind == "organ":
            known = dataset == "auto" or (dataset in DATASETS and DATASETS[dataset].kind == "scans")
            return Values("word", choices=ORGANS if known else (value,)).checked(name, value)
        return getattr(self, f"_{self.kind}")(name, value)

    def _number(self, name: str, value: Any) -> int:
        if type(value) is not int or not self.least <= value <= self.most:
            large = self.most != LARGEST or (type(value) is int and value > LARGEST)
            bounds = f"from {self.least} to {self.most}" if large else f"of {self.least} or more"
            give = " or ".join([f"a whole number {bounds}", *map(repr, self.words)])
            raise InputError(f"{name}={shown(value)}: give {give}, such as {name}={self.least}")
        return value

    def _switch(self, name: str, value: Any) -> bool:
        if type(value) is not bool:
            raise InputError(f"{name}={shown(value)}: give True or False")
        return value

    def _word(self, name: str, value: Any) -> str:
        choices = tuple(self.choices() if callable(self.choices) else self.choices)
        if not isinstance(value, str) or value not in (*self.words, *choices):
            known = ", ".join((*self.words, *choices))
            raise InputError(f"{name}={shown(value)} is unknown{nearest(value, choices)}: use {known}")
        return value

    def _path(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise InputError(f"{name}={shown(value)}: give a path as text, such as {name}='../results'")
        return os.path.expanduser(value)

    def _paths(self, name: str, value: Any) -> list[str]:
        if not isinstance(value, list | tuple):
            raise InputError(f"{name}={shown(value)}: give a list of paths, such as {name}=['a.safetensors']")
        return [self._path(name, path) for path in value]

    def _data(self, name: str, value: Any) -> str:
        scans = tuple(data for data, entry in DATASETS.items() if entry.kind == "scans")
        if isinstance(value, str) and value not in scans and "\0" not in value:
            folder = os.path.expanduser(value)
            if is_prepared(folder) and dataset_entry(folder).kind == "scans":
                return folder
        if value not in scans:
            use = f"use {', '.join((*self.words, *scans))}, or the folder of a prepared data set"
            raise InputError(f"{name}={shown(value)} is unknown{nearest(value, scans)}: {use}")
        return value


def _gates() -> list[str]:
    from msa2net_lib.nn.gates import list_gates

    return list(list_gates())


AUTO = ("auto",)
PARAMETERS: dict[str, Values] = {
    "PROFILE": Values("word", choices=PROFILES),
    "DATASET": Values("data", words=AUTO),
    "DATA_DIR": Values("path"),
    "OUTPUT_DIR": Values("path"),
    "SEED": Values("number", most=SEED_MOST),
    "DEVICE": Values("word", choices=(*DEVICES, *(f"cuda:{number}" for number in range(8)))),
    "CHECKPOINT": Values("path", words=("auto", "shipped")),
    "CASE": Values("number"),
    "SLICE": Values("number", words=AUTO),
    "LEVEL": Values("number", most=2),
    "ORGAN": Values("organ"),
    "SLICES": Values("number", least=1),
    "STEPS": Values("number", least=1, words=AUTO),
    "IMAGE_SIZE": Values("number", least=32),
    "SEEDS": Values("number", least=1),
    "MEASURED": Values("path"),
    "SMALLER": Values("path"),
    "TRAIN_PATIENTS": Values("number", least=1),
    "TEST_PATIENTS": Values("number", least=1),
    "SKIN_IMAGES": Values("number", least=10),
    "PRESET": Values("word", choices=(*AUTO, *PRESETS)),
    "PRESET_DRAWN": Values("word", choices=PRESETS),
    "BATCH_SIZE": Values("number"),
    "SELECTION": Values("word", choices=CHOICES["selection"]),
    "GPUS": Values("number"),
    "RESUME": Values("switch"),
    "SCORED": Values("word", choices=("trained", "shipped")),
    "BENCHMARKS": Values("path"),
    "OTHERS": Values("paths"),
    "BEST_ON_TEST": Values("switch"),
    "SKIN_STEPS": Values("number"),
    "IMAGE": Values("path", words=("",)),
    "READING": Values("word", choices=("replaced", "removed")),
    "GATE": Values("word", choices=_gates),
}
"""What each parameter may hold; a lesson where it is something else says so in `registry.LESSONS`."""


def shown(value: Any) -> str:
    """A value as a message shows it: on one line, and not longer than one reads."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: Any, known: Iterable[Any]) -> str:
    """Words for the known name most like this one, empty if none is."""
    by_letters = {str(one).upper(): one for one in known}
    match = [by_letters[m] for m in difflib.get_close_matches(str(name).upper(), by_letters, n=1)]
    return f" (did you mean {match[0]}?)" if match else ""
