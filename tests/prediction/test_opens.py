"""Every file is opened once on its way through `predict_file`.

Counted are the openings that the kernel reports (Linux's inotify), so those of C++ libraries too; that a file is asked
for its size or its kind (stat) is no opening.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import write_series
from PIL import Image
from pydicom import uid

from msa2net_lib.prediction.run import predict_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counted by Linux's inotify")

ACCESS, CLOSED_WRITTEN, CLOSED, OPENED, IS_FOLDER = 0x1, 0x8, 0x10, 0x20, 0x40000000


@contextmanager
def opens_in(folder) -> Iterator[Counter[str]]:
    """Count how often each file of a folder is opened; readings and closings lie between, so that none run together."""
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK)
    assert queue >= 0
    assert libc.inotify_add_watch(queue, os.fsencode(folder), ACCESS | CLOSED_WRITTEN | CLOSED | OPENED) >= 0
    found: Counter[str] = Counter()
    try:
        yield found
        events, place = os.read(queue, 1 << 20), 0
        while place < len(events):
            _, mask, _, length = struct.unpack_from("iIII", events, place)
            name = os.fsdecode(events[place + 16 : place + 16 + length].rstrip(b"\0"))
            place += 16 + length
            found[name] += bool(mask & OPENED and not mask & IS_FOLDER)
        del found[""]
    finally:
        os.close(queue)


def nifti(folder, array):
    nib.save(nib.Nifti1Image(array.T, np.diag([-0.7, -0.8, 2.5, 1])), folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def nifti_pair(folder, array):
    nib.save(nib.Nifti1Pair(array.T, np.diag([-0.7, -0.8, 2.5, 1])), folder / "scan.img")
    return folder / "scan.hdr"


def flat_nifti(folder, array):
    nib.save(nib.Nifti1Image(array[0].T, np.diag([-0.7, -0.8, 2.5, 1])), folder / "flat.nii")
    return folder / "flat.nii"


def nrrd_and_its_data(folder, array):
    header = {"space": "left-posterior-superior", "space directions": np.diag([0.7, 0.8, 2.5]), "space origin": [0] * 3}
    nrrd.write(str(folder / "scan.nhdr"), np.ascontiguousarray(array.T), header)
    return folder / "scan.nhdr"


def metaimage(folder, array):
    sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / "scan.mha"), useCompression=True)
    return folder / "scan.mha"


def dicom_folder(folder, array):
    write_series(folder, array)
    return folder


def dicom_file(folder, array):
    return write_series(folder, array, syntax=uid.JPEGLosslessSV1)[2]


def one_series_of_two(folder, array):
    write_series(folder, array, names="other{}.dcm", SeriesInstanceUID="1.2.3", SeriesDescription="Thorax")
    write_series(folder, array)
    return folder


def png(folder, array):
    Image.fromarray(array[0].astype(np.uint8)).save(folder / "gray.png")
    return folder / "gray.png"


def deep_png(folder, array):
    Image.fromarray((array[0] + 1024).astype(np.uint16)).save(folder / "deep.png")
    return folder / "deep.png"


def jpeg(folder, array):
    Image.fromarray(array[0].astype(np.uint8)).save(folder / "gray.jpg")
    return folder / "gray.jpg"


KINDS = (nifti, nifti_pair, flat_nifti, nrrd_and_its_data, metaimage, dicom_folder, dicom_file, one_series_of_two)


@pytest.mark.parametrize("write", [*KINDS, png, deep_png, jpeg], ids=lambda write: write.__name__)
def test_every_file_is_opened_once(tmp_path, scan_hu, threshold, write):
    folder = tmp_path / "input"
    folder.mkdir()
    path = write(folder, scan_hu())
    series = "Abdomen" if write is one_series_of_two else None
    with opens_in(folder) as opened:
        made = predict_file(path, output_dir=tmp_path / "out", series=series, progress=False)
    assert opened == dict.fromkeys(os.listdir(folder), 1)
    assert made.label.shape[-2:] == (24, 20)


def test_second_opening_is_noticed(tmp_path, scan_hu):
    """The test of the test: SimpleITK opens a MetaImage more than once."""
    path = metaimage(tmp_path, scan_hu())
    with opens_in(tmp_path) as opened:
        sitk.ReadImage(str(path))
    assert opened["scan.mha"] > 1
