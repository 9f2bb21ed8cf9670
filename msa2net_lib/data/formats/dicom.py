"""DICOM: find the series in a folder, choose one, read it as a volume.

pydicom reads the headers and counts the bytes, because SimpleITK's GDCM fills missing pixels with zeros, says
nothing of missing slices and decides by the kind of object whether slope and intercept apply. GDCM decodes the
compressed pixels (``dicom_pixels``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset
from pydicom.uid import UID, MediaStorageDirectoryStorage

from msa2net_lib.data.formats.dicom_geometry import ordered
from msa2net_lib.data.formats.dicom_pixels import has_whole_values, read_slice
from msa2net_lib.data.formats.dicom_slice import Slice, has_magic, parse, text
from msa2net_lib.data.formats.itk import to_image
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
    """One series of slices in a folder; ``uid`` is what ``read_volume(folder, series=...)`` takes."""

    uid: str
    description: str
    modality: str
    slices: int

    def __str__(self) -> str:
        return f"{self.uid} ({self.description or 'no description'}, {self.modality or '?'}, {self.slices} slices)"


def list_series(folder: str | Path) -> list[Series]:
    """Return the image series in a folder and the folders within it, those with most slices first.

    Files of other formats, DICOMDIR, and DICOM objects that are no images (structure sets, reports) are passed
    over. Raises InputError if the folder is missing, or a file in it is a damaged DICOM file: what is missing
    from a series would not show.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the path")
    found = [_describe(slices) for slices in _image_series(folder).values()]
    return sorted(found, key=lambda series: (-series.slices, series.uid))


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM, whatever its name."""
    with intact(path), open(path, "rb") as stream:
        return has_magic(stream.read(132))


def read(path: Path, series: str | None = None) -> sitk.Image:
    """Read one series in LPS from a folder, or the series that the file ``path`` belongs to from its folder.

    Raises InputError, naming folder or file, if there is no series or more than one to choose from, and for
    slices that are damaged, missing, doubled or of different grids.
    """
    everything = _image_series(path) if path.is_dir() else _image_series(path.parent, only_beside=path)
    slices, affine = ordered(path, everything[_chosen(path, everything, series)])
    whole = all(has_whole_values(one) for one in slices)
    return to_image(np.stack([read_slice(one, whole) for one in slices]), affine)


def _image_series(folder: Path, only_beside: Path | None = None) -> dict[str, list[Slice]]:
    """Return Series Instance UID -> slices of all series with images in ``folder``.

    ``only_beside`` leaves out the folders within it, and the series of which that file is no part.
    """
    found: dict[str, list[Slice]] = {}
    others: dict[str, list[str]] = {}
    wanted = None
    for path in _files(folder) if only_beside is None else sorted(folder.iterdir()):
        header = _read_header(path) if path.is_file() else None
        if header is None:
            continue
        uid = text(path, header, "SeriesInstanceUID")
        if path == only_beside:
            wanted = uid
        if "Rows" in header:
            found.setdefault(uid, []).append(Slice(path, header))
        elif _is_other_object(UID(text(path, header, "SOPClassUID"))):
            others.setdefault(uid, []).append(text(path, header, "Modality"))
        else:
            raise InputError(f"{path}: a slice without its image, so it is cut short or damaged; copy it again")
    for uid in found.keys() & others.keys():
        raise InputError(f"{found[uid][0].path}: its series holds files without an image too; copy the series again")
    if only_beside is not None:
        found = {uid: slices for uid, slices in found.items() if uid == wanted}
    if not found:
        kinds = sorted({kind for series in others.values() for kind in series})
        detail = f" (only {', '.join(kinds)})" if kinds else ""
        raise InputError(f"{only_beside or folder}: holds no DICOM images{detail}; give the folder of the slices")
    return found


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


def _read_header(path: Path) -> Dataset | None:
    """Return the header of a DICOM file; None for a file that is none and was never meant to be one."""
    if path.name.upper() == "DICOMDIR" or path.name.startswith(".") or path.suffix.lower() in _OTHER_SUFFIXES:
        return None
    with intact(path), open(path, "rb") as stream:
        head = stream.read(1024)
        if not has_magic(head):
            if head and b"\0" not in head:  # text
                return None
            raise InputError(f"{path}: not a DICOM file, or damaged; copy it again, or take it out of the folder")
        header = parse(path, head + stream.read(), pixels=False)
    if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return None
    return header


def _chosen(path: Path, everything: dict[str, list[Slice]], series: str | None) -> str:
    known = [_describe(slices) for slices in everything.values()]
    if series is None and len(known) == 1:
        return known[0].uid
    if series in everything:
        return series
    listed = "; ".join(str(one) for one in sorted(known, key=lambda one: -one.slices)[:_MOST_LISTED])
    listed += f"; and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    if series is None:
        raise InputError(
            f"{path}: holds {len(known)} series; choose one with series=UID, or keep one series per folder: {listed}"
        )
    raise InputError(f"{path}: has no series {series}; there is {listed}")


def _describe(slices: list[Slice]) -> Series:
    path, header = slices[0]
    uid, description, modality = (
        text(path, header, keyword) for keyword in ("SeriesInstanceUID", "SeriesDescription", "Modality")
    )
    return Series(uid, description, modality, len(slices))
