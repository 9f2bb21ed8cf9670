"""Starts small training runs in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from msa2net_lib.checkpoints import load_state

SCRIPT = Path(__file__).parents[1] / "helpers" / "small_run.py"


@pytest.fixture(scope="session")
def start_run():
    """Run small_run.py to its end, as so many processes; returns the finished process."""

    def start(output, *, processes=1, expect=0, **options):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", _text(value))]
        command = [sys.executable, *(launcher if processes > 1 else []), str(SCRIPT), "--output", str(output), *given]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        if expect is not None:
            assert ended.returncode == expect, ended.stderr[-3000:]
        return ended

    return start


@pytest.fixture(scope="session")
def logged_losses():
    """The losses in a folder's state, step after step."""
    return lambda folder: [row["loss"] for row in load_state(folder / "state.pt")["history"]]


def _text(value):
    return json.dumps(value) if isinstance(value, dict) else str(value)
