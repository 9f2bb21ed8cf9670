"""Progress bars can be silenced by argument and by environment."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = "from msa2net_lib.utils.progress import progress_bar; [_ for _ in progress_bar(range(3), enabled={enabled})]"


@pytest.mark.parametrize(
    ("enabled", "environment", "shown"), [(True, {}, True), (False, {}, False), (True, {"TQDM_DISABLE": "1"}, False)]
)
def test_who_silences_a_bar(enabled, environment, shown, monkeypatch):
    """The committed notebooks are executed with the variable set, which tqdm's own widget bars ignore."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(enabled=enabled)], capture_output=True, text=True, check=True
    )
    assert ("3/3" in done.stderr) == shown
