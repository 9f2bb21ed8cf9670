"""A JupyterLab for the test alone: its own folder, port, token and settings, and nothing from outside."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 90

SETTINGS = {
    # The whole notebook is on the page at once, not only the cells in view.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}

OPTIONS = (
    *("--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port_retries=0"),
    *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
)


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it answers, its token, and the file with what it and its kernels said."""

    port: int
    token: str
    log: Path

    def url(self, notebook: str) -> str:
        """Address of a page with nothing but the notebook, given by its path below the served folder."""
        return f"http://127.0.0.1:{self.port}/doc/tree/{notebook}?token={self.token}"


@contextmanager
def jupyterlab(folder: Path, home: Path) -> Iterator[Lab]:
    """Serve ``folder``; settings, runtime files and the log lie in ``home``. The server ends with the block."""
    home.mkdir(parents=True)
    lab = Lab(_free_port(), secrets.token_hex(16), home / "lab.log")
    command = [sys.executable, "-m", "jupyterlab", *OPTIONS, f"--port={lab.port}", f"--ServerApp.root_dir={folder}"]
    with lab.log.open("w") as log:
        # A session of its own: Ctrl-C reaches this process only, which then ends the server in order.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(home, lab.token),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_until_it_answers(lab, process)
            yield lab
        finally:
            _end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(home: Path, token: str) -> dict[str, str]:
    """Nothing of the user's own Jupyter is read or written, and kernels draw no progress bars."""
    for name, values in SETTINGS.items():
        path = home / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    fixed = {"JUPYTER_TOKEN": token, "TQDM_DISABLE": "1"}
    return {**os.environ, **{name: str(home / place) for name, place in folders.items()}, **fixed}


def _wait_until_it_answers(lab: Lab, process: subprocess.Popen) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{lab.port}/api/status", headers={"Authorization": f"token {lab.token}"}
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(request, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start; its last words:\n{lab.log.read_text()[-3000:]}")


def _end(process: subprocess.Popen) -> None:
    """SIGTERM lets the server end its kernels first; what is left of its own session is killed."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
