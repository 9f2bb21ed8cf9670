"""Which network fits which image, and what a checkpoint knows of its training data."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from msa2net_lib import checkpoints
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.fingerprint import DatasetFingerprint, Range, describe
from msa2net_lib.data.images.dataset import ImageDataset
from msa2net_lib.data.images.prepare import prepare_images
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.resize import resize_label
from msa2net_lib.evaluation.images import evaluate_images
from msa2net_lib.lessons.l01_data.study import store_as_others
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.official_checkpoints import save_official_checkpoint
from msa2net_lib.prediction import run
from msa2net_lib.prediction.run import predict_file
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def save(tmp_path_factory):
    """Write a random `tiny` network with so many classes and what is said of it."""
    folder = tmp_path_factory.mktemp("weights")

    def write(name, classes, **told):
        torch.manual_seed(0)
        network = MSA2Net(NetworkConfig.from_preset("tiny", image_size=32, num_classes=classes))
        return checkpoints.save_network(network, folder / f"{name}.safetensors", **told)

    return write


@pytest.fixture
def color(tmp_path):
    path = tmp_path / "skin.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def example(root):
    return root / "data" / "example_ct" / "img" / "img0002.nii.gz"


def test_shipped_network_says_what_it_was_trained_on(root):
    """And it is the description of today's virtual patients."""
    told = checkpoints.read_fingerprint(checkpoints.SHIPPED_TINY)
    assert told == describe(open_dataset("virtual", root / "data", progress=False))
    assert (told.kind, told.modality) == ("scans", "CT")
    assert told.pixel_mm == (Range(3, 3, 3), Range(3, 3, 3))
    assert (told.length_mm.lowest, told.length_mm.highest) == (162, 177)  # 54 to 59 slices
    assert [r.median for r in told.field_of_view_mm] == [303, 366]
    assert checkpoints.read_class_names(checkpoints.SHIPPED_TINY) == ORGANS


def test_training_stores_it(root, tmp_path):
    dataset = open_dataset("virtual", root / "data", progress=False)
    network = NetworkConfig.from_preset("tiny", image_size=64)
    config = TrainConfig.from_recipe("smoke", steps=1, batch_size=2)
    result = train(network, config, dataset, tmp_path / "run", progress=False)
    assert checkpoints.read_fingerprint(result.weights) == describe(dataset)
    assert checkpoints.read_class_names(result.weights) == ORGANS


def test_spread_over_cases_is_recorded(root):
    dataset = open_dataset("virtual", root / "data", progress=False)
    for index, case in enumerate(dataset.manifest["cases"].values()):
        case["spacing_mm"] = [3.0, 0.7 + 0.1 * index, 0.7]
    told = describe(dataset)  # six training cases: 0.7 to 1.2 mm along y
    assert told.pixel_mm[0] == pytest.approx((0.7, 0.95, 1.2))
    assert told.field_of_view_mm[0] == pytest.approx((70.7, 95.95, 121.2))
    assert told.pixel_mm[1] == (0.7, 0.7, 0.7)


def test_data_of_others_have_no_lengths(root, tmp_path):
    virtual = open_dataset("virtual", root / "data", progress=False)
    folder = store_as_others(virtual, virtual.test_cases[:1], tmp_path / "theirs", "A")
    told = describe(type(virtual).open(folder))
    assert (told.kind, told.pixel_mm, told.field_of_view_mm) == ("scans", None, None)
    assert told.window == {"low": -125.0, "high": 275.0, "unit": "HU"}
    assert describe(object()) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "scans"}', '{"pixel_mm": 3, "field_of_view_mm": null}'])
def test_damaged_description(save, text, refused):
    path = save("damaged", 9)
    tensors = load_file(path)
    with checkpoints.safe_open(path, "pt") as handle:
        metadata = dict(handle.metadata())
    save_file(tensors, path, metadata | {"fingerprint": text})
    refused([path, "damaged"], checkpoints.read_fingerprint, path)


def test_description_comes_back():
    window = {"low": 0.5, "high": 99.5, "unit": "percentile"}
    pixel, field = (Range(0.6, 0.7, 0.8),) * 2, (Range(300, 350, 400), Range(310, 350, 400))
    told = DatasetFingerprint(
        "scans", "MR", window, None, (224, 224), Range(2.5, 3, 5), Range(200, 300, 400), pixel, field
    )
    assert DatasetFingerprint.from_json(told.to_json()) == told
    assert json.loads(told.to_json())["slice_mm"] == [2.5, 3, 5]


