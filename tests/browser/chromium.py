"""The system's Chromium: found, or installed from Debian where apt is at hand, or asked for in one line.

With it what every script of this folder needs: the browser without a window, and how a script ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = (
    *("--no-sandbox", "--no-first-run", "--disable-quic", "--disable-sync", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update"),
    # Nothing but this machine can be reached, so that what needs the network fails wherever the test runs.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # No graphics card here: WebGL, which the volume viewer draws with, is computed by SwiftShader.
    *("--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)


class NoChromiumError(Exception):
    """There is no Chromium and none could be installed."""


class CheckError(Exception):
    """What is wrong with a page, in one line."""


def find_chromium() -> Path:
    """Return the browser's path, installing Debian's package if need be. Errors: `NoChromiumError`."""
    if CHROMIUM.exists():
        return CHROMIUM
    wanted = f"the browser test drives Chromium and {CHROMIUM} is not there"
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise NoChromiumError(f"{wanted}: install it (Debian, Ubuntu: sudo apt-get install chromium), then try again")
    print(f"{CHROMIUM} is not there: installing Debian's chromium with apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "install", "-y", "chromium"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout[-2000:] + done.stderr[-2000:])
            raise NoChromiumError(f"{wanted}: `{' '.join(command)}` ended with status {done.returncode}")
    if not CHROMIUM.exists():
        raise NoChromiumError(f"{wanted}: the package chromium of this system puts it elsewhere; link it there")
    return CHROMIUM


@contextmanager
def headless() -> Iterator[Any]:
    """Run Chromium without a window, driven by playwright. Errors: `NoChromiumError`."""
    from playwright.sync_api import sync_playwright

    browser = find_chromium()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(browser), args=list(FLAGS))
        yield chromium
        chromium.close()


def end(main: Callable[[], int]) -> NoReturn:
    """Run a script and exit with its status: 0 all well, 1 a check failed, 3 no browser to drive, 130 interrupted."""
    try:
        sys.exit(main())
    except NoChromiumError as error:
        print(error)
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    try:
        print(find_chromium())
    except NoChromiumError as error:
        sys.exit(str(error))
