"""Voxel sizes that cannot be, or are most likely in another unit, in every format; headers that say two of them."""

from __future__ import annotations

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import write_series

from msa2net_lib.data.volumes import read_volume

ARRAY = np.random.default_rng(0).integers(-1024, 3000, (3, 70, 66)).astype(np.int16)


def by_simpleitk(name):
    def write(folder, x, y, z):
        image = sitk.GetImageFromArray(ARRAY)
        image.SetSpacing((x, y, z))
        sitk.WriteImage(image, str(folder / name))
        return folder / name

    return write


def by_nibabel(folder, x, y, z):
    nib.save(nib.Nifti1Image(ARRAY.T, np.diag([-x, -y, z, 1])), folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def by_pynrrd(folder, x, y, z):
    header = {"space": "LPS", "space directions": np.diag([x, y, z]), "space origin": [0, 0, 0]}
    nrrd.write(str(folder / "scan.nrrd"), ARRAY, header, index_order="C")
    return folder / "scan.nrrd"


def by_pydicom(folder, x, y, z):
    for index in range(3):
        place = {"ImagePositionPatient": [0, 0, index * z], "PixelSpacing": [y, x]}
        write_series(folder / "series", ARRAY[index : index + 1], names=f"{index}.dcm", **place)
    return folder / "series"


WRITERS = {"mha": by_simpleitk("s.mha"), "nii": by_nibabel, "nrrd": by_pynrrd, "dicom": by_pydicom}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("edges", [(1e-9, 1e-9, 1e-9), (0.7, 0.7, 1e-6), (700.0, 700.0, 2500.0)])
def test_voxels_that_no_scanner_makes(tmp_path, refused, writer, edges):
    path = WRITERS[writer](tmp_path, *edges)
    refused([path, "as no scanner makes them; set the voxel size in mm"], read_volume, path)


TOLD = {"centimeters of a CT": (0.07, 0.07, 0.25), "centimeters of an MR": (0.2, 0.2, 0.5), "tenths": (7.0, 7.0, 25.0)}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", TOLD)
def test_voxels_that_are_most_likely_in_another_unit(tmp_path, writer, name):
    volume = read_volume(WRITERS[writer](tmp_path, *TOLD[name]))
    np.testing.assert_allclose(volume.spacing[::-1], TOLD[name], rtol=1e-6)
    (note,) = volume.notes
    assert ("larger" if name == "tenths" else "smaller") in note
    assert "if these are not mm" in note


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("edges", [(0.7, 0.8, 2.5), (0.61, 0.61, 0.5), (4.0, 4.0, 10.0)])
def test_usual_voxels_need_no_word(tmp_path, writer, edges):
    assert read_volume(WRITERS[writer](tmp_path, *edges)).notes == ()


STRETCHED = [np.diag([2.0, 2, 2]), np.diag([1, 1, 0.5]), np.array([[0, -1.5, 0], [1.5, 0, 0], [0, 0, 1]])]


@pytest.mark.parametrize("matrix", STRETCHED, ids=["all", "one", "turned"])
def test_metaimage_whose_matrix_stretches(tmp_path, refused, matrix):
    """SimpleITK gives the one voxel size by `GetSpacing` and the other by the places of voxels."""
    path = by_simpleitk("scan.mha")(tmp_path, 0.7, 0.7, 2.5)
    rows = " ".join(f"{value:g}" for value in matrix.T.ravel())
    path.write_bytes(
        path.read_bytes().replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1", f"TransformMatrix = {rows}".encode())
    )
    image = sitk.ReadImage(str(path))
    far, near = (np.array(image.TransformIndexToPhysicalPoint(index)) for index in ((1, 1, 1), (0, 0, 0)))
    assert not np.allclose(np.abs(far - near), image.GetSpacing())
    refused([path, "names two voxel sizes, 0.7 x 0.7 x 2.5 and", "write axes of length 1"], read_volume, path)


@pytest.mark.parametrize("pixdim", [(1, 1, 1), (0.7, 0.8, 3), (7, 8, 25)])
def test_sform_alone_with_another_pixdim(tmp_path, pixdim):
    image = nib.Nifti1Image(ARRAY.T, np.diag([-0.7, -0.8, 2.5, 1]))
    image.set_qform(None, 0)
    image.header["pixdim"][1:4] = pixdim
    nib.save(image, tmp_path / "scan.nii.gz")
    stored = nib.load(tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(stored.header.get_zooms(), pixdim)
    volume = read_volume(tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(volume.spacing[::-1], nib.affines.voxel_sizes(stored.affine), rtol=1e-6)
    (note,) = volume.notes
    assert "sform and its pixdim name two voxel sizes, 0.7 x 0.8 x 2.5 mm and" in note
