"""The boundary loss's figures: shapes and errors are what they say, the curves are the library's own numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l09_boundary_loss.plots import (
    RADII,
    _spread,
    plot_alpha,
    plot_boundary,
    plot_floor,
    plot_gradients,
    plot_organ_alphas,
    plot_shifts,
)
from msa2net_lib.lessons.l09_boundary_loss.study import (
    COMPARED,
    ERRORS,
    GRID,
    SHAPES,
    alpha_of,
    boundary,
    class_losses,
    corrupt,
    draw_shape,
    drawn_logits,
    loss_and_gradient,
    loss_floor,
    slice_losses,
    soft_dice_loss,
)
from msa2net_lib.losses import BoundaryDoULoss, boundary_alpha


@pytest.fixture
def logits_and_target():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal((2, 4, 11, 9))), torch.from_numpy(rng.integers(0, 3, (2, 11, 9)))


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_fit_grow_and_stretch(shape):
    sizes = [draw_shape(shape, radius).sum() for radius in RADII]
    assert sizes[0] >= 1
    assert sizes == sorted(sizes)
    longest = draw_shape(shape, RADII[-1], 1.5)
    assert not any(edge.any() for edge in (longest[0], longest[-1], longest[:, 0], longest[:, -1]))
    rows, columns = (np.ptp(np.nonzero(draw_shape(shape, 20, 1.5))[axis]) for axis in (0, 1))
    assert columns > 2 * rows


def test_a_square_by_hand():
    mask = draw_shape("square", 4)
    assert mask.shape == (GRID, GRID)
    assert (mask.sum(), boundary(mask).sum()) == (81, 32)
    assert alpha_of(mask) == pytest.approx(1 - 2 * 32 / 81, abs=1e-6)
    with pytest.raises(InputError, match="shape='star' is unknown: use one of disc, square"):
        draw_shape("star", 3)


@pytest.mark.parametrize("seed", range(3))
def test_boundary_counts_what_the_library_counts(seed):
    mask = np.random.default_rng(seed).random((17, 23)) < 0.9
    assert 1 - 2 * boundary(mask).sum() / mask.sum() == pytest.approx(alpha_of(mask), abs=1e-6)


def test_errors_of_a_prediction_by_hand():
    mask = np.zeros((20, 30), bool)
    mask[5:14, 8:17] = True
    shifted, shrunk, holed = (corrupt(mask, error, 2) for error in ERRORS)
    assert np.array_equal(shifted, np.roll(mask, 2, axis=1))
    assert shrunk.sum() == 25
    assert shrunk[7:12, 10:15].all()
    assert (mask & ~holed)[7:12, 10:15].all()
    assert (mask & ~holed).sum() == 25
    assert all(np.array_equal(corrupt(mask, error, 0), mask) for error in ERRORS)
    with pytest.raises(InputError, match="error='turned' is unknown: use one of shifted, shrunk, holed"):
        corrupt(mask, "turned", 1)


def test_drawn_logits_say_the_mask():
    mask = draw_shape("two discs", 20)
    logits = drawn_logits(mask)
    assert logits.dtype == torch.float64
    np.testing.assert_array_equal(logits.argmax(1)[0].numpy(), mask)
    sure = logits.softmax(1)[0, 1].numpy()
    assert sure[mask].min() > 0.5 > sure[~mask].max()
    assert sure.max() > 0.99
    assert sure.min() < 0.01


def test_class_losses_average_to_the_library_and_reach_dice_and_jaccard(logits_and_target):
    logits, target = logits_and_target
    losses = class_losses(logits, target)
    assert float(losses.mean()) == pytest.approx(float(BoundaryDoULoss(4)(logits, target)), abs=1e-12)
    assert float(losses[3]) == 1.0, "class 3 is absent"
    present = target.unique()
    assert torch.allclose(class_losses(logits, target, -1.0).mean(), soft_dice_loss(logits, target), atol=1e-6)
    p, t = logits.softmax(1), torch.nn.functional.one_hot(target, 4).movedim(-1, 1).double()
    overlap = (p * t).sum((0, 2, 3))
    union = (p**2 + t).sum((0, 2, 3)) - overlap
    assert torch.allclose(class_losses(logits, target, 0.0)[present], (1 - overlap / union)[present], atol=1e-6)


def test_alpha_one_leaves_nothing_to_learn(logits_and_target):
    logits, target = logits_and_target
    logits.requires_grad_()
    loss = class_losses(logits, target, 1.0).mean()
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == 1.0
    assert float(gradient.abs().max()) < 1e-15


@pytest.mark.parametrize("name", COMPARED)
def test_gradients_by_finite_differences(name):
    mask = draw_shape("disc", 3, size=16)
    predicted = corrupt(mask, "shifted", 2)
    loss, gradient = loss_and_gradient(name, mask, predicted)
    logits, target = drawn_logits(predicted), torch.from_numpy(mask)[None].long()
    for y, x in ((8, 6), (8, 12), (0, 0)):
        moved = logits.clone()
        moved[0, 1, y, x] += 1e-5
        assert (float(COMPARED[name](moved, target)) - loss) / 1e-5 == pytest.approx(gradient[y, x], abs=1e-7)


def test_soft_dice_of_sure_predictions_is_dice():
    a, b = draw_shape("disc", 9), corrupt(draw_shape("disc", 9), "shifted", 3)
    logits = torch.where(torch.from_numpy(np.stack([~b, b])), 1e3, -1e3)[None].double()
    by_class = [2 * (x & y).sum() / (x.sum() + y.sum()) for x, y in ((~a, ~b), (a, b))]
    assert float(soft_dice_loss(logits, torch.from_numpy(a)[None])) == pytest.approx(1 - np.mean(by_class), abs=1e-7)


def test_the_floor_is_the_loss_of_a_perfect_prediction():
    target = torch.from_numpy(np.random.default_rng(1).choice([0, 2, 5], (3, 12, 10)))
    perfect = 1e3 * torch.nn.functional.one_hot(target, 9).movedim(-1, 1).double()
    assert loss_floor(target.numpy(), 9) == pytest.approx(6 / 9)
    assert float(BoundaryDoULoss(9)(perfect, target)) == pytest.approx(6 / 9, abs=1e-6)


def test_slices_cost_what_the_loss_says():
    network = load_network(SHIPPED_TINY)
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (2, 90, 80)).astype(np.uint8)
    losses, labels = slice_losses(network, Case("case", rng.random((2, 90, 80), dtype=np.float32), label, None))
    assert [one.shape for one in labels] == [network.config.height_width] * 2
    assert all(loss > loss_floor(one, 9) for loss, one in zip(losses, labels, strict=True))
    assert all(0 < loss <= 1 for loss in losses)


def test_alpha_figure_shows_the_numbers():
    figure = plot_alpha("ring", 12, 1.2)
    mask = draw_shape("ring", 12, 1.2)
    drawn, curves, cost = figure.axes
    assert drawn.get_title() == f"{boundary(mask).sum()} boundary of {mask.sum()} pixels: alpha {alpha_of(mask):.2f}"
    assert (np.asarray(drawn.images[0].get_array()) == 2).sum() == boundary(mask).sum()
    assert curves.lines[-1].get_data()[1] == [alpha_of(mask)]
    assert {text.get_text() for text in curves.texts} == set(SHAPES)
    for line in cost.lines:
        assert np.allclose(line.get_ydata()[[0, -1]], [1, 0])
    dice = next(line for line in cost.lines if "Dice" in str(line.get_label()))
    assert np.allclose(dice.get_ydata(), 1 - np.asarray(dice.get_xdata()))
    assert "not anatomy" in figure.texts[-1].get_text() or "not anatomy" in figure.get_suptitle()


def test_labels_are_kept_apart():
    assert _spread([0.0, 0.5, 0.55, 0.6], 0.1) == pytest.approx([0.0, 0.4, 0.5, 0.6])


def test_figures_of_real_objects():
    image, mask = np.random.default_rng(0).random((40, 50)), np.zeros((40, 50), bool)
    mask[10:25, 12:30] = True
    predictions = {error: corrupt(mask, error, 2) for error in ERRORS}
    figure = plot_gradients(image, mask, predictions, "test")
    assert len([ax for ax in figure.axes if ax.images and ax.get_title()]) == 3 * 4
    loss, gradient = loss_and_gradient("BDoU", mask, predictions["holed"])
    panel = next(ax for ax in figure.axes if ax.get_title() == f"BDoU {loss:.3f}" and ax.images)
    np.testing.assert_allclose(panel.images[0].get_array(), 1e4 * gradient[2:33, 4:38])

    figure = plot_shifts({"box": mask}, range(3), "test")
    values = [loss_and_gradient("Dice loss", mask, corrupt(mask, "shifted", i))[0] for i in range(3)]
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), values)

    label = np.where(mask, 5, 0).astype(np.uint8)
    figure = plot_organ_alphas(label, (20, 40), "test")
    assert figure.axes[0].lines[0].get_label() == "liver"

    drawn = SimpleNamespace(image=image, label=label, source="test", class_names=ORGANS, organ_id=lambda _: 5)
    figure = plot_boundary(drawn, "liver")  # pyright: ignore[reportArgumentType]
    assert figure.axes[1].get_title() == f"liver: 62 boundary of {mask.sum()} pixels, alpha {alpha_of(mask):.2f}"
    assert (np.asarray(figure.axes[1].images[0].get_array()) == 2).sum() == 62

    figure = plot_floor([0.9, 0.8], [loss_floor(label * 0, 9), loss_floor(label, 9)], "test")
    floor, above = figure.axes[0].containers
    np.testing.assert_allclose([bar.get_height() for bar in floor], [8 / 9, 7 / 9])
    np.testing.assert_allclose([bar.get_y() + bar.get_height() for bar in above], [0.9, 0.8])


def test_alpha_of_library_ignores_other_images_only_through_counts():
    """Two copies of an object in a batch have the alpha of one: counts are pooled."""
    mask = torch.from_numpy(draw_shape("disc", 9))[None, None]
    assert torch.allclose(boundary_alpha(mask), boundary_alpha(torch.cat([mask, mask])), atol=1e-6)
