"""``msa2net doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from msa2net_lib.errors import InputError


def add_doctor(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    parser = commands.add_parser("doctor", help="say what is here, what is missing and what to do about it")
    parser.add_argument("--data", type=Path, default="data", metavar="DIR", help="default: data")
    parser.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print what was found and return the exit code: 1 if something needed is not well."""
    findings = examine(arguments.data)
    print(*findings, sep="\n")
    return int(any(found.needed and not found.ok for found in findings))


class Finding(NamedTuple):
    """One line of the report: what was looked for, whether it is well, and else what to do.

    needed: whether the `smoke` profile does not run without it.
    """

    what: str
    ok: bool
    remedy: str = ""
    needed: bool = True

    def __str__(self) -> str:
        if self.ok:
            return f"ok       {self.what}"
        return f"missing  {self.what}{'' if self.needed else ' (not needed for smoke)'}: {self.remedy}"


def examine(data_dir: str | Path = "data") -> list[Finding]:
    """Look at Python, packages, hardware, the shipped files and the prepared data, in this order."""
    import platform

    from msa2net_lib.config import SHIPPED_TINY
    from msa2net_lib.utils.system_info import lessons_extra

    data_dir = Path(data_dir)
    findings = [
        Finding(
            f"Python {platform.python_version()}", sys.version_info >= (3, 11, 4), "install Python 3.11.4 or newer"
        ),
        *(packages := [*_packages()]),
        *_packages(lessons_extra()),
        _example_ct(data_dir / "example_ct"),
    ]
    if all(found.ok for found in packages):  # else the imports below would fail
        findings += [*_hardware(), _checkpoint(SHIPPED_TINY), *dataset_findings(data_dir)]
    return findings


def required(extra: str = "") -> list[str]:
    """Return the packages that the library needs, or those of one of its extras, as its own metadata list them."""
    import importlib.metadata

    from msa2net_lib.utils.system_info import DISTRIBUTION

    lines = [line.partition(";") for line in importlib.metadata.requires(DISTRIBUTION) or ()]
    wanted = [name for name, _, marker in lines if (f'extra == "{extra}"' in marker if extra else not marker)]
    return [re.split(r"[^\w.-]", name.strip())[0] for name in wanted]


def _packages(extra: str = "") -> Iterator[Finding]:
    import importlib.metadata

    from msa2net_lib.utils.system_info import DISTRIBUTION, how_to_install

    try:
        names = required(extra)
    except importlib.metadata.PackageNotFoundError:
        names = [DISTRIBUTION]
    for name in names:
        try:
            yield Finding(f"{name} {importlib.metadata.version(name)}", True)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, False, how_to_install(extra))


def _hardware() -> Iterator[Finding]:
    from msa2net_lib.utils.system_info import hardware

    facts = hardware()
    yield Finding(f"{facts['cores']} cores ({facts['processor']})", True)
    yield Finding(f"{facts['memory_gib']} GiB of memory", True)
    found = facts["accelerator"] != "none"
    remedy = "profiles gpu and paper want an NVIDIA GPU and a torch built for CUDA"
    yield Finding(f"accelerator {facts['accelerator']}" if found else "accelerator", found, remedy, False)


def _example_ct(folder: Path) -> Finding:
    """Compare the shipped CT with the checksums in its README."""
    from msa2net_lib.utils.files import sha256

    what, readme = f"shipped CT in {folder}", folder / "README.md"
    if not readme.is_file():
        return Finding(what, False, "run msa2net data example, or name the data folder with --data")
    listed = re.findall(
        r"^([0-9a-f]{64})  (\S+)$", readme.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE
    )
    bad = [name for digest, name in listed if not (folder / name).is_file() or sha256(folder / name) != digest]
    if bad or not listed:
        again = f"delete what is altered and run msa2net data example, in a checkout git restore {folder}"
        return Finding(what, False, f"absent or altered: {', '.join(bad) or readme.name}; {again}")
    return Finding(f"{what} ({len(listed)} files, sha256 as listed)", True)


def _checkpoint(weights: Path) -> Finding:
    """Compare the shipped network with the checksum in its record: to build it would take torch, and seconds."""
    from msa2net_lib.utils.files import read_json, sha256

    what = f"shipped checkpoint {weights.name}"
    try:
        whole = read_json(weights.with_suffix(".json"))["sha256"] == sha256(weights)
    except (OSError, ValueError, LookupError, TypeError):
        whole = False
    return Finding(
        f"{what} (sha256 as recorded)" if whole else what,
        whole,
        f"absent or altered; install the workbook again, or in a checkout run git restore {weights.parent}",
    )


def dataset_findings(data_dir: str | Path) -> Iterator[Finding]:
    """Whether the data sets of `data.catalog` are ready to train or test on, and for those that are not, what to do."""
    from msa2net_lib.data.catalog import DATASETS, open_prepared

    for name, entry in DATASETS.items():
        folder = Path(data_dir) / entry.folder
        what = f"data set {name} in {folder}"
        try:
            counts = open_prepared(folder).counts() if folder.is_dir() else ""
            yield Finding(f"{what} ({counts})" if counts else what, bool(counts), entry.remedy, needed=False)
        except InputError as error:  # it is there, but not ready: why, and what to do, is its own message
            yield Finding(what, False, str(error), needed=False)
