"""The files of a folder of scans: which case each is, and the checksum of one that consists of several files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from msa2net_lib.data.formats.stream import refuse_dangling
from msa2net_lib.data.volumes import SUFFIXES
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import sha256
from msa2net_lib.utils.names import check_id, listed

_BY_LENGTH = sorted({*SUFFIXES, ".seg.nrrd"} - {".img"}, key=len, reverse=True)  # .img belongs to its .hdr
_DATA_FILE = re.compile(r"^(?:ElementDataFile\s*=|data ?file:)\s*(\S.*?)\s*$", re.MULTILINE | re.IGNORECASE)


def find_scans(folder: str | Path, *, folders: bool = False) -> dict[str, Path]:
    """Return case id -> file of all volumes in a folder, sorted; the id is the name without its suffix.

    Hidden files and other kinds are passed over. ``folders``: folders count too, as DICOM series named by the
    case. Raises InputError if there is no such folder, or two files are of one case.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the path")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        refuse_dangling(path)
        case = path.name if folders and path.is_dir() else _case_id(path)
        if not case:
            continue
        if check_id(case, path) in found:
            raise InputError(f"{path}: case {case} is also in {found[case].name}; keep one of the two")
        found[case] = path
    return dict(sorted(found.items()))


def check_pairs(images: dict[str, Path], labels: dict[str, Path], image_place: str, label_place: str) -> None:
    """Raise InputError, naming the file, unless every image has a label map and every label map an image.

    The places complete "no label map": such as "raw/labels/CASE.nii.gz".
    """
    for case, path in images.items():
        if case not in labels:
            raise InputError(f"{path}: case {case} has no label map {label_place}; add it or move the image away")
    for case, path in labels.items():
        if case not in images:
            raise InputError(f"{path}: case {case} has no image {image_place}; add it or move the label map away")


def check_cases(wanted: Iterable[str], known: Iterable[str], argument: str) -> list[str]:
    """Return the wanted case ids; InputError if one is unknown or named twice. ``argument`` is where they stand."""
    wanted, known = [wanted] if isinstance(wanted, str) else list(wanted), list(known)
    for case in wanted:
        if case not in known:
            raise InputError(f"{argument}: no case {case!r} here; there are {listed(known)}")
        if wanted.count(case) > 1:
            raise InputError(f"{argument}: case {case!r} is named twice; name it once")
    return wanted


def checksum(path: Path) -> str:
    """Return the SHA-256 of a volume: of its file, or of all its files' sums where it has more than one."""
    detached = _detached(path)
    if detached is None:
        return sha256(path)
    sums = sha256(path), sha256(detached)
    return hashlib.sha256(" ".join(sums).encode()).hexdigest()


def _case_id(path: Path) -> str:
    name = path.name.lower()
    suffix = next((suffix for suffix in _BY_LENGTH if name.endswith(suffix)), None)
    return path.name[: -len(suffix)] if suffix and path.is_file() else ""


def _detached(path: Path) -> Path | None:
    """Return the file with the voxels of one that holds the header only; None if there is none."""
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        detached = path.with_suffix(".IMG" if path.suffix.isupper() else ".img")
    elif suffix in (".mhd", ".nhdr"):
        match = _DATA_FILE.search(path.read_bytes()[: 1 << 16].decode("latin-1"))
        detached = path.with_name(match[1]) if match else path
    else:
        return None
    return detached if detached.is_file() and detached != path else None
