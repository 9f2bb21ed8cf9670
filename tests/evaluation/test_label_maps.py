"""Label maps of other programs: written by nibabel, pynrrd, SimpleITK, NumPy and Pillow; scored against medpy."""

from __future__ import annotations

import json

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from medpy.metric import binary
from PIL import Image
from torchmetrics.classification import BinaryF1Score, BinaryRecall

from msa2net_lib.data.scans.own import prepare_pairs
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.label_maps import find_classes, match_label_maps, score_label_maps, score_masks

SPACING = (3.0, 0.8, 0.7)  # z, y, x
CLASSES = {"liver": [1], "kidneys": [2, 5]}


def boxes(seed: int, shape=(6, 20, 24)) -> np.ndarray:
    """Three boxes with ids 1, 2 and 5, placed at random."""
    drawn, labels = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for number in (1, 2, 5):
        z, y, x = (int(drawn.integers(0, size // 2)) for size in shape)
        labels[z : z + 3, y : y + 8, x : x + 9] = number
    return labels


def as_itk(array, spacing=SPACING, origin=(11.0, -7.0, 40.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(origin)
    return image


def write(path, array, **place):
    path.parent.mkdir(exist_ok=True, parents=True)
    sitk.WriteImage(as_itk(array, **place), str(path))
    return path


@pytest.fixture
def folders(tmp_path):
    """Three cases of NIfTI references, and predictions of three other kinds of file and voxel order."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    predictions.mkdir()
    for case in (1, 2, 3):
        write(references / f"case{case}.nii.gz", boxes(case))
    # nibabel, axes reversed as other tools store them: RAS+ with x and y running the other way.
    image = nibabel.load(references / "case1.nii.gz")
    turned = boxes(11)[::-1, :, ::-1].transpose(2, 1, 0)
    affine = image.affine @ np.array([[-1, 0, 0, 23], [0, 1, 0, 0], [0, 0, -1, 5], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(turned, affine), predictions / "case1.nii.gz")
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag(SPACING[::-1]),
        "space origin": (11.0, -7.0, 40.0),
    }
    nrrd.write(str(predictions / "case2.nrrd"), boxes(12).transpose(2, 1, 0), header)
    write(predictions / "case3.mha", boxes(13))
    return predictions, references


def by_medpy(predicted, true, ids, spacing):
    one, other = np.isin(predicted, ids), np.isin(true, ids)
    return binary.dc(one, other), binary.hd95(one, other), binary.hd95(one, other, spacing)


def test_every_kind_of_file_is_scored_as_medpy_does(folders):
    evaluation, told = score_label_maps(match_label_maps(*folders), CLASSES)
    assert told == []
    rows = evaluation.scores.set_index(["protocol", "case", "organ"])
    assert len(rows) == 2 * 3 * 2
    for case in (1, 2, 3):
        for organ, ids in CLASSES.items():
            dsc, voxels, mm = by_medpy(boxes(10 + case), boxes(case), ids, SPACING)
            paper, strict = (rows.loc[(protocol, f"case{case}", organ)] for protocol in ("paper", "strict"))
            assert (paper.dsc, paper.hd95, strict.hd95) == pytest.approx((dsc, voxels, mm), abs=1e-6)


def test_ids_by_number_where_nobody_names_them(folders):
    evaluation, _ = score_label_maps(match_label_maps(*folders), protocols=["paper"])
    assert list(evaluation.by_organ().index) == ["label 1", "label 2", "label 5"]


def test_an_nnunet_folder_names_its_classes_and_keeps_its_npz_to_itself(folders):
    predictions, references = folders
    description = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "kidney": 2, "cyst": 5}}
    (predictions / "dataset.json").write_text(json.dumps(description | {"numTraining": 3, "file_ending": ".nii.gz"}))
    (predictions / "plans.json").write_text("{}")
    np.savez(predictions / "case1.npz", probabilities=np.zeros((4, 6, 20, 24)))
    assert find_classes(references, predictions) == {"liver": [1], "kidney": [2], "cyst": [5]}
    matched = match_label_maps(predictions, references)
    assert matched.files["case1"][0].name == "case1.nii.gz"  # pyright: ignore[reportOptionalMemberAccess]


def test_predictions_and_references_in_one_folder_are_told_apart_by_their_names(tmp_path):
    for case in ("a", "b"):
        write(tmp_path / f"{case}_pred.nii.gz", boxes(1))
        write(tmp_path / f"{case}_gt.nii.gz", boxes(2))
        write(tmp_path / f"{case}_img.nii.gz", boxes(3))
    matched = match_label_maps(tmp_path, tmp_path, prediction_name="{id}_pred", reference_name="{id}_gt")
    assert list(matched.files) == ["a", "b"]
    assert matched.describe().splitlines()[:2] == [
        "2 of 2 references have a prediction",
        "  a  a_pred.nii.gz  against a_gt.nii.gz",
    ]


@pytest.mark.parametrize(
    "place", [{"origin": (11.0, -6.0, 40.0)}, {"spacing": (3.0, 0.8, 0.9)}, {"spacing": (1.5, 0.8, 0.7)}]
)
def test_other_voxels_are_refused_or_resampled(tmp_path, place):
    write(tmp_path / "r" / "a.nii.gz", boxes(2))
    path = write(tmp_path / "p" / "a.nii.gz", boxes(1), **place)
    matched = match_label_maps(tmp_path / "p", tmp_path / "r")
    with pytest.raises(InputError, match=r"a\.nii\.gz: .*--grid resample") as caught:
        score_label_maps(matched, CLASSES)
    assert "\n" not in str(caught.value)
    evaluation, told = score_label_maps(matched, CLASSES, grid="resample")
    assert told == ["brought to the reference's voxels by the nearest: a"]
    onto = sitk.Resample(sitk.ReadImage(str(path)), as_itk(boxes(2)), sitk.Transform(), sitk.sitkNearestNeighbor)
    dsc, *_ = by_medpy(sitk.GetArrayFromImage(onto), boxes(2), [1], SPACING)
    assert evaluation.by_organ().loc["liver", "dsc"] == pytest.approx(dsc)
    by_shape, _ = score_label_maps(matched, CLASSES, grid="shape")
    assert by_shape.by_organ().loc["liver", "dsc"] == pytest.approx(by_medpy(boxes(1), boxes(2), [1], SPACING)[0])


def test_npz_is_scored_by_its_shape_and_without_mm(tmp_path):
    for name, seed in (("p", 1), ("r", 2)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "a.npz", label=boxes(seed).astype(np.float32))
    matched = match_label_maps(tmp_path / "p", tmp_path / "r")
    evaluation, told = score_label_maps(matched, CLASSES)
    assert set(evaluation.scores.protocol) == {"paper"}
    assert "nothing is measured in mm" in told[-1]
    assert evaluation.scores.hd95[0] == pytest.approx(by_medpy(boxes(1), boxes(2), [1], None)[1])
    with pytest.raises(InputError, match="stores no voxel size"):
        score_label_maps(matched, CLASSES, protocols=["strict"])


def test_a_prepared_data_set_is_a_reference(tmp_path):
    write(tmp_path / "images" / "a.nii.gz", np.full((6, 20, 24), -1000, np.int16) + 1100 * (boxes(1) > 0))
    write(tmp_path / "labels" / "a.nii.gz", boxes(1))
    folders = (tmp_path / name for name in ("images", "labels", "prepared"))
    prepared = prepare_pairs(*folders, classes=CLASSES, test=["a"], workers=1, progress=False)
    found = prepared.load_case("a").label
    found[0] = 0
    (tmp_path / "p").mkdir()
    np.savez(tmp_path / "p" / "a.npz", prediction=found)
    evaluation, _ = score_label_maps(match_label_maps(tmp_path / "p", prepared.root), protocols=["strict"])
    expected = by_medpy(found, prepared.load_case("a").label, [1], SPACING)
    assert evaluation.by_organ("strict").loc["liver"].tolist() == pytest.approx([expected[0], expected[2]])


@pytest.mark.parametrize("grid", ["refuse", "shape"])
@pytest.mark.parametrize("plane", ["axial", "stored"])
@pytest.mark.parametrize(
    "axes", [[1, 0, 0, 0, 1, 0, 0, 0, 1], [-1, 0, 0, 0, -1, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0, 0, -1, 0]]
)
def test_what_evaluate_wrote_lies_on_the_prepared_data_set_and_on_the_source(tmp_path, axes, plane, grid):
    for folder, array in (
        ("images", np.full((6, 20, 24), -1000, np.int16) + 1100 * (boxes(1) > 0)),
        ("labels", boxes(1)),
    ):
        image = sitk.GetImageFromArray(array)
        image.SetDirection(axes)
        image.SetSpacing((1, 1, 3))
        (tmp_path / folder).mkdir()
        sitk.WriteImage(image, str(tmp_path / folder / "a.nii.gz"))
    folders = (tmp_path / name for name in ("images", "labels", "prepared"))
    options = {"classes": CLASSES, "test": ["a"], "workers": 1, "progress": False, "plane": plane}
    case = prepare_pairs(*folders, **options).load_case("a")
    (tmp_path / "p").mkdir()
    case.placement.write_label_map(case.label, tmp_path / "p" / "a.nii.gz")
    for references in ("prepared", "labels"):
        matched = match_label_maps(tmp_path / "p", tmp_path / references)
        evaluation, _ = score_label_maps(matched, CLASSES, protocols=["strict"], grid=grid)
        assert evaluation.by_organ("strict").loc["liver"].tolist() == [1, 0]


def test_missing_predictions(tmp_path, folders):
    predictions, references = folders
    (predictions / "case2.nrrd").unlink()
    write(predictions / "other.nii.gz", boxes(4))
    with pytest.raises(InputError, match=r"1 of 3 references have no prediction .*case2"):
        match_label_maps(predictions, references)
    skipped = match_label_maps(predictions, references, missing="skip")
    assert "without a prediction: case2\nwithout a reference, not scored: other.nii.gz" in skipped.describe()
    assert set(score_label_maps(skipped, CLASSES)[0].scores.case) == {"case1", "case3"}
    empty, _ = score_label_maps(match_label_maps(predictions, references, missing="empty"), CLASSES)
    assert (empty.by_case("strict").loc["case2", "dsc"], len(empty.by_case())) == (0.0, 3)


def test_ids_that_are_no_class_are_told(folders):
    _, told = score_label_maps(match_label_maps(*folders), {"liver": [1], "kidney": [2]})
    assert told == ["id 5 is no class, counted as background: case1, case2, case3"]


def test_masks_of_images_as_torchmetrics_scores_them(tmp_path):
    drawn, pairs = np.random.default_rng(0), {}
    for name in ("p", "r"):
        (tmp_path / name).mkdir()
    for image in ("one", "two"):
        pairs[image] = drawn.random((2, 9, 12)) > 0.6
        Image.fromarray(255 * pairs[image][0].astype(np.uint8)).save(tmp_path / "p" / f"{image}.png")
        Image.fromarray(255 * pairs[image][1].astype(np.uint8)).save(tmp_path / "r" / f"{image}_segmentation.png")
    matched = match_label_maps(tmp_path / "p", tmp_path / "r", reference_name="{id}_segmentation")
    scores = score_masks(matched).scores
    found, true = (torch.from_numpy(np.stack([pairs[image][index] for image in pairs])).int() for index in (0, 1))
    assert scores.loc["pooled", "dsc"] == pytest.approx(BinaryF1Score()(found, true).item())
    assert scores.loc["pooled", "se"] == pytest.approx(BinaryRecall()(found, true).item())
    by_image = np.mean([BinaryF1Score()(one, other).item() for one, other in zip(found, true, strict=True)])
    assert scores.loc["per_image", "dsc"] == pytest.approx(by_image)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "p" / "one.png")
    with pytest.raises(InputError, match=r"one\.png: has \(4, 5\) pixels, but .*--grid resample"):
        score_masks(matched)
    assert len(score_masks(matched, grid="resample").by_image) == 2


def wrong(tmp_path, predicted, reference, classes=None, **options):
    for folder, (name, content) in {"p": predicted, "r": reference}.items():
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / name
        if name.endswith(".npz"):
            np.savez(path, **content)
        elif name.endswith(".png"):
            Image.fromarray(content).save(path)
        else:
            write(path, content)
    with pytest.raises(InputError) as caught:
        score_label_maps(match_label_maps(tmp_path / "p", tmp_path / "r", **options), classes or CLASSES)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wrong_inputs_get_one_line_each(tmp_path):
    scan, half = ("a.nii.gz", boxes(1)), ("a.npz", {"label": np.full((6, 20, 24), 0.5)})
    cases = {
        "no file is named like a reference": (("b.nii.gz", boxes(1)), scan),
        "PNG masks cannot be scored against volumes": (("a.png", np.zeros((4, 4), np.uint8)), scan),
        "holds 0.5, which is no id": (half, ("a.npz", {"label": boxes(1)})),
        "does not say where its voxels lie": (("a.npz", {"label": boxes(1)}), scan),
        "save the label map as `label`": (("a.npz", {"x": boxes(1), "y": boxes(1)}), ("a.npz", {"label": boxes(1)})),
        "score a label map of the same scan": (("a.npz", {"label": boxes(1)[:5]}), ("a.npz", {"label": boxes(1)})),
        "is no label map": (("a.npz", {"label": np.zeros((2, 6, 20, 24))}), ("a.npz", {"label": boxes(1)})),
    }
    for index, (message, files) in enumerate(cases.items()):
        (tmp_path / str(index)).mkdir()
        assert message in wrong(tmp_path / str(index), *files)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prediction_name": "pred"}, "write {id} once"),
        ({"prediction_name": "{id}_pred"}, "holds no label map named {id}_pred"),
        ({"classes": {"liver": [1], "other": [1]}}, "id 1 of other is below 1 or stands twice"),
        ({"classes": {"liver": [0]}}, "id 0 of liver is below 1 or stands twice"),
    ],
)
def test_wrong_options_get_one_line_each(tmp_path, options, message):
    assert message in wrong(tmp_path, ("a.nii.gz", boxes(1)), ("a.nii.gz", boxes(2)), **options)


def test_more_classes_than_a_byte_holds(tmp_path):
    """300 ids, as a brain's parcellation has; each is scored against itself, and one against half of it."""
    labels = np.arange(1, 301, dtype=np.uint16).reshape(3, 10, 10).repeat(2, axis=2)
    found = labels.copy()
    found[2, 9, 19] = 0
    for name, array in (("r", labels), ("p", found)):
        write(tmp_path / name / "a.nii.gz", array)
    evaluation, told = score_label_maps(match_label_maps(tmp_path / "p", tmp_path / "r"), protocols=["paper"])
    dsc = evaluation.by_organ()["dsc"]
    assert told == []
    assert len(dsc) == 300
    assert dsc["label 300"] == pytest.approx(2 / 3)
    assert (dsc.drop("label 300") == 1).all()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b'{"labels": {"a": 1}, "labels": {}}'])
def test_a_description_that_cannot_be_read_is_told(folders, refused, content):
    (folders[1] / "dataset.json").write_bytes(content)
    refused([folders[1] / "dataset.json", "--classes"], find_classes, *folders)


@pytest.mark.parametrize("number", [-1, -100])
def test_ids_below_zero_are_told_as_such(tmp_path, refused, number):
    labels = boxes(1).astype(np.int16)
    labels[labels == 5] = number
    for name in ("p", "r"):
        write(tmp_path / name / "a.nii.gz", labels)
    matched = match_label_maps(tmp_path / "p", tmp_path / "r")
    refused(f"id {number} of label {number} is below 1", score_label_maps, matched)
    evaluation, told = score_label_maps(matched, {"liver": [1]})
    assert evaluation.by_organ()["dsc"].tolist() == [1.0]
    assert any(line.startswith(f"id {number} is no class") for line in told)
