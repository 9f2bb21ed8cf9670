"""A slice under study: traced as the network runs, and drawn where it lies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msa2net_lib.analysis.slice_study import study_slice
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.resize import normalize, resize_image
from msa2net_lib.errors import InputError
from msa2net_lib.viz.maps import DIVERGING, Panel, channel_map, plot_maps


def test_traces_are_what_the_network_computes(study):
    """The finest gate's output, put through the rest of the network, gives the network's own logits."""
    assert study.levels == [0, 1, 2]
    pixels = torch.from_numpy(normalize(study.image))[None, None]
    for level, trace in study.traces.items():
        module = study.gate(level)
        with torch.inference_mode():
            torch.testing.assert_close(module(trace.x, trace.g), trace.output)
            torch.testing.assert_close(study.network.encoder(pixels)[level], trace.x)
    assert not study.network.training


def test_labels_organs_and_sizes(study):
    assert study.image.shape == study.label.shape == study.network.config.height_width
    assert study.organs == ["liver", "aorta"]
    assert study.label_at(1).shape == study.traces[1].x.shape[-2:]
    assert set(np.unique(study.label_at(0))) == {0, ORGANS.index("liver") + 1, ORGANS.index("aorta") + 1}
    with pytest.raises(InputError, match="level 3 has no MASAG: use one of 0, 1, 2"):
        study.gate(3)


def test_a_slice_that_is_not_there_is_named(study):
    case = Case("case", np.zeros((2, 64, 64), np.float32), np.zeros((2, 64, 64), np.uint8), None)
    with pytest.raises(InputError, match="z=2: case has slices 0 to 1"):
        study_slice(study.network, case, 2, "")


def test_the_slice_is_resized_as_for_training(study):
    case = Case(
        "c", np.random.default_rng(1).random((1, 100, 90), dtype=np.float32), np.zeros((1, 100, 90), np.uint8), None
    )
    found = study_slice(study.network, case, 0, "")
    np.testing.assert_array_equal(found.image, resize_image(case.image[0], study.network.config.height_width))


def test_channel_maps_against_numpy():
    x = torch.randn(1, 5, 3, 4)
    array = x.numpy()[0]
    np.testing.assert_allclose(channel_map(x), np.sqrt((array**2).mean(0)), rtol=1e-6)
    np.testing.assert_allclose(channel_map(x, "mean"), array.mean(0), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(channel_map(x, 3), array[3])
    for channel in (5, "max"):
        with pytest.raises(InputError, match="use 'rms', 'mean' or a number from 0 to 4"):
            channel_map(x, channel)


def test_maps_lie_on_the_slice_and_show_their_values(study):
    weight = study.traces[2].weight_x[0, 0].numpy()
    signed = np.array([[-3.0, 1.0], [0.5, 2.0]])
    figure = plot_maps(
        study, {"one": [Panel(weight, "weight", limits=(0, 1))], "two": [Panel(signed, "b", DIVERGING)] * 2}
    )
    images = {ax.get_title(): ax.images[0] for ax in figure.axes if ax.images and ax.get_title()}
    assert set(images) == {"case, slice 1", "weight", "b"}
    np.testing.assert_array_equal(images["weight"].get_array(), weight)
    assert images["weight"].get_clim() == (0, 1)
    assert images["b"].get_clim() == (-3, 3)
    height, width = study.image.shape
    assert list(images["weight"].get_extent()) == [-0.5, width - 0.5, height - 0.5, -0.5]
    assert "noise of this test" in [text.get_text() for text in figure.texts]


def test_panels_are_broken_into_rows(study):
    figure = plot_maps(study, [Panel(np.eye(2), str(i)) for i in range(5)], columns=3)
    titles = [ax.get_title() for ax in figure.axes[:6]]
    assert titles == ["case, slice 1", "0", "1", "2", "3", "4"]
