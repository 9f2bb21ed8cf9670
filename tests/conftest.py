"""Fixtures for all tests: the recorded arrays, the shipped CT, and one thread setting."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from msa2net_lib.errors import InputError
from msa2net_lib.paper.recorded import recorded_shapes

pytest_plugins = ["study_fixtures", "prediction_fixtures"]

os.environ["MSA2NET_CACHE"] = ""  # no converted network is kept, nor one of the reader's taken

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests" / "reference"


@dataclass(frozen=True)
class Recorded:
    """What the released code computed: inputs, outputs by mode, and its state dict."""

    inputs: list[torch.Tensor]
    outputs: dict[str, torch.Tensor]
    parameters: dict[str, torch.Tensor]


gc.disable()  # until all is collected: nothing of it is garbage


def pytest_collection_finish():
    """What has been loaded stays to the end: the garbage collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    """What is left is freed as ever: some packages complain of what is not."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small gain nothing from threads, and lose much where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def recorded():
    """Read recorded arrays by name, for example recorded("published/masag")."""

    def read(name: str) -> Recorded:
        with np.load(REFERENCE / f"{name}.npz") as arrays:
            tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        return Recorded(
            inputs=[tensors[f"in_{i}"] for i in range(2) if f"in_{i}" in tensors],
            outputs={mode: tensors[f"out_{mode}"] for mode in ("eval", "train") if f"out_{mode}" in tensors},
            parameters={key[6:]: value for key, value in tensors.items() if key.startswith("param/")},
        )

    return read


@pytest.fixture(scope="session")
def official_shapes():
    """Key and shape of every entry of the released state dict, by preset."""
    return recorded_shapes


@pytest.fixture(scope="session")
def refused() -> Callable[..., str]:
    """Call a function, expect an InputError of one line that contains the given words, return the line."""

    def check(words, function, *args, **kwargs) -> str:
        with pytest.raises(InputError) as caught:
            function(*args, **kwargs)
        message = str(caught.value)
        assert "\n" not in message
        for word in [words] if isinstance(words, str | Path) else words:
            assert str(word) in message
        return message

    return check


@pytest.fixture
def remembered_hints(monkeypatch):
    """torch asks for a class's type hints at every node of a ``.pt2`` file: half of the time of opening it."""
    ask, known = typing.get_type_hints, {}

    def remembered(owner, *spaces, **named):
        key = (owner, *map(id, spaces), *((name, id(space)) for name, space in named.items()))
        if key not in known:
            known[key] = ask(owner, *spaces, **named), spaces, named  # both are kept, so that their ids stay theirs
        return known[key][0]

    monkeypatch.setattr(typing, "get_type_hints", remembered)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own, of 2 MiB; remounting with another size makes room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={2 << 20}", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount a small file system: {error}")
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="session")
def fill_disk() -> Callable[..., Path]:
    """Take all space of a disk but ``keep`` bytes, and return the file that does."""

    def fill(disk: Path, keep: int = 0) -> Path:
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - keep))
        return filler

    return fill