def test_range_counts_only_what_lies_outside():
    spread = Range(2.0, 3.0, 4.0)
    assert [spread.excess(value) for value in (1.0, 2.0, 3.5, 4.0, 6.0)] == [2.0, 1.0, 1.0, 1.0, 1.5]


# ---- what does not go together ------------------------------------------------------------------------------


def test_color_image_and_a_network_for_scans(color, refused):
    refused([color, "is a color image", "tiny.safetensors (aorta,", "trained on scans"], predict_file, color)


def test_scan_and_a_network_for_images(save, example, refused):
    for told in ({"class_names": ("lesion",)}, {"fingerprint": DatasetFingerprint("images")}):
        path = save("images", 2, **told)
        refused([example, "is a scan", path.name, "color images"], predict_file, example, path)


def test_classes_that_are_misnamed(save, example, refused):
    path = save("misnamed", 9, class_names=("liver", "spleen"))
    refused([path, "names 2 classes and has 8"], predict_file, example, path)


def test_window_for_a_color_image(save, color, refused):
    path = save("images", 2, class_names=("lesion",), fingerprint=DatasetFingerprint("images"))
    refused(["no window applies"], predict_file, color, path, window=(0, 100))


def test_file_that_is_no_checkpoint(example, refused):
    refused([example, "not a PyTorch file"], predict_file, example, example)
    refused(["nowhere.safetensors", "no such checkpoint"], predict_file, example, "nowhere.safetensors")


def test_device_that_is_not_there(example, refused):
    refused(["device 'tpu'"], predict_file, example, device="tpu")


# ---- what is assumed of networks that say less --------------------------------------------------------------


def test_nameless_classes(save, example):
    made = predict_file(example, save("nameless", 9), progress=False)
    assert made.class_names == ORGANS
    assert any("does not name its classes" in line and "aorta" in line for line in made.warnings)
    assert any("does not say its training data's pixel size" in line for line in made.warnings)
    other = predict_file(example, save("nameless 4", 4), progress=False)
    assert other.class_names == ("class 1", "class 2", "class 3")


@pytest.mark.usefixtures("small_forms")
def test_authors_checkpoint(tmp_path, example, monkeypatch):
    """A random network of the released form, saved as the authors save theirs: nothing is known but its classes."""
    image = tmp_path / "slice.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(example))[:, :, 9:10], str(image))
    monkeypatch.setattr(run, "predict_volume", lambda _, image, progress: np.ones(image.shape, np.uint8))
    network = MSA2Net(NetworkConfig.from_preset("released"))
    path = save_official_checkpoint(network, tmp_path / "authors.pth")
    made = predict_file(image, path, progress=False)
    assert made.class_names == ORGANS
    assert made.label.shape == (1, 512, 512)
    assert any("nothing was resampled" in line and "500 x 500 mm" in line for line in made.warnings)


# ---- images go through the recipe they were trained with --------------------------------------------------


@pytest.mark.parametrize("recipe", ["dermosegdiff", "dlka"])
def test_image_is_predicted_as_it_is_evaluated(tmp_path, save, recipe):
    """The raw image through `predict_file`, and prepared through `evaluate_images`: the same label map."""
    rng = np.random.default_rng(1)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(10):
        rows, columns = np.mgrid[:90, :120]
        mask = (rows - 40) ** 2 + (columns - 50 - number) ** 2 < 400
        image = rng.integers(60, 200, (90, 120, 3)) - 50 * mask[..., None]
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "images" / f"p{number}.png")
        Image.fromarray((255 * mask).astype(np.uint8)).save(tmp_path / "masks" / f"p{number}.png")
    prepare_images(
        tmp_path / "images",
        tmp_path / "masks",
        tmp_path / "prepared",
        recipe=recipe,
        size=48,
        workers=1,
        progress=False,
    )
    dataset = ImageDataset.open(tmp_path / "prepared")
    path = save(recipe, 2, class_names=dataset.class_names, fingerprint=describe(dataset))
    expected = evaluate_images(checkpoints.load_network(path), dataset, progress=False).predictions
    for name, label in expected.items():
        made = predict_file(tmp_path / "images" / f"{name}.png", path)
        np.testing.assert_array_equal(made.label, resize_label(label, (90, 120)))
        assert made.class_names == ("lesion",)
        assert made.warnings == ()
    assert 0 < np.mean([label.mean() for label in expected.values()]) < 1


def test_gray_image_and_a_network_for_color(tmp_path, save):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80)).astype(np.uint8)).save(tmp_path / "gray.png")
    path = save("images", 2, class_names=("lesion",), fingerprint=DatasetFingerprint("images"))
    made = predict_file(tmp_path / "gray.png", path)
    assert any("trained on color" in line for line in made.warnings)
