"""DICOM: find the series in a folder, choose one, read it as a volume.

pydicom reads the files, every one once, and counts the bytes, because SimpleITK's GDCM fills missing pixels with
zeros, says nothing of missing slices and decides by the kind of object whether slope and intercept apply. GDCM
decodes the compressed pixels (``dicom_pixels``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, MediaStorageDirectoryStorage

from msa2net_lib.data.formats.dicom_geometry import ordered
from msa2net_lib.data.formats.dicom_pixels import has_whole_values, read_slice
from msa2net_lib.data.formats.dicom_slice import Slice, has_magic, parse, text
from msa2net_lib.data.formats.grid import Stored
from msa2net_lib.data.formats.stream import intact
from msa2net_lib.errors import InputError

SUFFIXES = (".dcm", ".dicom", ".ima")

_OTHER_SUFFIXES = (
    *(".txt", ".md", ".log", ".csv", ".json", ".xml", ".html", ".htm", ".css", ".js", ".yaml", ".yml", ".cfg", ".ini"),
    *(".inf", ".bat", ".exe", ".dll", ".jar", ".db", ".zip", ".gz", ".tar", ".pdf", ".doc", ".docx", ".xls", ".xlsx"),
    *(".jpg", ".jpeg", ".png", ".gif", ".bmp", ".ico", ".svg", ".tif", ".tiff"),
    *(".nii", ".hdr", ".img", ".mha", ".mhd", ".raw", ".nrrd", ".nhdr", ".npy", ".npz", ".h5"),
)
"""Endings of what lies beside slices on the discs of hospitals and in downloads, and is no DICOM."""

_MOST_LISTED = 20


class Series(NamedTuple):
    """One series of slices in a folder; by ``uid`` or ``description`` ``read_volume(folder, series=...)`` takes it."""

    uid: str
    description: str
    modality: str
    slices: int

    def __str__(self) -> str:
        return f"{self.uid} ({self.description or 'no description'}, {self.modality or '?'}, {self.slices} slices)"

    def is_called(self, name: str) -> bool:
        """Tell whether ``name`` is its UID or, in whatever case, its description."""
        return name == self.uid or (bool(name) and name.casefold() == self.description.casefold())


def read(path: Path, series: str | None = None, stream: BinaryIO | None = None) -> tuple[Stored, Series, bool]:
    """Read one series from a folder, or, from its folder, the series that the open file ``path`` belongs to.

    Returns it, what it is, and whether there are others. Files of other formats, DICOMDIR, and DICOM objects that are
    no images (structure sets, reports) are passed over. Raises InputError, naming folder or file, if there is no
    series or more than one to choose from, and for slices that are damaged, missing, doubled or of different grids.
    """
    everything = _image_series(path, series, stream)
    chosen = _chosen(path, everything, series)
    slices, affine = ordered(path, everything[chosen.uid])
    whole = all(has_whole_values(one) for one in slices)
    return Stored(np.stack([read_slice(one, whole) for one in slices]), affine), chosen, len(everything) > 1


def _image_series(path: Path, wanted: str | None, stream: BinaryIO | None) -> dict[str, list[Slice]]:
    """Return Series Instance UID -> slices of all series with images in a folder, or of that of an open file.

    Every file is read once. Only slices that may be asked for keep their pixels, so that one series lies in memory.
    """
    given, files = None, _files(path)
    if stream is not None:
        given, files = _read_header(path, stream), sorted(one for one in path.parent.iterdir() if one.is_file())
        wanted = "" if given is None else text(path, given, "SeriesInstanceUID")
    found: dict[str, list[Slice]] = {}
    others: dict[str, list[str]] = {}
    for file in files:
        header = given if stream is not None and file == path else _read_header(file)
        if header is None:
            continue
        uid = text(file, header, "SeriesInstanceUID")
        if "Rows" in header:
            found.setdefault(uid, []).append(Slice(file, header))
            if wanted is None and len(found) == 2 and len(found[uid]) == 1:
                _drop_pixels(one for slices in found.values() for one in slices)
            elif len(found) > 1 if wanted is None else not _describe(found[uid][-1:]).is_called(wanted):
                _drop_pixels(found[uid][-1:])
        elif _is_other_object(UID(text(file, header, "SOPClassUID"))):
            others.setdefault(uid, []).append(text(file, header, "Modality"))
        else:
            raise InputError(f"{file}: a slice without its image, so it is cut short or damaged; copy it again")
    for uid in found.keys() & others.keys():
        raise InputError(f"{found[uid][0].path}: its series holds files without an image too; copy the series again")
    if stream is not None:
        found = {uid: slices for uid, slices in found.items() if uid == wanted}
    if not found:
        kinds = sorted({kind for series in others.values() for kind in series})
        detail = f" (only {', '.join(kinds)})" if kinds else ""
        raise InputError(f"{path}: holds no DICOM images{detail}; give the folder of the slices")
    return found


def _drop_pixels(slices: Iterable[Slice]) -> None:
    for _, header in slices:
        if "PixelData" in header:
            del header.PixelData


def _is_other_object(sop_class: UID) -> bool:
    """Tell whether files of this class need no image: reports, structure sets, a maker's own objects."""
    known = sop_class.name != sop_class
    return sop_class.is_valid and (sop_class.is_private or (known and "Image Storage" not in sop_class.name))


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            yield Path(parent, name)


def _read_header(path: Path, stream: BinaryIO | None = None) -> Dataset | None:
    """Return the elements of a DICOM file; None for a file that is none and was never meant to be one."""
    if path.name.upper() == "DICOMDIR" or path.name.startswith(".") or path.suffix.lower() in _OTHER_SUFFIXES:
        return None
    with intact(path), open(path, "rb") if stream is None else nullcontext(stream) as opened:
        head = opened.read(1024)
        if not has_magic(head):
            if head and b"\0" not in head:  # text
                return None
            raise InputError(f"{path}: not a DICOM file, or damaged; copy it again, or take it out of the folder")
        header = parse(path, head + opened.read())
    if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return None
    return header


def _chosen(path: Path, everything: dict[str, list[Slice]], series: str | None) -> Series:
    """Return the series that is named by its UID, or by a description that no other has, or the only one."""
    known = [_describe(slices) for slices in everything.values()]
    called = known if series is None else [one for one in known if one.is_called(series.strip())]
    if len(called) == 1 or (called and series == called[0].uid):
        return called[0]
    known.sort(key=lambda one: (-one.slices, one.uid))
    listed = "; ".join(map(str, known[:_MOST_LISTED]))
    listed += f"; and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    if series is None:
        name = "name one by its UID or description (--series, in Python series=)"
        raise InputError(f"{path}: holds {len(known)} series; {name}, or keep one series per folder: {listed}")
    several = "more than one series" if called else "no series"
    raise InputError(f"{path}: has {several} {series!r}; there is {listed}")


def _describe(slices: list[Slice]) -> Series:
    path, header = slices[0]
    uid, description, modality = (
        text(path, header, keyword) for keyword in ("SeriesInstanceUID", "SeriesDescription", "Modality")
    )
    return Series(uid, description, modality, len(slices))
