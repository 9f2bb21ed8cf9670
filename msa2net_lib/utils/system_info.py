"""What this machine is, in words that may be published: no host name, no paths."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

DISTRIBUTION, NOT_INSTALLED = "msa2net-workbook", "not installed"
COLAB_HAS = "/content/colab.txt"
"""What Google Colab had before the first cell of a lesson installed the workbook there: none of it is to change."""
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "medpy", "SimpleITK", "h5py", "pandas")


def library_version() -> str:
    """The version of this library as it was installed."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that nobody installed
        return NOT_INSTALLED


def hardware() -> dict[str, str | int | float]:
    """Processor, usable cores, memory in GiB, accelerator."""
    import psutil  # the rest of this module serves where packages are missing

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerator": _accelerator(),
    }


_version = cache(importlib.metadata.version)  # read in 2 ms, by every state that a training saves; errors are not kept


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Python, the system and the packages that decide the numbers."""
    found = {"python": platform.python_version(), "system": platform.system()}
    for package in packages:
        try:
            found[package] = _version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = NOT_INSTALLED
    return found


def _accelerator() -> str:
    """The GPU's name. Loading torch takes seconds, so it is left alone where nothing else speaks of a GPU."""
    if "torch" not in sys.modules and shutil.which("nvidia-smi") is None and not Path("/dev/kfd").exists():
        return "none"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_gib(children: bool = False) -> float:
    """Largest resident size that this process has had, in GiB; 0 where the system does not tell.

    children: or any process that it started and that has ended, if that was larger.
    """
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    try:  # Linux hands ru_maxrss of the starting process on to the one it starts; this counter begins anew
        own = int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])  # pyright: ignore
    except (OSError, TypeError):
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if children else 0
    return max(own, others) * unit / 2**30


def commit() -> str:
    """The checkout's commit, with "-changed" where files differ from it; "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run([*command, "--dirty=-changed"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def lacking(*packages: str) -> str:
    """Which of the packages that lessons use are not installed, and what to do about it; empty if all are."""
    absent = [name for name in packages if sys.modules.get(name, ...) is None or importlib.util.find_spec(name) is None]
    return f"needs {', '.join(absent)}: {how_to_install(lessons_extra())}" if absent else ""


def lessons_extra() -> str:
    """The extra that brings what lessons need: Colab has a page, a kernel and versions of its own, which stay."""
    return "colab" if "COLAB_RELEASE_TAG" in os.environ else "notebooks"


def how_to_install(extra: str = "") -> str:
    """What brings the packages of an extra, or those that are always needed, to the library as it is installed.

    pip adds them to what is there, be that from a wheel or a checkout, without asking an index for the library itself.
    """
    chosen = f"[{extra}]" if extra else ""
    if library_version() == NOT_INSTALLED:
        return f"run pip install -e '.{chosen}' in the checkout"
    kept = f"--constraint {COLAB_HAS} " if "COLAB_RELEASE_TAG" in os.environ else ""
    return f"run pip install {kept}'{DISTRIBUTION}{chosen}'"
