"""What the fuzz test damages: one good file of each format, our reader of it, and a reader that is not ours.

``read_ours`` and ``read_theirs`` run in a process of their own (``fuzz_process``), because a decoder may hang or crash.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import h5py
import nibabel as nib
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from dicom_files import write_series, write_slice
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import generate_frames

from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.images.read import read_image, read_mask
from msa2net_lib.data.volumes import Volume, read_volume

Arrays = list[NDArray]
"""What a reader makes of a file: voxels and geometry, image and label, or pixels."""

SPACING = (0.7, 0.8, 2.5)
ORIGIN = (-20.0, 30.0, 40.0)


@dataclass(frozen=True)
class Format:
    """One format. ``write(folder)`` makes good files and returns which of them is damaged and what is then read.

    ``header`` is how many bytes at the beginning matter most. ``tolerance``: how far two decoders may be apart.
    ``second``: another reader that is not ours; where it refuses or is not there, ``theirs`` is enough.
    """

    name: str
    write: Callable[[Path], tuple[Path, Path]]
    ours: Callable[[Path], Arrays]
    theirs: Callable[[Path], Arrays]
    header: int
    tolerance: float = 0.0
    second: Callable[[Path], Arrays] | None = None


def picture(shape: tuple[int, ...] = (4, 40, 36)) -> NDArray[np.int16]:
    """Return voxels that compress, and none of which is like another."""
    rng = np.random.default_rng(0)
    waves = sum(np.sin(axis / (3 + n)) for n, axis in enumerate(np.indices(shape)))
    return (300 * np.asarray(waves) + rng.integers(-20, 20, shape)).astype(np.int16)


def _affine() -> NDArray:
    """Return index (x, y, z) -> LPS mm of the samples."""
    return np.column_stack([np.diag(SPACING), ORIGIN])


def _volume(path: Path) -> Arrays:
    return _placed(read_volume(path))


def _placed(volume: Volume) -> Arrays:
    direction = np.reshape(volume.direction, (3, 3))
    return [volume.array, np.column_stack([direction * volume.spacing[::-1], volume.origin])]


def _series(folder: Path) -> Arrays:
    """Read a series, of which no slice may go missing without a word."""
    volume = read_volume(folder)
    assert len(volume.array) == len([*folder.iterdir()]) or volume.notes, "fewer slices than files, and no note"
    return _placed(volume)


def _upright(array: NDArray, affine: NDArray) -> Arrays:
    """Turn an array (X, Y, Z) and its affine to LPS, and return it as (Z, Y, X)."""
    affine = np.array(affine, np.float64)
    if not np.isfinite(affine).all():
        raise ValueError("no grid")
    ornt = nib.orientations.io_orientation(np.vstack([affine, [0, 0, 0, 1]]))
    array = nib.orientations.apply_orientation(array, ornt)
    affine = np.vstack([affine, [0, 0, 0, 1]]) @ nib.orientations.inv_ornt_aff(ornt, array.shape)
    return [array.T, affine[:3]]


def _simpleitk(path: Path) -> Arrays:
    """Read a file by SimpleITK, which fills what is missing; so what it reads counts only where we read it too."""
    image = sitk.ReadImage(str(path))
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine = np.column_stack([direction * image.GetSpacing(), image.GetOrigin()])
    return _upright(sitk.GetArrayFromImage(image).T, affine)


# NIfTI


def _write_nifti(name: str) -> Callable[[Path], tuple[Path, Path]]:
    def write(folder: Path) -> tuple[Path, Path]:
        to_ras = np.diag([-1, -1, 1, 1]) @ np.vstack([_affine(), [0, 0, 0, 1]])
        image = nib.Nifti1Image(picture().T, to_ras)
        image.set_qform(to_ras, 1)
        nib.save(image, folder / name)
        return folder / name, folder / name

    return write


def _nibabel(path: Path) -> Arrays:
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    return _upright(array.reshape(array.shape[:3]), np.diag([-1, -1, 1]) @ image.affine[:3])


# NRRD


def _write_nrrd(encoding: str) -> Callable[[Path], tuple[Path, Path]]:
    def write(folder: Path) -> tuple[Path, Path]:
        header = {
            "space": "left-posterior-superior",
            "space directions": np.diag(SPACING),
            "space origin": ORIGIN,
            "encoding": encoding,
        }
        nrrd.write(str(folder / "scan.nrrd"), picture(), header, index_order="C")
        return folder / "scan.nrrd", folder / "scan.nrrd"

    return write


def _pynrrd(path: Path) -> Arrays:
    array, header = nrrd.read(str(path))
    space = header["space"].lower()
    signs = {"l": (1, 1, 1), "r": (-1, -1, 1)}[space[0]]
    affine = np.column_stack([np.transpose(header["space directions"]), header["space origin"]])
    return _upright(array, affine * np.reshape(signs, (3, 1)))


# MetaImage


def _write_metaimage(name: str, compressed: bool, damaged: str = "") -> Callable[[Path], tuple[Path, Path]]:
    def write(folder: Path) -> tuple[Path, Path]:
        image = sitk.GetImageFromArray(picture())
        image.SetSpacing(SPACING)
        image.SetOrigin(ORIGIN)
        sitk.WriteImage(image, str(folder / name), useCompression=compressed)
        return folder / (damaged or name), folder / name

    return write


def _plain_metaimage(path: Path) -> Arrays:
    """Read a MetaImage as its documentation says, nothing else; no library but SimpleITK's reads the format."""
    content = path.read_bytes()
    start = content.index(b"\n", content.index(b"ElementDataFile")) + 1
    lines = content[: start - 1].decode("latin-1").split("\n")
    fields = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    local = fields["ElementDataFile"] == "LOCAL"
    data = content[start:] if local else (path.parent / fields["ElementDataFile"]).read_bytes()
    if fields.get("CompressedData") == "True":
        data = zlib.decompress(data)
    kind = {"MET_SHORT": "i2", "MET_USHORT": "u2", "MET_CHAR": "i1", "MET_UCHAR": "u1"}[fields["ElementType"]]
    order = {"True": ">", "False": "<"}[fields["BinaryDataByteOrderMSB"]]
    size = [int(word) for word in fields["DimSize"].split()]
    array = np.frombuffer(data, order + kind).reshape(size[::-1])
    rows = np.reshape([float(word) for word in fields["TransformMatrix"].split()], (3, 3))
    spacing = [float(word) for word in fields["ElementSpacing"].split()]
    origin = [float(word) for word in fields["Offset"].split()]
    return _upright(array.T, np.column_stack([rows.T * spacing, origin]))


