"""The drawn network: its steps against independent runs and counts, its sheet by what stands where."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, Rectangle

from msa2net_lib import MSA2Net
from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l08_network import diagram
from msa2net_lib.lessons.l08_network.diagram import draw, walk
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.viz import plots

SIZE = (64, 96)  # not square, so that height and width cannot be taken for each other
LEVEL_3 = {f"{part} 3" for part in ("linear", "gate", "norm", "blocks")}


def build(preset, size=SIZE, **overrides):
    torch.manual_seed(0)
    return MSA2Net.from_preset(preset, image_size=size, **overrides)


def with_levels(preset="tiny", **changes):
    """A tiny network with the levels of ``preset``; level_1={"gate": "addition"} changes one of them."""
    levels = [vars(level) for level in NetworkConfig.from_preset(preset).levels]
    return build("tiny", levels=[level | changes.get(f"level_{i}", {}) for i, level in enumerate(levels)])


@pytest.fixture(scope="module")
def image():
    return torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tiny():
    return build("tiny")


@pytest.fixture(scope="module")
def steps(tiny, image):
    return walk(tiny, image)


@pytest.fixture(scope="module")
def published(image):
    network = build("published")
    return count_parameters(network), walk(network, image)


def by_name(steps):
    return {step.name: step for step in steps}


def hooks_of(network):
    return [hook for module in network.modules() for hook in module._forward_hooks.values()]


def unused_names(steps):
    return {step.name for step in steps if not step.runs}


def test_encoder_shapes_are_the_encoders(tiny, image, steps):
    with torch.no_grad():
        maps = tiny.eval().encoder(image)
    assert [step.shape for step in steps if step.kind == "encoder"] == [tuple(m.shape[1:]) for m in maps]
    assert by_name(steps)["input"].shape == (1, *SIZE)
    assert by_name(steps)["stem"].shape[1:] == (32, 48)


def test_decoder_shapes_follow_from_the_grid(tiny, steps):
    """Level i has the encoder's channels on 1/4 to 1/32 of the image; an expansion puts out the next level's shape."""
    named = by_name(steps)
    shapes = [(c, SIZE[0] // r, SIZE[1] // r) for c, r in zip(tiny.encoder.channels, (4, 8, 16, 32), strict=True)]
    for level, shape in enumerate(shapes):
        for part in ("linear", "gate", "norm", "blocks"):
            assert f"{part} {level}" not in named or named[f"{part} {level}"].shape == shape
        below = (tiny.encoder.channels[0], *SIZE) if level == 0 else shapes[level - 1]
        assert named[f"expansion {level}"].shape == below
    assert named["head"].shape == (tiny.config.num_classes, *SIZE)


def test_steps_come_in_order_of_data_flow(steps):
    names = [step.name for step in steps]
    stages = [f"encoder stage {i}" for i in (1, 2, 3, 4)]
    level = ["linear {}", "gate {}", "norm {}", "blocks {}", "expansion {}"]
    decoder = ["blocks 3", "expansion 3", *(part.format(i) for i in (2, 1, 0) for part in level)]
    assert names == ["input", "stem", *stages, *decoder, "head"]


@pytest.mark.parametrize("preset", ["tiny", "paper", "released"])
def test_every_parameter_belongs_to_one_step(preset, image):
    network = build(preset)
    assert sum(step.parameters for step in walk(network, image)) == count_parameters(network)


def test_idle_parts_of_the_published_network(published):
    """Table 1's network: 112.77 M parameters, of which 36.16 M never run."""
    total, steps = published
    assert sum(step.parameters for step in steps) == total == 112_767_981
    assert unused_names(steps) == LEVEL_3 | {"gray stem"}
    assert sum(step.parameters for step in steps if not step.runs) == 36_161_315
    assert all((step.shape is None) == (not step.runs) for step in steps)


def test_an_idle_gate_leaves_linear_and_norm_running(image):
    """Level 2 of the released code adds the skip as it is."""
    steps = walk(with_levels("released"), image)
    assert unused_names(steps) == LEVEL_3 | {"gate 2"}
    assert by_name(steps)["norm 2"].what == "LayerNorm(g + x)"
    assert by_name(steps)["norm 1"].what == "LayerNorm(g + y)"


def test_running_is_observed_not_read_from_the_config(image, monkeypatch):
    network = build("tiny")
    monkeypatch.setattr(network.decoder.levels[1], "refine", lambda tokens, grid: tokens)
    assert unused_names(walk(network, image)) == {"blocks 1"}


def test_parts_are_named_by_their_classes(published, image):
    named = by_name(published[1])
    assert named["gate 1"].what == "MASAG"
    assert named["blocks 1"].what == "LKABlock × 2"
    assert named["blocks 2"].what == "DualAttentionBlock × 2"
    assert named["encoder stage 3"].what == "MaxxVitBlock × 5"
    assert named["expansion 0"].what == "PatchExpand, grid × 4"
    addition = by_name(walk(with_levels(level_1={"gate": "addition"}), image))["gate 1"]
    assert (addition.what, addition.parameters, addition.runs) == ("Addition", 0, True)
    assert "blocks 0" not in by_name(walk(with_levels(level_0={"block": "none"}), image))


