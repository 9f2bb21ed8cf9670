"""The identities hold on confusion matrices counted elsewhere; Table 2 is judged as rounding allows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import root
from torchmetrics.functional.classification import binary_stat_scores

from msa2net_lib.errors import InputError
from msa2net_lib.metrics import pixel_scores
from msa2net_lib.paper.consistency import (
    HALF_DIGIT,
    _residual,
    consistency_table,
    implied_prevalence_from_accuracy,
    implied_prevalence_from_dsc,
    implied_specificity,
    pooled_accuracy,
    pooled_dsc,
    prevalence_report,
)
from msa2net_lib.paper.tables import table_2

CLOSING = ["UCTransNet", "DermoSegDiff"]


def scores_of(tp, fp, fn, tn):
    """Prevalence, DSC, SE, SP, ACC by their definitions, from counts."""
    total = tp + fp + fn + tn
    return (tp + fn) / total, 2 * tp / (2 * tp + fp + fn), tp / (tp + fn), tn / (tn + fp), (tp + tn) / total


def random_counts(rng):
    """A classifier better than chance on 1e6 pixels: 2 to 60 % lesion, SE 0.5 to 0.99, SP 0.8 to 0.999."""
    lesion = int(1e6 * rng.uniform(0.02, 0.6))
    tp, tn = int(lesion * rng.uniform(0.5, 0.99)), int((10**6 - lesion) * rng.uniform(0.8, 0.999))
    return tp, 10**6 - lesion - tn, lesion - tp, tn


def test_identities_on_masks_counted_by_torchmetrics():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        target = torch.rand(3, 40, 50, generator=generator) < 0.05 + 0.04 * seed
        pred = target ^ (torch.rand(target.shape, generator=generator) < 0.2)
        tp, fp, tn, fn, _ = binary_stat_scores(pred.int(), target.int()).tolist()
        p, dsc, se, sp, acc = scores_of(tp, fp, fn, tn)
        assert pooled_accuracy(p, se, sp) == pytest.approx(acc, abs=1e-12)
        assert pooled_dsc(p, se, sp) == pytest.approx(dsc, abs=1e-12)
        ours = pixel_scores(list(pred), list(target))
        assert ours == pytest.approx({"dsc": dsc, "se": se, "sp": sp, "acc": acc}, abs=1e-12)


def test_round_trips_on_random_counts():
    rng = np.random.default_rng(0)
    p, dsc, se, sp, acc = np.array([scores_of(*random_counts(rng)) for _ in range(500)]).T
    np.testing.assert_allclose(pooled_accuracy(p, se, sp), acc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(pooled_dsc(p, se, sp), dsc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(implied_prevalence_from_dsc(dsc, se, sp), p, rtol=0, atol=1e-10)
    apart = np.abs(se - sp) > 0.01
    assert apart.sum() > 400
    found = implied_prevalence_from_accuracy(se, sp, acc)
    np.testing.assert_allclose(found[apart], p[apart], rtol=0, atol=1e-10)
    np.testing.assert_allclose(implied_specificity(dsc, se, acc), (sp, p), rtol=0, atol=1e-10)


def test_implied_specificity_is_what_a_solver_finds():
    own = table_2().loc["MSA²Net"]

    def misses(unknown):
        sp, p = unknown
        return pooled_dsc(p, own.se, sp) - own.dsc, pooled_accuracy(p, own.se, sp) - own.acc

    solved = root(misses, x0=(0.95, 0.3), tol=1e-13)
    assert solved.success
    assert implied_specificity(own.dsc, own.se, own.acc) == pytest.approx(tuple(solved.x), abs=1e-9)


def test_floats_give_floats_and_arrays_broadcast():
    assert isinstance(pooled_dsc(0.2, 0.9, 0.95), float)
    assert isinstance(implied_prevalence_from_dsc(0.8, 0.9, 0.95), float)
    assert all(isinstance(value, float) for value in implied_specificity(0.8, 0.9, 0.95))
    assert pooled_accuracy(np.linspace(0, 1, 5), 0.9, np.full((3, 1), 0.95)).shape == (3, 5)


def test_the_ends():
    assert pooled_accuracy(0, 0.3, 0.8) == 0.8
    assert pooled_accuracy(1, 0.3, 0.8) == 0.3
    assert pooled_dsc(0, 1, 1) == 1.0  # nothing there, nothing found
    assert pooled_dsc(0, 0.5, 0.9) == 0.0
    assert pooled_dsc(1, 1, 0) == 1.0
    assert np.isnan(implied_prevalence_from_accuracy(0.9, 0.9, 0.9))
    assert np.isnan(implied_prevalence_from_accuracy(0.9, 0.9, 0.95))
    assert implied_prevalence_from_accuracy(0.8, 0.9, 0.95) == pytest.approx(-0.5)
    assert np.isnan(implied_specificity(1.0, 0.9, 0.95)).all()


def test_percent_and_missing_columns_are_refused():
    with pytest.raises(InputError, match=r"se: 88 is outside 0\.\.1; give a share of one, not percent"):
        pooled_accuracy(0.2, 88.0, 0.95)
    with pytest.raises(InputError, match="table: no column sp, acc"):
        consistency_table(table_2().drop(columns=["sp", "acc"]))
    with pytest.raises(InputError, match=r"dsc: 91\.29 is outside"):
        consistency_table(table_2().assign(dsc=91.29))


def test_table_2_as_found():
    table = consistency_table(table_2())
    assert list(table.index[table.closes]) == CLOSING
    assert list(table.index[~table.acc_between]) == ["MSA²Net"]
    own = table.loc["MSA²Net"]
    assert own.acc > max(own.se, own.sp)
    assert own.prevalence_from_acc < 0
    closing = table.loc[CLOSING, ["prevalence_from_acc", "prevalence_from_dsc"]].to_numpy()
    assert np.abs(closing - [[0.2134], [0.2133]]).max() < 1.5e-4


def test_the_papers_row_closes_with_another_specificity():
    own = table_2().loc[["MSA²Net"]]
    sp, prevalence = implied_specificity(own.dsc, own.se, own.acc)
    assert sp.round(4) == [0.9857]
    assert prevalence.round(4) == [0.2134]
    table = consistency_table(own.assign(sp=0.9857)).iloc[0]
    assert table.closes
    assert table.prevalence_from_dsc == pytest.approx(0.2134, abs=2e-4)


def test_tolerance_is_the_worst_that_rounding_does():
    """Sampled inside the boxes: never beyond the tolerance, and close to it."""
    printed = table_2()
    table = consistency_table(printed)
    rng = np.random.default_rng(1)
    noise = rng.uniform(-HALF_DIGIT, HALF_DIGIT, (20_000, 4, len(printed)))
    noise[:2000] = HALF_DIGIT * np.sign(noise[:2000]) * 0.99
    dsc, se, sp, acc = (printed[c].to_numpy() + noise[:, i] for i, c in enumerate(printed.columns))
    moved = implied_prevalence_from_accuracy(se, sp, acc) - implied_prevalence_from_dsc(dsc, se, sp)
    worst = np.abs(moved - table.difference.to_numpy()).max(axis=0)
    assert (worst <= table.tolerance).all()
    assert (worst >= 0.95 * table.tolerance).all()
    assert ((moved > 0).any(axis=0) & (moved < 0).any(axis=0)).tolist() == table.closes.tolist()
    assert ((table.difference.abs() <= table.tolerance) == table.closes).all()


def test_closing_needs_no_denominator():
    """The residual is linear in every value, so its corners bound it, and zero where the prevalences agree."""
    rng = np.random.default_rng(2)
    values = rng.uniform(size=(4, 100))
    for index in range(4):
        lower, middle, upper = (values.copy() for _ in range(3))
        lower[index], middle[index], upper[index] = 0.1, 0.4, 0.7
        np.testing.assert_allclose(_residual(*lower) + _residual(*upper), 2 * _residual(*middle), atol=1e-12)
    scores = np.array([scores_of(*random_counts(rng))[1:] for _ in range(100)]).T
    np.testing.assert_allclose(_residual(*scores), 0, atol=1e-12)


def test_rounded_counts_always_close_and_a_slip_does_not():
    rng = np.random.default_rng(3)
    rows = [scores_of(*random_counts(rng))[1:] for _ in range(400)]
    rows += [scores_of(180, 20, 20, 180)[1:], scores_of(9001, 1001, 999, 8999)[1:]]  # SE equals SP, or nearly
    table = pd.DataFrame(rows, columns=["dsc", "se", "sp", "acc"]).round(4)
    judged = consistency_table(table)
    assert judged.closes.all()
    assert judged.acc_between.all()
    slipped = consistency_table(table.assign(acc=(table.acc - 0.02)))
    assert not slipped.closes.any()


def test_means_over_images_need_not_close():
    """Two images, averaged: ACC above SE and SP. So an open row alone does not prove a misprint."""
    lesion = np.zeros((2, 10, 10), bool)
    lesion[0, 0, 0] = True
    lesion[1] = True
    lesion[1, 0, 0] = False
    found = np.zeros_like(lesion)
    found[1] = True
    averaged = pixel_scores(found, lesion, average="per_image")
    assert averaged["acc"] > max(averaged["se"], averaged["sp"])
    assert not consistency_table(pd.DataFrame([averaged])).acc_between.any()
    assert consistency_table(pd.DataFrame([pixel_scores(found, lesion)]).round(4)).closes.all()


def test_prevalence_report():
    """Measured shares of a data set beside those that Table 2 implies; what was not measured says so."""
    without = prevalence_report(None).splitlines()
    assert [line.split()[-1] for line in without if "measured, " in line] == ["measured"] * 3
    assert sum(line.count("not measured") for line in without) == 6
    implied = {line.split()[2]: line.split()[3] for line in without if "implied by" in line}
    assert implied == {"UCTransNet": "0.2135", "DermoSegDiff": "0.2133", "MSA²Net": "0.2134"}
    assert without[-1].split() == ["quoted", "without", "a", "source", "0.2106"]
    shares = {"train": {"source": 0.25, "prepared": 0.2468}, "validation": {"source": 0.5, "prepared": 0.125}}
    manifest = {"prevalence": shares | {"test": {"source": None, "prepared": None}}}
    dataset: Any = SimpleNamespace(height_width=(32, 64), is_synthetic=False, root=Path("isic"), manifest=manifest)
    assert "implied" not in prevalence_report(dataset, published=False)
    lines = prevalence_report(dataset).splitlines()
    assert "(isic)" in lines[0]
    assert "32 x 64" in lines[1]
    assert [line.split()[-2:] for line in lines if "measured, " in line][:2] == [
        ["0.2500", "0.2468"],
        ["0.5000", "0.1250"],
    ]
    assert "measured, test            not measured  not measured" in "\n".join(lines)
    assert max(map(len, lines)) <= 120