# DICOM


def _write_dicom(syntax: uid.UID, dtype: type = np.int16) -> Callable[[Path], tuple[Path, Path]]:
    def write(folder: Path) -> tuple[Path, Path]:
        write_series(folder / "series", picture().astype(dtype), syntax=syntax)
        return folder / "series" / "slice0.dcm", folder / "series"

    return write


def _pydicom(folder: Path) -> Arrays:
    files = (path for path in folder.iterdir() if pydicom.misc.is_dicom(path))
    slices = sorted((pydicom.dcmread(path) for path in files), key=lambda s: s.ImagePositionPatient[2])
    arrays = [_pixels(s) * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
    first = slices[0]
    across, down = np.reshape([float(v) for v in first.ImageOrientationPatient], (2, 3))
    step = float(slices[-1].ImagePositionPatient[2] - first.ImagePositionPatient[2]) / (len(slices) - 1)
    steps = [across * first.PixelSpacing[1], down * first.PixelSpacing[0], np.cross(across, down) * step]
    affine = np.column_stack([*steps, [float(v) for v in first.ImagePositionPatient]])
    return _upright(np.stack(arrays).transpose(2, 1, 0), affine)


def _pixels(dataset: pydicom.Dataset) -> NDArray:
    """Decode one slice, not as the library does: RLE by GDCM, lossless JPEG by opencv, the rest by pydicom."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == uid.JPEGLosslessSV1:
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        return cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_UNCHANGED)
    if syntax != uid.RLELossless:
        return dataset.pixel_array
    with TemporaryDirectory() as folder:
        stored = np.zeros((dataset.Rows, dataset.Columns), np.int16)
        path = write_slice(Path(folder, "slice.dcm"), stored, SOPClassUID=uid.SecondaryCaptureImageStorage)
        bare = pydicom.dcmread(path)
        bare.PixelData, bare.file_meta.TransferSyntaxUID = dataset.PixelData, syntax
        for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
            setattr(bare, keyword, getattr(dataset, keyword))
        bare.save_as(path)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))[0]


# Prepared data


def _write_prepared(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for name in ("lists", "train_npz", "test_vol_h5"):
        (folder / name).mkdir()
    (folder / "lists" / "train.txt").write_text("a_slice000\n")
    (folder / "lists" / "test_vol.txt").write_text("a\n")
    (folder / "dataset.json").write_text(json.dumps({"label_scheme": "A"}))
    image, label = rng.random((3, 20, 24), np.float32), rng.integers(0, 9, (3, 20, 24)).astype(np.uint8)
    np.savez_compressed(folder / "train_npz" / "a_slice000.npz", image=image[0], label=label[0])
    with h5py.File(folder / "test_vol_h5" / "a.npy.h5", "w") as file:
        file.create_dataset("image", data=image, compression="gzip")
        file.create_dataset("label", data=label, compression="gzip")
        file.attrs["spacing"] = SPACING
    return folder


def _write_slice(folder: Path) -> tuple[Path, Path]:
    path = _write_prepared(folder) / "train_npz" / "a_slice000.npz"
    return path, path


def _write_case(folder: Path) -> tuple[Path, Path]:
    path = _write_prepared(folder) / "test_vol_h5" / "a.npy.h5"
    return path, path


def _our_slice(path: Path) -> Arrays:
    return [*PreparedDataset.open(path.parents[1]).load_slice("a_slice000")]


def _our_case(path: Path) -> Arrays:
    case = PreparedDataset.open(path.parents[1]).load_case("a")
    return [case.image, case.label, np.array(case.spacing, np.float64)]


def _numpy(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return [arrays["image"], arrays["label"]]


def _h5py(path: Path) -> Arrays:
    with h5py.File(path) as file:
        return [file["image"][...], file["label"][...], np.array(file.attrs.get("spacing"), np.float64)]


# Pictures


def _write_image(name: str) -> Callable[[Path], tuple[Path, Path]]:
    def write(folder: Path) -> tuple[Path, Path]:
        red, green, blue = (picture((3, 40, 48)) % 256).astype(np.uint8)
        Image.fromarray(np.stack([red, green, blue], axis=-1)).save(folder / name)
        return folder / name, folder / name

    return write


def _write_mask(folder: Path) -> tuple[Path, Path]:
    Image.fromarray(np.where(picture((1, 40, 48))[0] > 0, 255, 0).astype(np.uint8)).save(folder / "mask.png")
    return folder / "mask.png", folder / "mask.png"


def _opencv(path: Path) -> Arrays:
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError("opencv refuses it")
    return [decoded[..., ::-1]]


FORMATS = {
    one.name: one
    for one in (
        Format("nii", _write_nifti("scan.nii"), _volume, _nibabel, 352, second=_simpleitk),
        Format("nii.gz", _write_nifti("scan.nii.gz"), _volume, _nibabel, 30, second=_simpleitk),
        Format("nrrd raw", _write_nrrd("raw"), _volume, _pynrrd, 420, second=_simpleitk),
        Format("nrrd gzip", _write_nrrd("gzip"), _volume, _pynrrd, 420, second=_simpleitk),
        Format("mha raw", _write_metaimage("scan.mha", False), _volume, _plain_metaimage, 400, second=_simpleitk),
        Format("mha compressed", _write_metaimage("scan.mha", True), _volume, _plain_metaimage, 400, second=_simpleitk),
        Format("mhd header", _write_metaimage("scan.mhd", False), _volume, _plain_metaimage, 400, second=_simpleitk),
        Format(
            "mhd data",
            _write_metaimage("scan.mhd", False, "scan.raw"),
            _volume,
            _plain_metaimage,
            10,
            second=_simpleitk,
        ),
        Format(
            "mhd compressed data",
            _write_metaimage("scan.mhd", True, "scan.zraw"),
            _volume,
            _plain_metaimage,
            10,
            second=_simpleitk,
        ),
        Format("dicom raw", _write_dicom(uid.ExplicitVRLittleEndian), _series, _pydicom, 1200),
        Format("dicom rle", _write_dicom(uid.RLELossless), _series, _pydicom, 1200),
        Format("dicom jpeg 2000", _write_dicom(uid.JPEG2000Lossless), _series, _pydicom, 1200),
        Format("dicom jpeg lossless", _write_dicom(uid.JPEGLosslessSV1, np.uint8), _series, _pydicom, 1200),
        Format("npz", _write_slice, _our_slice, _numpy, 300),
        Format("h5", _write_case, _our_case, _h5py, 2000),
        Format("png", _write_image("photo.png"), lambda path: [read_image(path)], _opencv, 60),
        Format("jpeg", _write_image("photo.jpg"), lambda path: [read_image(path)], _opencv, 700, tolerance=3),
        Format("mask", _write_mask, lambda path: [read_mask(path)], lambda path: [_opencv(path)[0][..., 0] == 255], 60),
    )
}
