"""Fixtures of the download tests: a local server, also under the names of Drive's hosts, archives and small disks."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from local_server import FILES, Site, google_at, serving

from msa2net_lib.data.download import fetch as fetch_module
from msa2net_lib.data.download.archives import MARK


@pytest.fixture
def site() -> Iterator[Site]:
    """A server for one test."""
    with serving() as site:
        yield site


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Attempts follow each other at once, ours and gdown's."""
    monkeypatch.setattr(fetch_module, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)


@pytest.fixture(autouse=True)
def only_the_local_server(monkeypatch, request):
    """Send requests for Google's hosts to the test's server (see ``google_at``); refuse every other host."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = request.getfixturevalue("site") if "site" in request.fixturenames else None
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", google_at(site.address if site else None))


@pytest.fixture(scope="session")
def zip_bytes() -> Callable[..., bytes]:
    """Make a zip archive of name -> content."""

    def make(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compression) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return out.getvalue()

    return make


@pytest.fixture(scope="session")
def tar_bytes() -> Callable[..., bytes]:
    """Make a tar archive (mode "w" or "w:gz") of name -> content, or of members with their own TarInfo."""

    def make(files: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as archive:
            for name, content in files.items():
                member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
                data = content if isinstance(content, bytes) else b""
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return out.getvalue()

    return make


@pytest.fixture(scope="session")
def noise() -> Callable[[int], bytes]:
    """Bytes that do not compress, always the same."""
    return lambda size: np.random.default_rng(7).bytes(size)


@pytest.fixture(params=["tmpfs", "limit"])
def small_disk(request, tmp_path) -> Iterator[Path]:
    """A folder on a file system of 256 KiB, or one for a process that may write no file larger than 128 KiB.

    Make large files of your own before this fixture.
    """
    folder = tmp_path / "small"
    folder.mkdir()
    if request.param == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting a small tmpfs needs rights that this user has not")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, hard))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def archive(tmp_path, zip_bytes, tar_bytes) -> Callable[..., Path]:
    """Write an archive whose name tells its kind."""

    def make(name: str, files: dict = FILES) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith(".zip"):
            path.write_bytes(zip_bytes(files))
        else:
            path.write_bytes(tar_bytes(files, "w" if name.endswith(".tar") else "w:gz"))
        return path

    return make


@pytest.fixture
def contents(tree) -> Callable[[Path], dict[str, bytes]]:
    """Return the files of an unpacked folder, without the mark."""
    return lambda folder: {name: data for name, data in tree(folder).items() if name != MARK}