@pytest.mark.parametrize("bad", [(1, 1, 64, 64), (2, 1, *SIZE), (1, 2, *SIZE), SIZE])
def test_hooks_and_modes_survive_an_error(bad):
    network = build("tiny").train()
    network.encoder.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    with pytest.raises(InputError):
        walk(network, torch.rand(bad))
    assert not hooks_of(network)
    assert {name: module.training for name, module in network.named_modules()} == modes


def test_walking_changes_nothing(image):
    network = build("tiny").train()
    network.encoder.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    before = {key: value.clone() for key, value in network.state_dict().items()}
    walk(network, image)
    assert not hooks_of(network)
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_pictures_lie_on_the_image(tiny, image, steps):
    """Each picture against the same map, taken by hand: pixels in their places, tokens row by row."""
    named, level = by_name(steps), tiny.decoder.levels[0]
    with torch.no_grad():
        maps = tiny.eval().encoder(image)
        tokens = rearrange(maps[3], "b c h w -> b (h w) c")
        for i in (3, 2, 1):
            tokens = tiny.decoder.levels[i](tokens, tuple(maps[i].shape[-2:]), None if i == 3 else maps[i])
        below = rearrange(tokens[0], "(h w) c -> c h w", h=SIZE[0] // 4)
        g = level.gating_features(tokens, (SIZE[0] // 4, SIZE[1] // 4))
        expected = {"encoder stage 4": maps[3][0], "expansion 1": below, "gate 0": level.gate(maps[0], g)[0]}
        expected |= {"linear 0": g[0], "head": tiny(image)[0]}
    for name, features in expected.items():
        values = features.numpy()
        away = np.sqrt(((values - values.mean((1, 2), keepdims=True)) ** 2).mean(0))
        np.testing.assert_allclose(named[name].picture, away, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(named["input"].picture, image[0, 0].numpy())


def test_reinterpreted_maps_are_no_pictures(published):
    shown = {step.name for step in published[1] if step.picture is not None}
    assert shown == {"input", "stem", "head"} | {f"encoder stage {i}" for i in (1, 2, 3, 4)}


def test_color_images_walk_too(tiny):
    step = walk(tiny, torch.rand(1, 3, *SIZE))[0]
    assert step.shape == (3, *SIZE)
    assert step.picture is not None
    assert step.picture.shape == SIZE


@pytest.fixture(scope="module", params=["tiny", "tiny without pictures", "published", "released", "odd"])
def sheet(request, image, steps, published):
    """Steps, their drawing, and whether it shows pictures."""
    if request.param == "odd":  # what no preset has: no blocks, unused blocks, blocks beside an unused gate
        deepest = {"gate": "masag", "unused": ("linear", "gate", "norm")}
        odd = with_levels(level_0={"block": "none"}, level_1={"unused": ("blocks",)}, level_3=deepest)
        steps = walk(odd, image)
    elif request.param == "published":
        steps = published[1]
    elif request.param == "released":
        steps = walk(with_levels("released"), image)
    thumbnails = request.param != "tiny without pictures"
    figure = draw(steps, f"MSA²Net, preset {request.param}", plots.VIRTUAL, thumbnails)
    FigureCanvasAgg(figure).draw()
    return steps, figure, thumbnails


def texts(figure):
    return [text for text in [*figure.texts, *figure.axes[0].texts] if text.get_text()] + [figure._suptitle]


def test_the_sheet_names_every_step(sheet):
    steps, figure, _ = sheet
    written = [text.get_text() for text in figure.axes[0].texts]
    for step in steps:
        details = written[written.index(step.name) + 1].splitlines()
        assert " ".join(details[:-2]) == step.what
        assert details[-2] == (" × ".join(map(str, step.shape)) if step.shape else "never runs")
        assert details[-1].endswith("parameters")
    assert figure.get_suptitle() == plots.VIRTUAL


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0 k"),
        (447_800, "447.8 k"),
        (999_949, "999.9 k"),
        (999_950, "1.00 M"),
        (112_767_981, "112.77 M"),
    ],
)
def test_counts_are_rounded(count, text):
    assert diagram._short(count) == text


def test_totals_are_written(published):
    written = "\n".join(t.get_text() for t in draw(published[1], "title", "source").axes[0].texts)
    assert "112.77 M parameters in all; the hatched boxes' 36.16 M never run." in written


def test_idle_parts_are_hatched_and_dashed(sheet):
    steps, figure, _ = sheet
    hatched = [p for p in figure.axes[0].patches if p.get_hatch()]
    assert len(hatched) == len(unused_names(steps))
    assert all(p.get_linestyle() == "--" for p in hatched)


def test_pictures_are_drawn_as_they_are(sheet):
    steps, figure, thumbnails = sheet
    pictures = [step.picture for step in steps if step.picture is not None and thumbnails]
    drawn = figure.axes[0].images
    assert len(drawn) == len(pictures)
    for shown, picture in zip(drawn, pictures, strict=True):
        np.testing.assert_array_equal(shown.get_array(), picture)
        left, right, bottom, top = shown.get_extent()
        assert shown.origin == "upper"
        assert (top - bottom) / (right - left) == pytest.approx(picture.shape[0] / picture.shape[1])


def test_texts_are_legible(sheet):
    """None too small, none outside the figure, no two on each other."""
    _, figure, _ = sheet
    assert 10 <= figure.get_figwidth() <= 11
    assert min(text.get_fontsize() for text in texts(figure)) >= 7
    places = {text: text.get_window_extent() for text in set(texts(figure))}
    for text, place in places.items():
        inside = (
            figure.bbox.x0 <= place.x0 < place.x1 <= figure.bbox.x1
            and figure.bbox.y0 <= place.y0 < place.y1 <= figure.bbox.y1
        )
        assert inside, text.get_text()
    for one, two in itertools.combinations(places, 2):
        # Lines of one box may touch; a pixel and a half of line spacing is not ink.
        assert not places[one].padded(-1.5).overlaps(places[two].padded(-1.5)), (one.get_text(), two.get_text())


def test_texts_stay_in_their_box_and_off_the_pictures(sheet):
    steps, figure, _ = sheet
    ax = figure.axes[0]
    boxes, _ = diagram._boxes(steps)
    written = [text.get_text() for text in ax.texts]
    pictures = [shown.get_window_extent() for shown in ax.images]
    for step in steps:
        first = written.index(step.name)
        box = boxes[step.name]
        (left, bottom), (right, top) = ax.transData.transform([box.at(0, 0), box.at(1, 1)])
        for text in ax.texts[first : first + 2]:
            place = text.get_window_extent()
            assert left < place.x0 < place.x1 < right, text.get_text()
            assert bottom < place.y0 < place.y1 < top, text.get_text()
            assert not any(place.overlaps(picture) for picture in pictures), text.get_text()


def test_arrows_join_running_boxes_and_cross_none(sheet):
    steps, figure, _ = sheet
    boxes, _ = diagram._boxes(steps)
    running = [boxes[step.name] for step in steps if step.runs]

    def on_edge(point, box):
        x, y = (point[0] - box.left) / box.width, (point[1] - box.bottom) / box.height
        inside = -1e-6 <= x <= 1 + 1e-6 and -1e-6 <= y <= 1 + 1e-6
        return inside and min(abs(x), abs(x - 1), abs(y), abs(y - 1)) < 1e-6

    patches: list[Any] = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    arrows = [patch._path_original.vertices for patch in patches]
    ends = 0
    for path in arrows:
        assert any(on_edge(path[0], box) for box in running)
        ends += any(on_edge(path[-1], box) for box in running)
        for start, end in itertools.pairwise(path):
            for share in np.linspace(0.02, 0.98, 49):
                x, y = start + share * (end - start)
                for name, box in boxes.items():
                    crossed = box.left < x < box.left + box.width and box.bottom < y < box.bottom + box.height
                    assert not crossed, name
    assert ends == len(arrows) - 1  # the logits leave the sheet


def test_the_arrows_tell_who_reads_whom(tiny, image):
    """What the drawing says in arrows, seen on the tensors: gate(x, g), norm(g + y), blocks, expansion, linear."""
    seen = {}
    parts = {
        f"{part}{i}": getattr(level, part)
        for i, level in enumerate(tiny.decoder.levels)
        for part in ("linear", "gate", "norm", "expand")
    }
    handles = [
        module.register_forward_hook(lambda _, given, out, name=name: seen.__setitem__(name, (given, out)))
        for name, module in parts.items()
        if module is not None
    ]
    with torch.no_grad():
        maps = tiny.eval().encoder(image)
        tiny(image)
    for handle in handles:
        handle.remove()
    for level in (0, 1, 2):
        torch.testing.assert_close(seen[f"linear{level}"][0][0], seen[f"expand{level + 1}"][1])
        x, g = seen[f"gate{level}"][0]
        torch.testing.assert_close(x, maps[level])
        torch.testing.assert_close(rearrange(g, "b c h w -> b (h w) c"), seen[f"linear{level}"][1])
        y = seen[f"gate{level}"][1]
        torch.testing.assert_close(seen[f"norm{level}"][0][0], rearrange(g + y, "b c h w -> b (h w) c"))


def test_bands_hold_one_grid_each(steps):
    """A step stands in the band of its output's grid (the stem, at half the image, in the image's)."""
    boxes, bands = diagram._boxes(steps)
    for step in steps:
        level = {SIZE[0] // 4: 0, SIZE[0] // 8: 1, SIZE[0] // 16: 2, SIZE[0] // 32: 3}.get(step.shape[1], -1)
        band, box = bands[level], boxes[step.name]
        assert band.bottom < box.bottom < box.bottom + box.height < band.bottom + band.height
    assert all(isinstance(p, Rectangle | FancyArrowPatch) for p in draw(steps, "t", "s").axes[0].patches)
