"""Fixtures of the prediction tests: a network that thresholds, scans in HU, and DICOM series written by pydicom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.figure import Figure
from pydicom import uid
from pydicom.dataset import FileMetaDataset

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.prediction import overlay, run

BRIGHT_HU = 175
"""Above this a voxel is class 5 of the thresholding network: 0.75 of the window [-125, 275]."""


@pytest.fixture(scope="session")
def shipped():
    """The shipped network, read once."""
    return load_network(SHIPPED_TINY)


@pytest.fixture
def threshold(monkeypatch, shipped):
    """Put a threshold in the place of the network, so that where each label voxel belongs is known; returns 175 HU.

    The overlay is an empty figure: drawing it takes longer than all the rest.
    """
    monkeypatch.setattr(run, "open_checkpoint", lambda *_: shipped)
    monkeypatch.setattr(overlay, "draw_overlay", lambda _: Figure((1, 1)))
    monkeypatch.setattr(run, "predict_volume", lambda _, image, progress: np.where(image > 0.75, 5, 0).astype(np.uint8))
    monkeypatch.setattr(run, "predict_image", lambda _, image: np.where(image > 0.75, 5, 0).astype(np.uint8))
    return BRIGHT_HU


@pytest.fixture(scope="session")
def scan_hu():
    """Random HU (int16) of shape (z, y, x) = (5, 24, 20) or another, air and bone among them."""

    def make(seed: int = 0, shape: tuple[int, int, int] = (5, 24, 20)) -> np.ndarray:
        array = np.random.default_rng(seed).integers(-1000, 1400, shape).astype(np.int16)
        array.flat[:2] = -1024, 1500
        return array

    return make


@pytest.fixture(scope="session")
def write_dicom():
    """Write (z, y, x) int16 as a CT series, slices along the normal of ``rows`` (six cosines) times ``step``."""

    def write(folder: Path, array, *, series="1.2.3.4", rows=(1, 0, 0, 0, 1, 0), step=2.5, **elements) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        normal = np.cross(rows[:3], rows[3:])
        for index, pixels in enumerate(array):
            slice_ = pydicom.Dataset()
            slice_.file_meta = FileMetaDataset()
            slice_.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
            values = {
                "SOPClassUID": uid.CTImageStorage,
                "SOPInstanceUID": f"{series}.{index + 1}",
                "StudyInstanceUID": "1.2.3",
                "SeriesInstanceUID": series,
                "Modality": "CT",
                "ImagePositionPatient": [round(v, 6) for v in np.array([-20.0, 30, 40]) + index * step * normal],
                "ImageOrientationPatient": [round(v, 8) for v in rows],
                "PixelSpacing": [0.8, 0.7],
                "SliceThickness": abs(step),
                "Rows": pixels.shape[0],
                "Columns": pixels.shape[1],
                "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2",
                "BitsAllocated": 16,
                "BitsStored": 16,
                "HighBit": 15,
                "PixelRepresentation": 0,
                "RescaleSlope": 1,
                "RescaleIntercept": -1024,
                **elements,
            }
            for keyword, value in values.items():
                setattr(slice_, keyword, value)
            slice_.PixelData = (pixels.astype(np.int32) + 1024).astype(np.uint16).tobytes()
            # Names run against the slices' order.
            slice_.save_as(folder / f"{series}_{len(array) - index:03}.dcm", enforce_file_format=True)
        return folder

    return write
