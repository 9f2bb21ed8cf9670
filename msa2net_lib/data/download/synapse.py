"""The Synapse multi-organ data (BTCV): its raw scans, found or fetched, and the prepared copy on Google Drive.

The raw scans need an account and the acceptance of terms at synapse.org. ``synapseclient`` downloads them for whoever
has both; it is optional (``pip install synapseclient``), by hand it goes as well.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from msa2net_lib.data.catalog import TERMS, show_terms
from msa2net_lib.data.download.archives import MARK, unpack
from msa2net_lib.data.download.drive import fetch_drive
from msa2net_lib.errors import InputError

PAGE = TERMS["synapse"].page
"""The challenge's page; the scans are among its files, under Abdomen, then RawData."""

RAW_ENTITY = "syn3379050"
"""Synapse entity of ``RawData.zip``, as public download scripts name it; not checked against the site."""

ARCHIVE = "RawData.zip"
_INSIDE = ("", "Training", "RawData/Training", "Abdomen/RawData/Training", "RawData/RawData/Training")
_BY_HAND = f"register at synapse.org, accept the terms at {PAGE} and download Abdomen/RawData/{ARCHIVE} by hand"
_WITH_CLIENT = "set SYNAPSE_AUTH_TOKEN to a token of your account (synapse.org, Account Settings)"

SYNAPSE_DRIVE_ID = "18I9JHH_i0uuEDg-N6d7bfMdf7Ut6bhBi"
"""Google Drive id of the prepared Synapse data that the MSA²Net, HiFormer and DAE-Former READMEs link to."""

MANIFEST = "downloads.json"
"""The manifest beside the downloads: size and SHA-256 of what was verified first."""

_DEEPEST = 5


def find_raw(source: str | Path, *, progress: bool = True) -> Path:
    """Return the folder with ``img/`` and ``label/`` of the raw scans, given that folder, a parent or the archive.

    Usual parents are ``Training``, ``RawData`` and ``Abdomen``. An archive (``RawData.zip``, or a folder that holds it
    and no scans) is unpacked beside itself, once. Raises: `InputError` if there are no scans.
    """
    source = Path(source)
    if source.is_file():
        return _unpacked(source, progress)
    if (found := _scans(source)) is not None:
        return found
    if (source / ARCHIVE).is_file():
        return _unpacked(source / ARCHIVE, progress)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder or archive; {_BY_HAND}")
    raise InputError(
        f"{source}: no img/ and label/ there, nor in RawData/Training below it; give the folder that holds both"
    )


def fetch_raw(destination: str | Path, *, progress: bool = True, say: Callable[[str], None] = print) -> Path:
    """Download ``RawData.zip`` through synapseclient, unpack it in ``destination``, and return its scans' folder.

    Says the terms first. Whatever is there already is used instead. Raises: `InputError` that says what to do, where
    synapseclient is not installed, no token is set, the terms are not accepted, or the download fails.
    """
    destination = Path(destination)
    if (there := _scans(destination)) is not None:
        return there
    if not (destination / ARCHIVE).is_file():
        client = _synapseclient()
        if not (os.environ.get("SYNAPSE_AUTH_TOKEN") or (Path.home() / ".synapseConfig").is_file()):
            raise InputError(f"no Synapse token: {_WITH_CLIENT}, or {_BY_HAND} to {destination / ARCHIVE}")
        say(show_terms("synapse"))
        destination.mkdir(parents=True, exist_ok=True)
        _download(client, destination)
    return find_raw(destination, progress=progress)


def _scans(folder: Path) -> Path | None:
    candidates = (folder / inside for inside in _INSIDE)
    return next((path for path in candidates if (path / "img").is_dir() and (path / "label").is_dir()), None)


def _unpacked(archive: Path, progress: bool) -> Path:
    """Unpack an archive beside itself and return the scans in it."""
    folder = unpack(archive, archive.with_name(archive.name.split(".")[0]), progress=progress)
    found = _scans(folder)
    if found is None:
        raise InputError(f"{archive}: holds no img/ and label/ as BTCV's RawData.zip does; is it another archive?")
    return found


def _synapseclient() -> ModuleType:
    try:
        return importlib.import_module("synapseclient")
    except ImportError as error:
        advice = f"`pip install synapseclient` and {_WITH_CLIENT}, or {_BY_HAND}"
        raise InputError(f"synapseclient is not installed: {advice}") from error


def _download(client: ModuleType, destination: Path) -> None:
    """Download the archive, which synapseclient compares with Synapse's checksum."""
    errors = importlib.import_module("synapseclient.core.exceptions")
    models = importlib.import_module("synapseclient.models")
    try:
        synapse = client.Synapse()
        synapse.login(silent=True)
        file = models.File(id=RAW_ENTITY, path=str(destination), if_collision="overwrite.local")
        path = file.get(synapse_client=synapse).path
    except errors.SynapseUnmetAccessRestrictions as error:
        raise InputError(
            f"Synapse {RAW_ENTITY}: accept the terms at {PAGE} with your account, then run it again"
        ) from error
    except errors.SynapseAuthenticationError as error:
        raise InputError(f"Synapse refuses the token: {_WITH_CLIENT} with view and download rights") from error
    except (errors.SynapseError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"Synapse {RAW_ENTITY}: {reason or type(error).__name__}; try again, or {_BY_HAND}") from error
    if path is None or Path(path) != destination / ARCHIVE or not Path(path).is_file():
        raise InputError(f"Synapse {RAW_ENTITY}: gave {path} instead of {destination / ARCHIVE}; {_BY_HAND}")


def download_synapse(
    destination: str | Path, *, downloads: str | Path, progress: bool = True, say: Callable[[str], None] = print
) -> Path:
    """Download the prepared Synapse data from Google Drive and return ``destination``, the folder they lie in then.

    ``downloads`` keeps the archive and its manifest. ``say`` gets the terms first. A stopped call goes on where it
    was; data at ``destination`` are used as they are, and once they are removed, the archive is unpacked again.
    The data still have to be examined (`contract.examine`).
    Raises: `InputError` as `fetch_drive` and `unpack`, and for an archive without ``train_npz``.
    """
    destination, downloads = Path(destination), Path(downloads)
    if (destination / "train_npz").is_dir():
        return destination
    if destination.exists() and any(destination.iterdir()):
        raise InputError(f"{destination}: holds something else than prepared data; name another --destination")
    archive = downloads / "synapse_prepared.zip"
    options: dict[str, Any] = {"manifest": downloads / MANIFEST, "dataset": "synapse-prepared", "say": say}
    fetch_drive(SYNAPSE_DRIVE_ID, archive, progress=progress, **options)
    unpacked = downloads / "synapse_prepared"
    if (unpacked / MARK).is_file() and _below(unpacked, "train_npz") is None:
        shutil.rmtree(unpacked)  # a run was stopped after it had moved the data out of here
    unpack(archive, unpacked, progress=progress)
    found = _below(unpacked, "train_npz")
    if found is None:
        raise InputError(f"{archive}: holds no train_npz/, so no prepared Synapse data; is it another archive?")
    destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.is_dir():
        destination.rmdir()
    found.rename(destination)
    shutil.rmtree(unpacked, ignore_errors=True)  # its mark would say that all of the archive is still there
    return destination


def _below(folder: Path, name: str) -> Path | None:
    """Return the folder that holds a folder of this name, nearest first."""
    found = (path for depth in range(_DEEPEST) for path in sorted(folder.glob("*/" * depth + name)) if path.is_dir())
    return next((path.parent for path in found), None)
