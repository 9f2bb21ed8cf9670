"""How prepared data are read: which labels they carry and how they are turned, as ``contract.json`` records."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msa2net_lib.data.contract.flips import apply_flip, parse_flip
from msa2net_lib.data.labels import ORGANS, SCHEMES, convert_scheme, raw_to_scheme, whole_labels
from msa2net_lib.data.prepared_files import PreparedFiles
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json

FILE_NAME = "contract.json"
RAW = "raw"
"""The name here of BTCV's own 13 ids, which some prepared data still carry."""

_FORMAT = 2


@dataclass(frozen=True)
class StoredFiles:
    """What the slices and volumes are that a contract was made for.

    count, bytes: how many, and bytes in all. sha256: one checksum of their contents. stamp: one of their names,
    sizes and modification times, which takes no reading (``PreparedFiles.stamp``).
    """

    count: int
    bytes: int
    sha256: str
    stamp: str


@dataclass(frozen=True)
class Reading:
    """Brings stored arrays to this project's labels and orientation.

    label_scheme: "A", "B", "C" or "raw". flip: see ``data.contract.flips``. files: of which data this was established,
    None while it is only tried out.
    """

    label_scheme: str = "A"
    flip: str = "none"
    files: StoredFiles | None = None

    def __post_init__(self) -> None:
        check_scheme(self.label_scheme)
        object.__setattr__(self, "flip", parse_flip(self.flip))

    def image(self, stored: NDArray) -> NDArray:
        """Turn a stored image, slice or volume."""
        return apply_flip(stored, self.flip)

    def label(self, stored: ArrayLike) -> NDArray[np.uint8]:
        """Turn a stored label map and renumber it to scheme A. Raises: `InputError` for impossible values."""
        if self.label_scheme == RAW:
            labels = raw_to_scheme(stored)
        elif self.label_scheme == "A":
            labels = whole_labels(stored, len(ORGANS), "ids of scheme A")
        else:
            labels = convert_scheme(stored, self.label_scheme, "A")
        return apply_flip(labels, self.flip)

    def record(self) -> dict[str, object]:
        """Return everything that decides what is read, for JSON: not when files were written, but what they hold."""
        record = asdict(self)
        if record["files"] is not None:
            del record["files"]["stamp"]
        return record


def check_scheme(scheme: str) -> str:
    """Return the name of a label scheme that can be read. Raises: `InputError`."""
    if scheme not in (*SCHEMES, RAW):
        raise InputError(f"unknown label scheme {scheme!r}: choose one of {', '.join((*SCHEMES, RAW))}")
    return scheme


def contract_text(reading: Reading, details: dict[str, object]) -> str:
    """Return the content of ``contract.json``: the reading, and the details of how it was established."""
    return json.dumps({"format": _FORMAT, **asdict(reading), **details}, indent=1) + "\n"


def read_contract(prepared: PreparedFiles) -> Reading | None:
    """Return the reading that was established for a folder, None if there is none.

    Raises: `InputError` if ``contract.json`` is damaged, was made for other files than are there, or files were
    written since: names, sizes and modification times are compared, not contents.
    """
    path = prepared.root / FILE_NAME
    again = f"run `msa2net prepare synapse --prepared {prepared.root}` once more"
    if not path.is_file():
        return None
    try:
        stored = read_json(path)
        if stored["format"] != _FORMAT:
            raise InputError(f"{path}: has format {stored['format']}, not {_FORMAT}; {again}")
        reading = Reading(stored["label_scheme"], stored["flip"], StoredFiles(**stored["files"]))
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}); {again}") from error
    paths = prepared.paths()
    found = len(paths), sum(p.stat().st_size for p in paths if p.is_file())
    if reading.files is not None and found != (reading.files.count, reading.files.bytes):
        was = f"{reading.files.count} files of {reading.files.bytes} bytes"
        raise InputError(f"{path}: was made for {was}, there are {found[0]} of {found[1]}; {again}")
    if reading.files is not None and prepared.stamp() != reading.files.stamp:
        raise InputError(f"{path}: files were written, renamed or copied since it was made; {again}")
    return reading


def unread(root: Path) -> InputError:
    """The refusal to read labels whose numbering nobody has checked."""
    return InputError(
        f"{root}: others prepared it, and nobody has checked its label numbering and orientation; "
        f"run `msa2net prepare synapse --prepared {root}`"
    )
