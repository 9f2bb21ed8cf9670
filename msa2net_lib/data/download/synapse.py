"""From the name of a data set to a prepared folder: download, unpack, prepare, in one resumable call each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from msa2net_lib.data.download.archives import MARK, unpack
from msa2net_lib.data.download.drive import fetch_drive
from msa2net_lib.errors import InputError

SYNAPSE_DRIVE_ID = "18I9JHH_i0uuEDg-N6d7bfMdf7Ut6bhBi"
"""Google Drive id of the prepared Synapse data that the MSA²Net, HiFormer and DAE-Former READMEs link to."""

MANIFEST = "downloads.json"
"""The manifest beside the downloads: size and SHA-256 of what was verified first."""

_DEEPEST = 5


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
    fetch_drive(
        SYNAPSE_DRIVE_ID,
        archive,
        manifest=downloads / MANIFEST,
        progress=progress,
        dataset="synapse-prepared",
        say=say,
    )
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
    for depth in range(_DEEPEST):
        for path in sorted(folder.glob("*/" * depth + name)):
            if path.is_dir():
                return path.parent
    return None
