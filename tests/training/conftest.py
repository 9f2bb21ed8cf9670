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
def run_stages():
    """Run the stages of `small_run.main` in a process of their own; returns what was said of how each ended."""

    def start(*stages):
        command = [sys.executable, str(SCRIPT), json.dumps(stages, default=str)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        assert ended.returncode == 0, ended.stderr[-3000:]
        return json.loads(ended.stdout.splitlines()[-1])

    return start


@pytest.fixture(scope="session")
def logged_losses():
    """The losses in a folder's state, step after step."""
    return lambda folder: [row["loss"] for row in load_state(folder / "state.pt")["history"]]
