"""DICOM series for the tests, written by pydicom; lossless JPEG, which it cannot write, by SimpleITK's GDCM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames

SERIES = "1.2.826.0.1.3680043.8.498.1"
POSITION = (-20.0, 30.0, 40.0)


def write_series(
    folder: Path,
    array: NDArray,
    *,
    syntax: uid.UID = uid.ExplicitVRLittleEndian,
    names: str = "slice{}.dcm",
    **elements: Any,
) -> list[Path]:
    """Write stored values (Z, Y, X) as one CT series, slices along z; ``elements`` replace those of every slice."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / names.format(index) for index in range(len(array))]
    for index, path in enumerate(paths):
        position = [*POSITION[:2], POSITION[2] + 2.5 * index]
        write_slice(path, array[index], syntax=syntax, **{"ImagePositionPatient": position, **elements})
    return paths


def write_slice(path: Path, pixels: NDArray, *, syntax: uid.UID = uid.ExplicitVRLittleEndian, **elements: Any) -> Path:
    """Write one CT slice of stored values (Y, X); an element given as None is left out."""
    bits = 8 * pixels.dtype.itemsize
    everything = {
        "SOPClassUID": uid.CTImageStorage,
        "SOPInstanceUID": f"{SERIES}.{sum(path.name.encode())}",
        "StudyInstanceUID": f"{SERIES}.0",
        "SeriesInstanceUID": SERIES,
        "SeriesDescription": "Abdomen",
        "Modality": "CT",
        "ImagePositionPatient": [*POSITION],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.8, 0.7],
        "SliceThickness": 2.5,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        **elements,
    }
    dataset = Dataset()
    for keyword, value in everything.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == uid.JPEGLosslessSV1:
        set_frame(dataset, _lossless_jpeg(path, pixels), syntax)
    elif syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def set_frame(dataset: Dataset, frame: bytes, syntax: uid.UID) -> None:
    """Put a compressed image into a dataset."""
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax


def frame_of(path: Path) -> bytes:
    """Return the compressed picture of a file."""
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def _lossless_jpeg(path: Path, pixels: NDArray) -> bytes:
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(path))
    writer.Execute(sitk.GetImageFromArray(pixels[None]))
    return frame_of(path)
