"""What a prediction leaves: whole files or none, never over the input, and nothing of another image."""

from __future__ import annotations

import json
import os
import signal

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from msa2net_lib import checkpoints
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.fingerprint import DatasetFingerprint
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.prediction import output, overlay, run
from msa2net_lib.prediction.overlay import draw_overlay
from msa2net_lib.prediction.result import Prediction
from msa2net_lib.prediction.run import predict_file
from msa2net_lib.viz.colors import ORGAN_COLORS, class_colors

ENDINGS = ("_labels.nii.gz", "_overlay.png", "_volumes.csv", "_prediction.json")


@pytest.fixture
def scan_file(tmp_path, scan_hu):
    """A small scan that is bright in one octant."""
    array = np.full((6, 24, 20), -1000, np.int16)
    array[1:, 4:20, 4:16] = 40
    array[3:, 8:16, 6:12] = 250
    array[0, 0, 0] = 1500
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(array.T, np.diag([-0.7, -0.8, 2.5, 1])), path)
    return path


@pytest.fixture(scope="session")
def lesion_network(tmp_path_factory):
    """A random network for lesions on color images, on disk."""
    network = MSA2Net(NetworkConfig.from_preset("tiny", image_size=32, num_classes=2))
    path = tmp_path_factory.mktemp("weights") / "lesions.safetensors"
    return checkpoints.save_network(network, path, class_names=("lesion",), fingerprint=DatasetFingerprint("images"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_of_a_scan(scan_file, tmp_path, threshold):
    made = predict_file(scan_file, output_dir=tmp_path / "out", field_of_view="as-is", progress=False)
    assert names(tmp_path / "out") == sorted(f"scan{ending}" for ending in ENDINGS)
    assert names(tmp_path / "out") == sorted(path.name for path in made.files.values())
    record = json.loads(made.files["record"].read_text())
    assert record == json.loads(json.dumps(made.record))
    assert record["classes"]["5"] == "liver"
    assert record["warnings"] == list(made.warnings)
    assert "not for clinical use" in record["mind"]
    # 3 x 8 x 6 voxels of 0.7 x 0.8 x 2.5 mm, and the corner
    table = pd.read_csv(made.files["table"], index_col="class")
    assert table.loc["liver", "voxels"] == 3 * 8 * 6 + 1
    assert table.loc["liver", "ml"] == pytest.approx(145 * 1.4 / 1000, rel=1e-5)
    assert list(table.index) == list(ORGANS)
    assert table.loc["liver", "at_scan_end"]
    assert not table.loc["spleen", "at_scan_end"]
    assert "not found: aorta" in str(made)


def test_without_a_folder_nothing_is_written(scan_file, tmp_path, threshold, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = predict_file(scan_file, progress=False)
    assert made.files == {}
    assert names(tmp_path) == ["scan.nii.gz"]


def test_again_replaces_and_another_image_does_not(scan_file, tmp_path, threshold, refused):
    out = tmp_path / "out"
    predict_file(scan_file, output_dir=out, field_of_view="as-is", progress=False)
    predict_file(scan_file, output_dir=out, field_of_view=300, progress=False)
    assert json.loads((out / "scan_prediction.json").read_text())["field_of_view"]["asked"] == 300
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    other = tmp_path / "elsewhere" / "scan.nii"
    other.parent.mkdir()
    nib.save(nib.Nifti1Image(np.asarray(nib.load(scan_file).dataobj) // 2, np.diag([-0.7, -0.8, 2.5, 1])), other)
    refused(["scan_prediction.json", "another image", "--output"], predict_file, other, output_dir=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "scan_prediction.json").write_text("{}")
    refused(["not a prediction's record"], predict_file, scan_file, output_dir=out)


def test_never_over_the_input(scan_file, tmp_path, threshold, refused):
    content = scan_file.read_bytes()
    predict_file(scan_file, output_dir=tmp_path, progress=False)  # its own folder
    assert scan_file.read_bytes() == content
    os.unlink(tmp_path / "scan_labels.nii.gz")
    os.link(scan_file, tmp_path / "scan_labels.nii.gz")
    refused(["is the image itself"], predict_file, scan_file, output_dir=tmp_path)


@pytest.mark.parametrize("ending", ENDINGS[:3])
def test_files_of_these_names_that_no_prediction_left_stay(scan_file, tmp_path, threshold, refused, ending):
    own = tmp_path / f"scan{ending}"
    own.write_text("drawn by hand")
    refused([own, "no record of a prediction"], predict_file, scan_file, output_dir=tmp_path, progress=False)
    assert own.read_text() == "drawn by hand"
    assert names(tmp_path) == sorted(["scan.nii.gz", own.name])


@pytest.mark.parametrize("letter", ["a", "\u00e4", "\u76ee"])
def test_a_name_as_long_as_file_systems_take(scan_file, tmp_path, threshold, letter):
    long = scan_file.with_name(letter * (247 // len(letter.encode())) + ".nii.gz")
    scan_file.rename(long)
    made = predict_file(long, output_dir=tmp_path / "out", field_of_view="as-is", progress=False)
    assert len(names(tmp_path / "out")) == 4
    assert set(made.name) == {letter}


def test_not_among_the_slices(tmp_path, scan_hu, write_dicom, threshold, refused):
    folder = write_dicom(tmp_path / "series", scan_hu())
    for inside in (folder, folder / "out"):
        refused([inside, "lies in the folder of slices"], predict_file, folder, output_dir=inside)
    assert not (folder / "out").exists()


def test_output_that_cannot_be_written(scan_file, tmp_path, threshold, refused):
    (tmp_path / "file").write_text("")
    refused([tmp_path / "file"], predict_file, scan_file, output_dir=tmp_path / "file")


def test_refusal_leaves_no_folder(tmp_path, scan_hu, threshold, refused):
    path = tmp_path / "shifted.nii"
    nib.save(nib.Nifti1Image(scan_hu().T + 1024, np.diag([-0.7, -0.8, 2.5, 1])), path)
    refused(["no HU"], predict_file, path, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- Ctrl-C and a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def can_be_interrupted():
    """Python's own answer to Ctrl-C, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("can_be_interrupted")
def test_interrupt_while_predicting_leaves_nothing(scan_file, tmp_path, threshold, monkeypatch):
    def stop(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(run, "predict_volume", stop)
    with pytest.raises(KeyboardInterrupt):
        predict_file(scan_file, output_dir=tmp_path / "out", progress=False)
    assert names(tmp_path / "out") == []


@pytest.mark.usefixtures("can_be_interrupted")
@pytest.mark.parametrize("writer", ["write_volume", "write_text"])
def test_interrupt_while_writing_leaves_all(scan_file, tmp_path, threshold, monkeypatch, writer):
    plain = getattr(output, writer)

    def interrupted(*arguments):
        monkeypatch.setattr(output, writer, plain)  # once: a second Ctrl-C stops at once
        os.kill(os.getpid(), signal.SIGINT)
        return plain(*arguments)

    monkeypatch.setattr(output, writer, interrupted)
    predict_file(scan_file, output_dir=tmp_path / "out", progress=False)
    assert names(tmp_path / "out") == sorted(f"scan{ending}" for ending in ENDINGS)
    assert json.loads((tmp_path / "out" / "scan_prediction.json").read_text())["image"]["name"] == "scan.nii.gz"


def test_failure_while_writing_leaves_nothing_half(scan_file, tmp_path, threshold, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output, "write_text", fail)
    with pytest.raises(OSError, match="No space"):
        predict_file(scan_file, output_dir=tmp_path / "out", progress=False)
    assert names(tmp_path / "out") == []
    monkeypatch.undo()
    predict_file(scan_file, output_dir=tmp_path / "out", progress=False)
    before = names(tmp_path / "out")
    monkeypatch.setattr(output, "write_text", fail)
    with pytest.raises(OSError, match="No space"):
        predict_file(scan_file, output_dir=tmp_path / "out", progress=False)
    assert names(tmp_path / "out") == before, "what was there before"


# ---- images -----------------------------------------------------------------------------------------------


def test_indexed_image_of_its_own_size(tmp_path, threshold):
    gray = np.full((50, 70), 30, np.uint8)
    gray[10:30, 20:60] = 220
    Image.fromarray(gray).save(tmp_path / "slice.png")
    made = predict_file(tmp_path / "slice.png", output_dir=tmp_path / "out")
    with Image.open(made.files["label map"]) as image:
        assert (image.mode, image.size) == ("P", (70, 50))
        np.testing.assert_array_equal(np.array(image), np.where(gray > 200, 5, 0))
        palette = image.getpalette()
        assert json.loads(image.text["Classes"]) == {"0": "background"} | {
            str(index): organ for index, organ in enumerate(ORGANS, start=1)
        }
        assert "not for clinical use" in image.text["Description"]
    assert palette[:3] == [0, 0, 0]
    assert "#{:02X}{:02X}{:02X}".format(*palette[15:18]) == ORGAN_COLORS["liver"]
    table = pd.read_csv(made.files["table"], index_col="class")
    assert table.loc["liver", "pixels"] == 800
    assert table.loc["liver", "share"] == pytest.approx(800 / 3500, rel=1e-5)


def test_color_image(tmp_path, lesion_network):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "skin.jpg")
    made = predict_file(tmp_path / "skin.jpg", lesion_network, tmp_path / "out")
    with Image.open(made.files["label map"]) as image:
        assert image.size == (80, 60)
        assert json.loads(image.text["Classes"]) == {"0": "background", "1": "lesion"}
        np.testing.assert_array_equal(np.array(image), made.label)
    assert made.warnings == ()


# ---- the overlay --------------------------------------------------------------------------------------------


def texts(figure):
    legend = [text.get_text() for shown in figure.legends for text in shown.get_texts()]
    axes = [text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title)]
    return legend, axes, figure.get_suptitle()


def test_a_figure_is_drawn_once_and_looks_as_savefig_would_make_it(scan_file, tmp_path, threshold, monkeypatch):
    monkeypatch.setattr(overlay, "draw_overlay", draw_overlay)  # which is quick in other tests
    drawn = []
    draw = Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda figure, renderer: (drawn.append(figure), draw(figure, renderer))[1])
    made = predict_file(scan_file, output_dir=tmp_path / "out", progress=False)
    assert len(drawn) == 1
    drawn[0].savefig(tmp_path / "saved.png", dpi=output.DPI)
    with Image.open(made.files["overlay"]) as one, Image.open(tmp_path / "saved.png") as other:
        np.testing.assert_array_equal(np.array(one), np.array(other))


@pytest.mark.slow
def test_overlay_of_a_scan_names_what_it_shows(root):
    made = predict_file(root / "data" / "example_ct" / "img" / "img0002.nii.gz", progress=False)
    legend, axes, title = texts(draw_overlay(made))
    assert sorted(line.rsplit(" ", 2)[0] for line in legend) == sorted(made.found)
    liver = made.table.loc["liver", "ml"]
    assert f"liver {liver:,.0f} ml" in legend
    assert axes.count("R") == axes.count("L") == overlay.SLICES
    for words in ("img0002", "tiny.safetensors", "virtual patients", "not for clinical use"):
        assert words in title


def test_overlay_shows_right_on_the_left(scan_file, threshold, monkeypatch):
    """R is the patient's right: the side of small x in LPS, on the left of every slice."""
    monkeypatch.undo()
    made = predict_file(scan_file, progress=False)
    (ax,) = draw_overlay(made).axes[:1]
    (right, left) = ax.texts
    assert (right.get_text(), left.get_text()) == ("R", "L")
    assert right.get_position()[0] < left.get_position()[0]
    assert ax.get_xlim()[0] < ax.get_xlim()[1]


def test_overlay_of_nothing(scan_file, monkeypatch, shipped):
    monkeypatch.setattr(run, "predict_volume", lambda _, image, progress: np.zeros(image.shape, np.uint8))
    made = predict_file(scan_file, progress=False)
    legend, _, _ = texts(draw_overlay(made))
    assert legend == ["nothing found: all background"]
    assert str(made) == "nothing was found: all voxels are background"


def test_overlay_of_an_image_does_not_guess_sides(tmp_path, lesion_network):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    _, axes, title = texts(draw_overlay(predict_file(tmp_path / "a.png", lesion_network)))
    assert "R" not in axes
    assert "lesions.safetensors" in title
    assert "not for clinical use" in title


def flat(image, label, names=("liver", "spleen")):
    """A prediction on an image, without what is not drawn."""
    return Prediction("a", image, label, None, None, names, {}, "b", (), {})


@pytest.mark.parametrize("where", [np.s_[0:3, 4:9], np.s_[5, 2:6], np.s_[6:8, 0:9], np.s_[3:6, 8]])
def test_outline_is_that_of_a_contour_through_all_of_the_label(where):
    """It is looked for in the class's box alone: at the label's edge, in one row, beside another class."""
    label = np.zeros((8, 9), np.uint8)
    label[2:6, 3:8] = 1
    label[where] = 2
    axes = Figure().subplots(3)
    overlay.draw_slice(axes[0], flat(np.zeros(label.shape, np.float32), label), None)
    for ax, number, drawn in zip(axes[1:], (1, 2), axes[0].collections, strict=True):
        padded = np.pad(label == number, 1).astype(float)
        expected = ax.contour(np.arange(-1, 10), np.arange(-1, 9), padded, levels=[0.5])
        (found,), (whole,) = drawn.get_paths(), expected.get_paths()
        assert {*map(tuple, found.vertices)} == {*map(tuple, whole.vertices)}


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_classes_are_filled_lightly_and_the_rest_is_the_image(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    label = np.zeros((4, 5), np.uint8)
    label[1, 2], label[3, 4] = 1, 2
    ax = Figure().subplots()
    overlay.draw_slice(ax, flat(image, label), None)
    expected = np.broadcast_to(image.reshape(4, 5, -1), (4, 5, 3)).copy()
    for place, name in (((1, 2), "liver"), ((3, 4), "spleen")):
        expected[place] = 0.75 * expected[place] + 0.25 * np.array(to_rgb(ORGAN_COLORS[name]))
    np.testing.assert_allclose(ax.images[0].get_array(), 255 * expected, atol=1)


def test_colors_of_other_classes():
    assert class_colors(["liver", "tumour"])["liver"] == ORGAN_COLORS["liver"]
    assert len(set(class_colors([f"class {index}" for index in range(8)]).values())) == 8
