"""DICOM: find the series in a folder, choose one, read it as a volume.

The bytes of a file say whether it is a slice, never its name. pydicom reads the files, every one once, and counts the
bytes, because SimpleITK's GDCM fills missing pixels with zeros, and its series reader takes the first file's pixel type
for all: 151 for 151.5. GDCM decodes the compressed pixels (``dicom_pixels``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.config import IGNORE
from pydicom.uid import UID, MediaStorageDirectoryStorage

from msa2net_lib.data.formats.dicom_pixels import has_whole_values, read_slice
from msa2net_lib.data.formats.dicom_slices import (
    Series,
    Slice,
    describe,
    is_localizer,
    needs_no_image,
    ordered,
    parse,
    same_scan,
    text,
    uid_of_damaged,
    without_copies,
)
from msa2net_lib.data.formats.grid import Stored
from msa2net_lib.data.formats.stream import has_magic, is_bare, open_file
from msa2net_lib.errors import InputError

_ROOT_OF_UIDS = b"1.2.840.10008."
"""Where this stands among the first bytes, a file is or was DICOM."""
_NO_UID = "without-uid-"
_MOST_LISTED = 20
_MOST_NAMED = 4


def read(path: Path, series: str | None = None, stream: BinaryIO | None = None) -> tuple[Stored, Series, bool]:
    """Read one series from a folder, or, from its folder, the series that the open file ``path`` belongs to.

    Returns it, what it is, and whether there are others. Files of other formats, DICOMDIR, and DICOM objects that are
    no images (structure sets, reports) are passed over; so are localizers and exact copies of slices. Raises
    InputError, naming folder or file, if there is no series or more than one to choose from, and for slices that are
    damaged, missing, doubled or of different grids.
    """
    found = _Found(path, series)
    if stream is not None:
        found.add(path, stream)
        found.want_series_of(path)
    for file in _files(path) if stream is None else _plain(sorted(path.parent.iterdir())):
        if file != path:
            with open_file(file) as beside:
                found.add(file, beside)
    chosen = found.choose()
    slices, copies = without_copies(found.slices[chosen.uid])
    slices, affine = ordered(path, slices)
    whole = all(has_whole_values(one) for one in slices)
    pairs = [f"{found.name(copy.path)} of {found.name(original.path)}" for copy, original in copies]
    notes = (*found.notes(chosen), *([f"dropped exact copies of slices: {_some(pairs)}"] if pairs else []))
    array = np.stack([read_slice(one, whole) for one in slices])
    return Stored(array, affine, notes=notes), chosen, stream is None and len(found.scans()) > 1


class _Found:
    """What lies in a folder: ``slices`` by series, what is damaged, and what does not belong there.

    Only slices that may be asked for keep their pixels, so that one series lies in memory.
    """

    def __init__(self, path: Path, wanted: str | None) -> None:
        self.slices: dict[str, list[Slice]] = {}
        self._path = path
        self._wanted = None if wanted is None else wanted.strip()
        self._with_pixels: list[Slice] = []
        self._scans: set[str] = set()
        self._others: dict[str, set[str]] = {}
        self._damaged: list[tuple[str, Path, InputError]] = []
        self._passed_over: list[Path] = []
        self._localizers = 0

    def name(self, file: Path) -> str:
        """Return a file's name as seen from the folder."""
        folder = self._path if self._path.is_dir() else self._path.parent
        return file.relative_to(folder).as_posix()

    def add(self, file: Path, stream: BinaryIO) -> None:
        """Take up one file."""
        head = stream.read(512)
        if not has_magic(head) and not (is_bare(head) and _ROOT_OF_UIDS in head):
            self._take_for_no_dicom(file, head)
            return
        content = head + stream.read()
        try:
            header = parse(file, content)
            uid = text(file, header, "SeriesInstanceUID")
        except InputError as error:
            self._damaged.append((uid_of_damaged(file, content), file, error))
            return
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:  # DICOMDIR
            return
        if "Rows" in header:
            self._add_slice(Slice(file, header), uid)
        elif needs_no_image(file, header, uid):
            self._others.setdefault(uid, set()).add(text(file, header, "Modality"))
        else:
            error = InputError(f"{file}: a slice without its image, so it is cut short or damaged; copy it again")
            self._damaged.append((uid, file, error))

    def want_series_of(self, file: Path) -> None:
        """Want the series of the one file that was taken up; InputError if it is no slice, or of another series."""
        if self._passed_over:
            raise InputError(f"{file}: not a DICOM file, or damaged; copy or download it again")
        self._wanted = self._named().uid

    def scans(self) -> list[Series]:
        """Return what there is to choose from."""
        known = [describe(uid, slices) for uid, slices in self.slices.items()]
        return [one for one in known if not one.is_localizer] or known

    def choose(self) -> Series:
        """Return the series named by its UID, or by a description that no other has, or the only one."""
        chosen = self._named()
        if chosen.is_localizer:
            raise InputError(f"{self._path}: {chosen} was made to plan a scan and is none; give the series of the scan")
        for uid, file, error in self._damaged:
            if chosen.uid.startswith(uid) or not UID(uid, validation_mode=IGNORE).is_valid:  # or cut within its UID
                raise error
            self._passed_over.append(file)
        if chosen.uid in self._others:
            first = self.slices[chosen.uid][0].path
            raise InputError(f"{first}: its series holds files without an image too; copy the series again")
        self._localizers = sum(is_localizer(header) for slices in self.slices.values() for _, header in slices)
        self.slices[chosen.uid] = [one for one in self.slices[chosen.uid] if not is_localizer(one.header)]
        return chosen

    def notes(self, chosen: Series) -> Iterator[str]:
        """Yield what is to be told of the files that were not read."""
        if self._passed_over:
            names = _some([self.name(file) for file in self._passed_over])
            yield f"passed over what is no DICOM image of this series: {names}"
        if chosen.uid.startswith(_NO_UID):
            yield (
                "its slices do not say which series they are (Series Instance UID is empty): "
                "grouped by folder, frame of reference, series number and grid"
            )
        if self._localizers:
            yield f"left out {self._localizers} localizer{'s' * (self._localizers > 1)}"

    def _take_for_no_dicom(self, file: Path, head: bytes) -> None:
        if _ROOT_OF_UIDS in head and b"\0" in head:
            error = InputError(f"{file}: a damaged DICOM file; copy it again, or take it out of the folder")
            self._damaged.append(("", file, error))
        elif b"\0" in head or not head:  # what is text needs no word
            self._passed_over.append(file)

    def _add_slice(self, one: Slice, uid: str) -> None:
        if not uid:
            nameless = [key for key in self.slices if key.startswith(_NO_UID)]
            matching = (key for key in nameless if same_scan(self.slices[key][0], one))
            uid = next(matching, f"{_NO_UID}{len(nameless) + 1}")
        self.slices.setdefault(uid, []).append(one)
        if not is_localizer(one.header):
            self._scans.add(uid)
        is_wanted = len(self._scans) < 2 if self._wanted is None else describe(uid, [one]).is_called(self._wanted)
        self._with_pixels.append(one)
        if not is_wanted:
            for _, header in self._with_pixels if self._wanted is None else [one]:
                header.pop("PixelData", None)
            self._with_pixels = []

    def _named(self) -> Series:
        if not self.slices:
            for _, _, error in self._damaged:
                raise error
            kinds = sorted(set().union(*self._others.values()) - {""})
            detail = f" (only {', '.join(kinds)})" if kinds else ""
            raise InputError(f"{self._path}: holds no DICOM images{detail}; give the folder of the slices")
        known = [describe(uid, slices) for uid, slices in self.slices.items()]
        wanted = self._wanted
        called = self.scans() if wanted is None else [one for one in known if one.is_called(wanted)]
        if len(called) == 1 or (called and wanted == called[0].uid):
            return called[0]
        known.sort(key=lambda one: (one.is_localizer, -one.slices, one.uid))
        listed = _some([*map(str, known)], _MOST_LISTED, "; ")
        if wanted is None:
            name = "name one by its UID or description (--series, in Python series=)"
            raise InputError(
                f"{self._path}: holds {len(known)} series; {name}, or keep one series per folder: {listed}"
            )
        several = "more than one series" if called else "no series"
        raise InputError(f"{self._path}: has {several} {wanted!r}; there is {listed}")


def _files(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions") from error

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(parent)
        inside = (name for name in sorted(folders) if not here.resolve().is_relative_to((here / name).resolve()))
        folders[:] = (name for name in inside if not name.startswith("."))
        yield from _plain(here / name for name in sorted(names))


def _plain(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield what is a file or a link to one, hidden ones aside; a link to nothing must not go unnoticed."""
    for path in paths:
        if not path.name.startswith(".") and (path.is_file() or (path.is_symlink() and not path.exists())):
            yield path


def _some(names: list[str], most: int = _MOST_NAMED, between: str = ", ") -> str:
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return between.join([*names[:most], *more])
