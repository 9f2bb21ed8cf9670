"""Prediction in batches: the released protocol slice by slice as the reference, resampling, precision, ways to run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from msa2net_lib import inference
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.volumes import read_volume, window
from msa2net_lib.errors import InputError
from msa2net_lib.inference import predict_classes, predict_image, predict_logits, predict_volume


@pytest.fixture(scope="module")
def network():
    return load_network(SHIPPED_TINY)


@pytest.fixture(scope="module")
def slices(root):
    """Five slices of each shipped patient, windowed: 101 x 122 and 512 x 512 pixels."""
    scans = [read_volume(root / "data" / "example_ct" / "img" / f"img000{number}.nii.gz") for number in (1, 2)]
    return [window(scan.array[start : start + 5]) for scan, start in zip(scans, (80, 8), strict=True)]


@torch.no_grad()
def as_released(network, volume):
    """The released test script's steps, one slice at a time, without the library's own."""
    labels = np.zeros(volume.shape, np.uint8)
    size = network.config.height_width
    for index, image in enumerate(volume):
        there = [new / old for new, old in zip(size, image.shape, strict=True)]
        small = (ndimage.zoom(image, there, order=3) - 0.5) / 0.5
        classes = network(torch.from_numpy(small)[None, None].float()).argmax(1)[0].numpy()
        back = [old / new for new, old in zip(size, image.shape, strict=True)]
        labels[index] = ndimage.zoom(classes, back, order=0)
    return labels


@pytest.mark.slow
def test_batches_are_the_released_protocol(network, slices):
    for volume in slices:
        expected = as_released(network, volume)
        assert len(np.unique(expected)) > 3
        for batch_size in (1, 3, 16):
            np.testing.assert_array_equal(predict_volume(network, volume, batch_size=batch_size), expected)


class OneClass(torch.nn.Module):
    """Stands in for a network that finds class 1 everywhere."""

    def __init__(self, size):
        super().__init__()
        self.config = SimpleNamespace(height_width=(size, size), num_classes=2)
        self.zero = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return torch.stack([self.zero.expand(images[:, 0].shape), 1 + self.zero.expand(images[:, 0].shape)], dim=1)


@pytest.mark.parametrize(("size", "shape"), [(224, (576, 512)), (224, (209, 576)), (64, (47, 78)), (48, (92, 93))])
def test_predictions_reach_the_last_row_and_column(size, shape):
    image = np.zeros(shape)
    assert predict_volume(OneClass(size), image[None]).all()
    assert predict_image(OneClass(size), np.zeros((*shape, 3))).all()
    assert predict_image(OneClass(size), image).all()


def test_by_matrices_nearly_no_label_changes(network, slices):
    """Logits differ in the fifth digit, so that a label changes only where two classes are as good as equal."""
    for volume in slices:
        exact = predict_volume(network, volume)
        assert (predict_volume(network, volume, resampling="matrix") != exact).mean() < 1e-4


def test_mixed_precision_only_on_request(network, slices):
    exact = predict_volume(network, slices[0])
    mixed = predict_volume(network, slices[0], precision="bf16")
    assert 0 < (mixed != exact).mean() < 0.01
    images = torch.rand(2, 1, *network.config.height_width)
    assert predict_logits(network, images, precision="bf16").dtype == torch.float32
    torch.testing.assert_close(predict_logits(network, images), network(images).detach(), atol=1e-4, rtol=0)


class Ways(torch.nn.Module):
    """Stands in for a network run some way; remembers the batches it was given."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.config = SimpleNamespace(height_width=(8, 8), num_classes=3)
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.batches = []

    def forward(self, image):
        self.batches.append(len(image))
        return torch.cat([self.weight * image, 0.2 - image, 0.1 * image], dim=1)


def test_a_compiled_network_sees_one_batch_size():
    """Another one would be compiled anew, for minutes."""
    volume = np.random.default_rng(0).random((7, 10, 9), dtype=np.float32)
    compiled, plain = Ways("torch.compile"), Ways("eager")
    expected = predict_volume(plain, volume, batch_size=3)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(predict_volume(compiled, volume, batch_size=3), expected)  # pyright: ignore[reportArgumentType]
    assert plain.batches == [3, 3, 1]
    assert compiled.batches == [3, 3, 3]
    predict_volume(compiled, volume[:2], batch_size=16)  # pyright: ignore[reportArgumentType]
    assert compiled.batches[-1] == 2  # no more than there are


def test_what_is_refused(network):
    volume = np.zeros((2, 9, 9), np.float32)
    with pytest.raises(InputError, match="resampling='cubic' is unknown"):
        predict_volume(network, volume, resampling="cubic")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="precision='fp16' is unknown: use fp32 or bf16"):
        predict_volume(network, volume, precision="fp16")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="precision='bf16' on a network optimized for float32"):
        predict_volume(Ways("openvino"), volume, precision="bf16")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"shape \(0, 9, 9\): give \(slices, rows, columns\)"):
        predict_volume(network, volume[:0])


class Broken(Ways):
    """Logits that are no numbers in one pixel of one class, for images brighter than the others."""

    def __init__(self, value):
        super().__init__("eager")
        self.value = value

    def forward(self, image):
        logits = super().forward(image)
        logits[image.mean((1, 2, 3)) > 0, 1, 2, 3] = self.value
        return logits


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_no_numbers_are_no_prediction(value, refused):
    """An argmax would make them background, or one class everywhere."""
    volume = np.full((5, 10, 9), 0.2, np.float32)
    volume[3:] = 0.8
    bad, said = Broken(value), "logits are not finite in {} of {} slices or images"
    assert "use another checkpoint" in refused(said.format(2, 5), predict_volume, bad, volume, batch_size=5)
    refused(said.format(1, 1), predict_image, bad, volume[4])
    inputs = torch.from_numpy(volume[:, None, :8, :8] - 0.5)
    assert "use fp32" in refused(said.format(2, 5), predict_logits, bad, inputs, precision="bf16")
    assert predict_volume(bad, volume[:3]).shape == (3, 10, 9)


def test_one_image_is_one_slice(network, slices):
    gray = slices[0][2]
    np.testing.assert_array_equal(predict_image(network, gray), predict_volume(network, slices[0])[2])
    # Gray is repeated to three channels inside, so three equal ones are the same image.
    np.testing.assert_array_equal(predict_image(network, np.stack([gray] * 3, axis=-1)), predict_image(network, gray))


def test_logits_of_one_batch_after_the_other():
    network = Ways("eager")
    images = torch.rand(5, 1, 8, 8)
    logits = predict_logits(network, images, batch_size=2)  # pyright: ignore[reportArgumentType]
    assert network.batches == [2, 2, 1]
    torch.testing.assert_close(logits, network(images).detach())
    classes = predict_classes(network, images, batch_size=2)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(classes, logits.argmax(1).numpy())


def test_memory_is_kept_from_batch_to_batch(network, monkeypatch):
    asked = []
    monkeypatch.setattr(inference, "keep_freed_memory", asked.append)
    predict_logits(network, torch.zeros(2, 1, *network.config.height_width), batch_size=1)
    assert asked == [torch.device("cpu")]
