"""Heat maps of a study: by planted cases, arithmetic, and the same numbers on another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from heat_map_tables import CASCADE, REGIONS, SUMMARY
from scipy import stats

from msa2net_lib.analysis.grad_cam import grad_cam
from msa2net_lib.analysis.layers import LAST, Place
from msa2net_lib.analysis.saliency import chance_likeness, pointing, share_inside
from msa2net_lib.analysis.slice_study import network_input
from msa2net_lib.data.resize import normalize, resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l14_grad_cam import study as heat_maps

FEW = (LAST, "level 1 block 2")


def test_targets_are_the_organs_of_the_label(study):
    targets = heat_maps.study_targets(study)
    assert {organ: index for organ, (index, _) in targets.items()} == {"aorta": 1, "liver": 5}
    assert np.array_equal(targets["liver"][1], study.label == 5)
    with pytest.raises(InputError, match="spleen: is not in this slice"):
        heat_maps.study_targets(study, ["liver", "spleen"])
    with pytest.raises(InputError, match="organ 'lung' is unknown"):
        heat_maps.study_targets(study, ["lung"])


def test_organs_are_the_data_sets(other_study):
    views = heat_maps.organ_views(other_study)
    assert {view.organ for view in views} == set(other_study.organs) <= {"stone", "root", "leaf"}


def test_innermost_pixel_lies_within_a_bent_organ():
    """The centroid of a ring is outside of it; the innermost pixel must not be."""
    rows, columns = np.indices((21, 21)) - 10
    ring = (np.hypot(rows, columns) < 9) & (np.hypot(rows, columns) > 4)
    assert ring[heat_maps.innermost(ring)]
    whole = np.ones((5, 9), bool)
    assert heat_maps.innermost(whole)[0] == 2


def test_views_are_smallest_first_and_agree_with_grad_cam(study):
    views = heat_maps.organ_views(study)
    assert [view.organ for view in views] == ["aorta", "liver"]
    pixels = torch.from_numpy(normalize(study.image))[None, None]
    liver = views[1]
    expected = grad_cam(study.network, pixels, study.label == 5, 5).values[0].numpy()
    np.testing.assert_allclose(liver.heat, expected, rtol=1e-4, atol=1e-6)
    assert liver.truth[liver.center]
    assert liver.field.shape == study.image.shape
    assert liver.field.min() >= 0
    seen = pixels.clone().requires_grad_()
    study.network(seen)[0, 5][liver.center].backward()
    assert seen.grad is not None
    np.testing.assert_allclose(liver.field, seen.grad[0, 0].abs(), rtol=1e-3, atol=1e-5 * float(liver.field.max()))
    with torch.no_grad():
        predicted = study.network(pixels).argmax(dim=1)[0].numpy()
    assert np.array_equal(liver.predicted, predicted == 5)
    assert 0 < liver.attention.min() < liver.attention.max() < 1


def test_localization_scores_each_slice_that_has_the_organ(study, noise_case):
    """Two slices have the liver and one the aorta; a row is as computed by hand."""
    table = heat_maps.localization(study.network, noise_case, count=5, layers=FEW)
    assert table.groupby("organ").z.unique().map(list).to_dict() == {"aorta": [1], "liver": [1, 2]}
    assert len(table) == 3 * (len(FEW) + 3)
    size = study.network.config.height_width
    image, label = resize_image(noise_case.image[1], size), resize_label(noise_case.label[1], size)
    pixels = torch.from_numpy(normalize(image))[None, None]
    heat = grad_cam(study.network, pixels, label == 1, 1, "level 1 block 2").values[0].numpy()
    row = table[(table.organ == "aorta") & (table["map"] == "level 1 block 2")].iloc[0]
    np.testing.assert_allclose(row.inside, share_inside(heat, label == 1), rtol=1e-4)
    np.testing.assert_allclose(row.pointing, pointing(heat, label == 1))
    flat = table[(table["map"] == heat_maps.FLAT) & (table.z == 1)].set_index("organ").inside
    assert flat["liver"] == pytest.approx((label == 5).mean())


def test_summary_counts_organs_alike_and_maps_without_heat_as_nothing():
    rows = [("a", "m", z, value, 1.0) for z, value in enumerate((0.2, np.nan, 0.4, 0.2))] + [("b", "m", 0, 1.0, 0.0)]
    table = pd.DataFrame(rows, columns=["organ", "map", "z", "inside", "pointing"])
    table.loc[1, "pointing"] = np.nan
    summary = heat_maps.localization_summary(table)
    assert summary.inside["m"] == pytest.approx((0.2 + 1.0) / 2)
    assert summary.pointing["m"] == pytest.approx((0.75 + 0.0) / 2)
    assert summary["empty"]["m"] == pytest.approx(0.125)


def test_the_last_layer_does_not_care_about_the_region_and_coarser_ones_do(study):
    regions = heat_maps.region_dependence(study, FEW)
    np.testing.assert_allclose(regions.loc[LAST], 1.0, atol=1e-3)
    assert regions.corner["level 1 block 2"] < 0.99


def test_parts_are_reinitialized_and_the_finest_stage_matters_more_than_the_deepest(study, monkeypatch):
    """The gate of level 2 stands before most of the decoder and after the encoder: both reach its map."""
    two = {name: (name,) for name in ("encoder stage 4", "encoder stage 1")}
    monkeypatch.setattr(heat_maps, "reinitialized_steps", lambda network, mode: two)
    table = heat_maps.randomization_table(study, "independent", [0], ["level 2 gate"], ["liver"])
    assert list(table.columns) == ["mode", "part", "seed", "organ", "layer", "rank", "ssim", "inside", "empty"]
    assert table.set_index("part")["rank"]["encoder stage 4"] > table.set_index("part")["rank"]["encoder stage 1"]
    assert table["rank"].between(0, 1).all()


def test_two_sets_of_maps_compared():
    rng = np.random.default_rng(0)
    maps = {"a": rng.random((16, 16)), "b": rng.random((16, 16))}
    assert heat_maps.similarity(maps, maps) == pytest.approx((1, 1))
    assert heat_maps.similarity(maps, {name: -values for name, values in maps.items()})[0] == pytest.approx(1)
    assert heat_maps.similarity(maps, {name: np.zeros((16, 16)) for name in maps}) == (0, 0)


def test_a_mixture_of_classes_moves_the_map(study):
    """The region is the liver's; weighed twenty times, the aorta's logit draws the map."""
    pixels = torch.from_numpy(normalize(study.image))[None, None]
    expand = study.network.decoder.levels[0].expand
    mixed = heat_maps.mixed_classes(study, {"liver": 2.0, "aorta": -1.0})
    with torch.no_grad():
        logits, mixture = study.network(pixels), mixed(pixels)
    torch.testing.assert_close(mixture[:, 0], 2 * logits[:, 5] - logits[:, 1], rtol=1e-4, atol=1e-4)
    place = Place(expand, study.network.config.height_width)
    aorta = grad_cam(heat_maps.mixed_classes(study, {"aorta": 1.0}), pixels, study.label == 5, 0, place)
    own = grad_cam(study.network, pixels, study.label == 5, 1, place)
    torch.testing.assert_close(aorta.values, own.values, rtol=1e-4, atol=1e-5)


def test_millimeters_follow_the_resize(noise_case):
    assert heat_maps.pixel_spacing(noise_case, (192, 48)) == (1.5, 6.0)


def test_the_gates_map_is_the_traces(study):
    own = study.traces[0].attention[0].mean(dim=0).numpy()
    assert heat_maps.gate_map(study).mean() == pytest.approx(own.mean(), rel=2e-2)
    with pytest.raises(InputError, match="level 3 has no MASAG"):
        heat_maps.gate_map(study, 3)


def test_conclusions_follow_from_the_numbers():
    assert list(heat_maps.survivors(CASCADE, "head").index) == [heat_maps.LAYERS[1], heat_maps.LAYERS[0]]
    concluded = heat_maps.conclusions(SUMMARY, CASCADE, REGIONS)
    assert concluded.reinitialized.tolist() == pytest.approx([0.15, 0.75])
    assert concluded.lowest.tolist() == pytest.approx([0.1, 0.7])
    assert concluded.highest.tolist() == pytest.approx([0.2, 0.8])
    first, second = heat_maps.sentences(concluded)
    same, depends = "is the same whatever region is asked about", "depends on the region asked about"
    assert first == f"{heat_maps.LAYERS[0]}: finds its organ, needs the trained weights, {same}"
    assert second == f"{heat_maps.LAYERS[1]}: does not find its organ, looks alike with random weights, {depends}"


def test_seeds_on_both_sides_of_the_threshold_give_no_conclusion():
    """Means of 0.54 and 0.46, each from a seed below one half and one above: neither says anything."""
    apart = [("stem", seed, heat_maps.LAYERS[0], rank) for seed, rank in enumerate((0.40, 0.68))]
    apart += [("stem", seed, heat_maps.LAYERS[1], rank) for seed, rank in enumerate((0.60, 0.32))]
    cascade = pd.DataFrame(apart, columns=["part", "seed", "layer", "rank"])
    concluded = heat_maps.conclusions(SUMMARY, cascade, REGIONS)
    for told in heat_maps.sentences(concluded):
        assert "not clear whether it needs the trained weights" in told


def test_the_sentence_of_localization_is_arithmetic():
    rows = [("aorta", 0.1, 1.0), ("aorta", 0.3, 0.5), ("liver", 0.8, 1.0), ("liver", np.nan, np.nan)]
    table = pd.DataFrame([(organ, "m", *row) for organ, *row in rows], columns=["organ", "map", "inside", "pointing"])
    assert heat_maps.localization_sentence(table, "m") == (
        "m: its largest value lies in the organ in 2 of 4 maps; "
        "of its heat, what lies inside is 20% (aorta) to 40% (liver), 30% on average"
    )


def test_localization_over_cases_is_each_cases_own_and_their_mean(study, noise_case):
    second = replace(noise_case, name="second", image=1 - noise_case.image)
    table = heat_maps.localization_over(study.network, [noise_case, second], 4, FEW)
    alone = heat_maps.localization(study.network, second, 2, FEW)
    pd.testing.assert_frame_equal(table[table.case == "second"].drop(columns="case").reset_index(drop=True), alone)
    by_case = [heat_maps.localization_summary(rows).loc[LAST] for _, rows in table.groupby("case", sort=False)]
    found = heat_maps.over_cases(table, LAST)
    for key in ("inside", "pointing"):
        mean, low, high = found[key]
        values = [float(row[key]) for row in by_case]
        assert mean == pytest.approx(np.mean(values))
        reach = stats.t.ppf(0.975, 1) * np.std(values, ddof=1) / np.sqrt(2)
        assert (low, high) == pytest.approx((mean - reach, mean + reach))


def test_chance_is_each_layers_own_grids(study):
    found = heat_maps.layer_chances(study.network, FEW)
    height = study.network.config.height_width[0]
    assert found == {layer: chance_likeness((height // factor,) * 2) for layer, factor in zip(FEW, (1, 8), strict=True)}


def test_likeness_to_what_needs_no_explanation(study):
    table = heat_maps.baseline_similarity(study, FEW)
    assert list(table.index) == list(FEW)
    assert table.abs().to_numpy().max() <= 1
    pixels, targets = network_input(study.network, study.image[None]), heat_maps.study_targets(study)
    heat = heat_maps.heat_maps(study.network, pixels, targets, FEW)
    with torch.inference_mode():
        probabilities = study.network(pixels)[0].softmax(dim=0).numpy()
    ranks = [
        stats.spearmanr(heat[organ][LAST][0], probabilities[index], axis=None).statistic
        for organ, (index, _) in targets.items()
    ]
    assert table.loc[LAST, "rank, probability"] == pytest.approx(np.mean(ranks), abs=1e-6)
