"""Fixtures of the data tests: small volumes written with nibabel, a tool the library does not use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform

from msa2net_lib.data.virtual.deform import deform
from msa2net_lib.data.virtual.patient import VirtualRecipe, scan_range
from msa2net_lib.data.volumes import read_pair

SPACING = (2.5, 0.8, 0.7)
"""Spacing (z, y, x) in mm of the synthetic scans: three different numbers, so that a swap shows."""


@pytest.fixture(scope="session")
def example_ct(root: Path) -> Path:
    """The two real scans that ship."""
    return root / "data" / "example_ct"


@pytest.fixture(scope="session")
def save_nifti() -> Callable[..., Path]:
    """Write an array (Z, Y, X), given in LPS, as a NIfTI file whose axes point along ``axes``."""

    def save(path: Path, array: np.ndarray, axes: str = "LPS", spacing=SPACING, origin=(-20.0, 30.0, 40.0)):
        z, y, x = spacing
        affine = np.diag([-x, -y, z, 1.0])  # NIfTI's world is RAS
        affine[:3, 3] = -origin[0], -origin[1], origin[2]
        image = nib.Nifti1Image(np.ascontiguousarray(array.T), affine)
        turn = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(axes))
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image.as_reoriented(turn), path)
        return path

    return save


@pytest.fixture(scope="session")
def scan() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Make a scan in HU (int16) and raw labels (uint8) with all ids 0 to 13, both (slices, 24, 20)."""

    def make(seed: int, slices: int = 5) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        image = rng.integers(-1024, 1500, (slices, 24, 20)).astype(np.int16)
        label = rng.integers(0, 14, image.shape).astype(np.uint8)
        label[0, 0, :14] = np.arange(14)
        return image, label

    return make


@pytest.fixture
def btcv(tmp_path: Path, save_nifti, scan) -> Path:
    """A folder in the BTCV layout: 0005 and 0006 of the training list, 0008 of the test list."""
    source = tmp_path / "raw"
    for seed, case in enumerate(("0005", "0006", "0008")):
        image, label = scan(seed, slices=4 + seed)
        save_nifti(source / "img" / f"img{case}.nii.gz", image)
        save_nifti(source / "label" / f"label{case}.nii.gz", label)
    return source


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Return every file below a folder, name -> content; lock files apart."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read


@pytest.fixture(scope="session")
def virtual_labels(example_ct: Path) -> dict[str, np.ndarray]:
    """Label volumes of six virtual patients, raw BTCV ids: those of `make_virtual_patient`, without their images."""
    _, label = read_pair(example_ct / "img" / "img0001.nii.gz", example_ct / "label" / "label0001.nii.gz")
    found = {}
    for seed in range(6):
        bent, _ = deform(label, np.random.default_rng(seed).spawn(4)[0], VirtualRecipe())
        first, last = scan_range(bent, label.spacing[0], VirtualRecipe().margin_mm)
        found[f"virtual{seed}"] = bent[first:last]
    return found
