#!/usr/bin/env bash
# SimpleITK places the voxels of a NIfTI file by pixdim although its only transform, the sform, says otherwise.
#
# One would guess that a file with qform code 0 and a valid sform lies where the sform says, in every reader: the
# standard (nifti1.h, method 3) defines the place by the sform's rows alone. nibabel's affine does so; its get_zooms()
# gives pixdim. SimpleITK, where the two differ in scale, takes pixdim for the voxel size beside the sform's direction
# and origin, and warns on standard error only. So organs of one file have two volumes, by the library that reads it;
# this product follows the sform and says so in a note. Fails if SimpleITK changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 nibabel==5.4.2 simpleitk==2.5.7
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import nibabel as nib
import numpy as np
import SimpleITK as sitk

print("nibabel", nib.__version__, "SimpleITK", sitk.Version.VersionString())
sform = np.array([[-0.7, 0, 0, 20], [0, -0.8, 0, -30], [0, 0, 2.5, 40], [0, 0, 0, 1]])
for pixdim, follows in (((0.7, 0.8, 2.5), "sform"), ((1, 1, 1), "pixdim"), ((0.7, 0.8, 3), "pixdim")):
    image = nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), sform)
    image.set_qform(None, 0)
    image.header["pixdim"][1:4] = pixdim
    nib.save(image, "scan.nii")
    stored, theirs = nib.load("scan.nii"), sitk.ReadImage("scan.nii")
    print("pixdim", pixdim, "| nibabel's affine", np.diag(stored.affine)[:3].round(3), "| SimpleITK", np.round(theirs.GetSpacing(), 3),
          "origin", np.round(theirs.GetOrigin(), 3))
    assert np.allclose(nib.affines.voxel_sizes(stored.affine), (0.7, 0.8, 2.5))
    assert np.allclose(stored.header.get_zooms(), pixdim)
    assert np.allclose(theirs.GetSpacing(), (0.7, 0.8, 2.5) if follows == "sform" else pixdim)
    assert np.allclose(theirs.GetOrigin(), (-20, 30, 40))
PYTHON
