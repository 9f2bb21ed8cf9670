"""Labels of other slices: a permutation without fixed points, and runs that can be told apart."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from heat_map_tables import PAIRS
from scipy import stats

from msa2net_lib import MSA2Net, TrainConfig
from msa2net_lib.analysis.layers import LAST
from msa2net_lib.config import NetworkConfig
from msa2net_lib.evaluation.intervals import holm
from msa2net_lib.lessons.l14_grad_cam import shuffled_study
from msa2net_lib.lessons.l14_grad_cam.shuffled_study import ADDITION, PERMUTED, TRUE, PermutedLabels
from msa2net_lib.utils.files import read_json

IDS = [f"case0001_slice{index:03d}" for index in range(9)]


class Numbered:
    """Training data whose slices carry their own number in image and label."""

    root, train_ids, class_names = "nowhere", IDS, ["organ"]

    def digest(self):
        return "0" * 64

    def training_sample(self, sample_id, size):
        number = IDS.index(sample_id)
        return np.full((1, 2, 2), number, np.float32), np.full((2, 2), number, np.uint8)


def test_every_label_is_used_once_and_none_by_its_own_slice():
    permuted = PermutedLabels(Numbered(), 3)  # pyright: ignore[reportArgumentType]
    pairs = [permuted.training_sample(name, 2) for name in IDS]
    assert [int(image[0, 0, 0]) for image, _ in pairs] == list(range(9))
    labels = [int(label[0, 0]) for _, label in pairs]
    assert sorted(labels) == list(range(9))
    assert all(label != index for index, label in enumerate(labels))


def test_seeds_are_different_data_and_the_same_seed_is_the_same():
    digests = {PermutedLabels(Numbered(), seed).digest() for seed in (1, 2, 1)}  # pyright: ignore[reportArgumentType]
    assert len(digests) == 2
    assert "0" * 64 not in digests
    again = [PermutedLabels(Numbered(), 1).label_from for _ in range(2)]  # pyright: ignore[reportArgumentType]
    assert again[0] == again[1] != PermutedLabels(Numbered(), 2).label_from  # pyright: ignore[reportArgumentType]


def test_variants_train_what_they_say(monkeypatch):
    """The trainer is replaced: what it is given is looked at."""
    given = []

    def train(network, config, data, folder, **options):
        given.append((network, data))
        return SimpleNamespace(network=MSA2Net.from_preset("tiny", image_size=64))

    monkeypatch.setattr(shuffled_study, "train", train)
    base, data = NetworkConfig.from_preset("tiny", image_size=64), Numbered()
    for variant in (TRUE, PERMUTED, ADDITION):
        shuffled_study.train_variant(variant, base, TrainConfig(seed=7), data)  # pyright: ignore[reportArgumentType]
    assert [type(one).__name__ for _, one in given] == ["Numbered", "PermutedLabels", "Numbered"]
    assert given[1][1].seed == 7
    assert [network.levels[0].gate for network, _ in given] == ["masag", "masag", "addition"]
    assert given[2][0].levels[3].gate == "none"


def test_pairs_of_networks(study, noise_case):
    """A network beside itself is 1; there is one pair of true seeds and one of true and permuted per seed."""
    other = MSA2Net.from_preset("tiny").eval()
    networks = {(TRUE, 1): study.network, (TRUE, 2): study.network, (PERMUTED, 1): other, (PERMUTED, 2): study.network}
    pairs = shuffled_study.pair_table(networks, noise_case, 3).set_index(["pair", "seeds", "layer"])["rank"]
    assert pairs["true, two seeds", "1, 2", LAST] == pytest.approx(1)
    assert pairs["true and permuted", "2", LAST] == pytest.approx(1)
    assert pairs["true and permuted", "1", LAST] < 0.9
    assert len(pairs) == 3 * len(shuffled_study.LAYERS)


def test_field_and_stored_maps(study, noise_case):
    radii = shuffled_study.field_radii(study.network, noise_case, 1)
    assert 0 < radii["radius 50%"] < radii["radius 95%"] < 128
    maps = shuffled_study.shown_maps(study.network, noise_case, 1, ["liver"], [LAST])
    values = np.array(maps[LAST]["liver"])
    assert values.shape == (128, 128)
    assert values.max() == 100
    assert values.dtype.kind == "i"


def test_wrong_labels_are_told_with_exact_p_values_for_how_many_there_are():
    tests = shuffled_study.pair_tests(PAIRS)
    by_key = tests.set_index(["layer", "measure"])
    # One pair against two: of three ways to deal them out, how many are as far apart?
    expected = {("x", "rank"): 1, ("x", "ssim"): 1, ("y", "rank"): 2, ("y", "ssim"): 1}
    assert {key: round(3 * by_key.p[key]) for key in expected} == expected
    assert set(tests.least_p) == {1 / 3}
    assert by_key.loc[("y", "rank"), ["true", "wrong"]].tolist() == pytest.approx([0.5, 0.45])
    single = tests[tests.layer != shuffled_study.POOLED]
    assert single.holm.tolist() == pytest.approx(holm(single.p).tolist())
    assert tests.holm[tests.layer == shuffled_study.POOLED].isna().all()
    told = shuffled_study.pair_sentences(PAIRS)
    assert told[0] == "x: rank correlation 0.80 and 0.35, p 0.33; SSIM 0.50 and 0.20, p 0.33"
    assert "not measured" in told[2]
    assert "after Holm's correction 0 are below 0.05" in told[3]
    assert [line.split(":")[0] for line in told[4:]] == ["mean over layers"] * 2


def test_the_measured_pairs_can_show_nothing_whatever_they_are(root):
    """Three pairs of each kind reach p = 1/20 at least, and twelve tests of it cannot survive Holm's correction."""
    pairs = pd.DataFrame(read_json(root / "benchmarks" / "results" / "shuffled_labels.json")["pairs"])
    tests = shuffled_study.pair_tests(pairs)
    assert set(tests.least_p) == {0.05}
    for row in tests[tests.layer != shuffled_study.POOLED].itertuples():
        own = pairs[pairs.layer == row.layer]
        kinds = [own[own.pair == kind][row.measure] for kind in (shuffled_study.SAME, shuffled_study.CROSSED)]
        found = stats.permutation_test(kinds, lambda one, two: np.mean(one) - np.mean(two), alternative="greater")
        assert row.p == pytest.approx(found.pvalue)
    assert (tests.holm.dropna() > 0.5).all()
