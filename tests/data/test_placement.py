"""Where slices lie on their scan: the plane they are stored in, headers that lie, and the way back, by SimpleITK."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from drawn_bodies import ORGAN_HU, body, organ_points, save, save_pair

from msa2net_lib.cli.main import main
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.placement import Placement, stored_plane
from msa2net_lib.data.scans.own import prepare_pairs
from msa2net_lib.data.volumes import read_volume
from msa2net_lib.evaluation import volumes
from msa2net_lib.viz.orientation import plot_orientation

THICK = (0.7, 0.7, 4.4)


def turned(*degrees_about_x_z):
    """Direction cosines turned about x, then about z."""
    (c, s), (d, t) = ((np.cos(a), np.sin(a)) for a in np.radians(degrees_about_x_z))
    return np.array([[d, -t, 0], [t, d, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


SAGITTAL = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]])  # rows to the back, columns down, slices to the left
CORONAL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
NOT_AXIAL = {
    "sagittal": (SAGITTAL, THICK, "sagittal slices"),
    "coronal": (CORONAL, THICK, "coronal slices"),
    "oblique": (turned(54, 0), THICK, "oblique slices, tilted by 54 degrees"),
    "short axis": (turned(60, 40), (1.25, 1.25, 10.0), "oblique slices, tilted by 60 degrees"),
    "sagittal, axes as in RAS": (np.diag([-1, -1, 1]), (4.4, 0.7, 0.7), "sagittal slices"),
}
AXIAL = {
    "upright": (np.eye(3), THICK, None),
    "as in RAS": (np.diag([-1, -1, 1]), THICK, None),
    "feet first": (np.diag([1, 1, -1]), THICK, None),
    "sagittal of small cubes": (SAGITTAL, (1.0, 1.0, 1.0), "stored as sagittal slices: axial ones were cut"),
    "tilted by 30": (turned(30, 0), THICK, "stored as oblique slices, tilted by 30 degrees"),
}


def write(folder, case, direction, spacing, shape=(5, 64, 64)):
    hu = np.moveaxis(body(shape), 0, -1 if np.argmax(spacing) == 0 and len(set(spacing)) > 1 else 0)
    return save_pair(folder, case, hu, hu == ORGAN_HU, direction=direction, spacing=spacing)


def prepare(folders, out, **options):
    options = {"classes": {"organ": 1}, "test": ["a"], "workers": 1, "progress": False} | options
    return prepare_pairs(*folders.values(), out, **options)


@pytest.mark.parametrize("kind", NOT_AXIAL)
def test_thick_slices_that_are_not_axial_are_refused_kept_or_cut(tmp_path, refused, kind):
    direction, spacing, words = NOT_AXIAL[kind]
    folders = write(tmp_path, "a", direction, spacing)
    write(tmp_path, "b", direction, spacing)
    refused(["nii.gz", words, "--plane stored", "--plane axial"], prepare, folders, tmp_path / "out")
    case = prepare(folders, tmp_path / "out", plane="stored").load_case("a")
    assert case.spacing == pytest.approx((max(spacing), min(spacing), min(spacing)))
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folders["labels"] / "a.nii.gz")))
    slices = np.moveaxis(stored, int(np.argmax(spacing[::-1])), 0)
    assert case.label.shape[0] == len(slices)
    assert sorted(plane.sum() for plane in case.label) == sorted(plane.sum() for plane in slices)
    cut = prepare(folders, tmp_path / "cut", plane="axial")
    assert min(cut.load_case("a").label.shape[1:]) == 5
    assert cut.load_slice("b_slice000")[0].shape == cut.load_case("a").image.shape[1:]


@pytest.mark.parametrize("kind", AXIAL)
def test_what_makes_good_axial_slices_is_prepared_and_what_is_unusual_noted(tmp_path, kind):
    direction, spacing, words = AXIAL[kind]
    shape = (64, 64, 64) if len(set(spacing)) == 1 else (5, 64, 64)
    prepared = prepare(write(tmp_path, "a", direction, spacing, shape), tmp_path / "out")
    notes = prepared.manifest["cases"]["a"].get("notes", [])
    assert (len(notes) == 1 and words in notes[0]) if words else notes == []


@pytest.mark.parametrize("kind", NOT_AXIAL | AXIAL)
@pytest.mark.parametrize("plane", ["axial", "stored"])
def test_label_maps_of_evaluate_lie_on_the_scan(tmp_path, monkeypatch, kind, plane):
    """The organ's voxels in mm, by SimpleITK, are those of the label map that was prepared; the grid is the scan's."""
    direction, spacing, _ = (NOT_AXIAL | AXIAL)[kind]
    folders = write(tmp_path, "a", direction, spacing)
    prepared = prepare(folders, tmp_path / "out", plane=plane)
    case = prepared.load_case("a")
    written = volumes._write_prediction(case.label, case, tmp_path)
    source = folders["labels"] / "a.nii.gz"
    np.testing.assert_allclose(organ_points(written), organ_points(source), atol=1e-3)
    ours, theirs = sitk.ReadImage(str(written)), sitk.ReadImage(str(source))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs))
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, name)(), getattr(theirs, name)(), atol=1e-4)


@pytest.mark.parametrize("flip", ["z", "xy", "t", "tyz"])
def test_headers_that_lie_are_turned_at_preparation_and_back_for_the_scan(tmp_path, flip):
    folders = write(tmp_path, "a", np.diag([-1, -1, 1]), (0.7, 0.9, 4.4))
    write(tmp_path, "b", np.eye(3), (0.7, 0.9, 4.4))
    plain = prepare(folders, tmp_path / "plain").load_case("a")
    prepared = prepare(folders, tmp_path / "out", flip={"a": flip})
    case = prepared.load_case("a")
    expected = plain.label.swapaxes(1, 2) if "t" in flip else plain.label
    expected = np.flip(expected, [axis for axis, letter in enumerate("zyx") if letter in flip])
    np.testing.assert_array_equal(case.label, expected)
    assert case.spacing == pytest.approx((4.4, 0.7, 0.9) if "t" in flip else (4.4, 0.9, 0.7))
    written = volumes._write_prediction(case.label, case, tmp_path)
    np.testing.assert_allclose(organ_points(written), organ_points(folders["labels"] / "a.nii.gz"), atol=1e-3)
    np.testing.assert_array_equal(
        prepared.load_slice("b_slice001")[1], prepare(folders, tmp_path / "plain").load_slice("b_slice001")[1]
    )


def test_held_out_cases_have_their_place_too_and_a_damaged_one_is_told(tmp_path, refused):
    folders = write(tmp_path, "a", np.eye(3), THICK)
    write(tmp_path, "b", SAGITTAL, THICK)
    write(tmp_path, "c", np.eye(3), THICK)
    prepared = prepare(folders, tmp_path / "out", plane="stored")
    case = prepared.hold_out(["b"])[1].load_case("b")
    written = volumes._write_prediction(case.label, case, tmp_path)
    np.testing.assert_allclose(organ_points(written), organ_points(folders["labels"] / "b.nii.gz"), atol=1e-3)
    manifest = tmp_path / "out" / "dataset.json"
    content = json.loads(manifest.read_text())
    for damaged in ({"spacing": [1]}, {"axes": "XYZ"}, {"origin": "nowhere"}, {"file_axes": "LLS"}):
        content["cases"]["a"]["grid"] = prepared.manifest["cases"]["a"]["grid"] | damaged
        manifest.write_text(json.dumps(content))
        refused([manifest, "`grid`", "prepare the data again"], PreparedDataset.open(tmp_path / "out").load_case, "a")


def test_a_case_without_a_place_is_written_by_its_spacing(tmp_path):
    case = prepare(write(tmp_path, "a", np.eye(3), THICK), tmp_path / "out").load_case("a")
    written = sitk.ReadImage(str(volumes._write_prediction(case.label, replace(case, placement=None), tmp_path)))
    assert written.GetSpacing() == pytest.approx(THICK)
    assert written.GetOrigin() == (0, 0, 0)


def test_the_options_of_the_command(tmp_path, capsys):
    folders = write(tmp_path, "a", SAGITTAL, THICK)
    arguments = ["prepare", "scans", "--workers", "1", "--classes", "organ=1", "--destination", tmp_path / "out"]
    arguments = [str(one) for one in [*arguments, "--images", folders["images"], "--labels", folders["labels"]]]
    assert main(arguments) == 2
    assert "--plane stored" in capsys.readouterr().err
    assert main([*arguments, "--plane", "stored", "--flip", "x", "a=z"]) == 0
    assert "a: stored as sagittal slices: prepared as they are" in capsys.readouterr().out
    assert PreparedDataset.open(tmp_path / "out").manifest["cases"]["a"]["grid"]["flip"] == "z"
    assert main([*arguments, "--plane", "stored", "--flip", "nobody=z"]) == 2
    assert "'nobody'" in capsys.readouterr().err


def test_the_plane_of_a_single_volume(tmp_path):
    for direction, spacing, _ in (NOT_AXIAL | AXIAL).values():
        scan = read_volume(save(tmp_path / "scan.nii.gz", body((5, 64, 64)), spacing, direction))
        placed = Placement.of(scan, "stored")
        assert placed.plane == stored_plane(scan).name
        np.testing.assert_array_equal(
            placed.on_scan(placed.slices(scan.array)).array, scan.on_file_axes(scan.array).array
        )


def test_the_contract_and_the_panel_of_data_in_their_stored_plane(tmp_path, capsys):
    """Organs tell the orientation of axial slices only; sagittal ones get no R and L."""
    hu = body((6, 64, 64))
    for case in ("0005", "0008"):
        save(tmp_path / "raw" / "img" / f"img{case}.nii.gz", hu, THICK, SAGITTAL)
        save(
            tmp_path / "raw" / "label" / f"label{case}.nii.gz", (6 * (hu == ORGAN_HU)).astype(np.uint8), THICK, SAGITTAL
        )
    options = ["--source", tmp_path / "raw", "--destination", tmp_path / "out", "--workers", "1", "--plane", "stored"]
    assert main(["prepare", "synapse", *map(str, options)]) == 0
    assert "there is no organ to tell it from" in " ".join(capsys.readouterr().out.split())
    figure = plot_orientation(PreparedDataset.open(tmp_path / "out"))
    assert not any(text.get_text() in ("R", "L") for ax in figure.axes for text in ax.texts)
