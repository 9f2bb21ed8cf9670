"""Evaluation against metrics computed by hand, its memory, and the rescaling used to explain patient 2."""

from __future__ import annotations

import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.volumes import read_volume
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation import volumes
from msa2net_lib.evaluation.table import COLUMNS
from msa2net_lib.evaluation.volumes import Evaluation, evaluate, rescaled_case, score_case
from msa2net_lib.inference import predict_volume
from msa2net_lib.metrics import score_volume
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.optimize import OptimizedNetwork


class OneCase:
    """A data set of one small case with an ellipsoid "liver" and spacing."""

    test_cases = ("case0001",)
    class_names = ORGANS

    def load_case(self, name):
        z, y, x = np.mgrid[:4, :40, :52]
        inside = ((z - 2) / 2) ** 2 + ((y - 20) / 12) ** 2 + ((x - 15) / 9) ** 2 <= 1
        rng = np.random.default_rng(0)
        image = np.clip(0.3 + 0.4 * inside + 0.05 * rng.standard_normal(inside.shape), 0, 1)
        return Case(name, image.astype(np.float32), (5 * inside).astype(np.uint8), (3.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return MSA2Net.from_preset("tiny", image_size=64).eval()


def test_evaluate_is_prediction_plus_score(network):
    result = evaluate(network, OneCase(), progress=False)  # pyright: ignore[reportArgumentType]
    case = OneCase().load_case("case0001")
    predicted = predict_volume(network, case.image)
    np.testing.assert_array_equal(result.predictions["case0001"], predicted)
    for protocol in ("paper", "strict"):
        rows = result.scores[result.scores.protocol == protocol]
        expected = score_volume(predicted, case.label, 9, protocol=protocol, spacing=case.spacing)
        np.testing.assert_array_equal(rows[["dsc", "hd95"]].to_numpy(), expected)
        # The same table in either unit, the protocol's own among them.
        for column, spacing in (("hd95_voxels", (1.0, 1.0, 1.0)), ("hd95_mm", case.spacing)):
            both = ~np.isnan(expected[:, 1]) & (expected[:, 0] > 0) & (expected[:, 0] < 1)
            measured = score_volume(predicted, case.label, 9, protocol="strict", spacing=spacing)
            np.testing.assert_allclose(rows[column].to_numpy()[both], measured[both, 1])
        own = "hd95_voxels" if protocol == "paper" else "hd95_mm"
        np.testing.assert_array_equal(rows["hd95"], rows[own])
    present = result.scores.query("protocol == 'paper'").set_index("organ").in_label
    assert list(present[present].index) == ["liver"]


@pytest.mark.parametrize("shape", [(4, 47, 40), (4, 40, 58), (4, 78, 93)])
def test_the_released_protocol_loses_the_edge_that_scipy_loses_and_no_other_does(shape):
    """From 64 pixels, `ndimage.zoom` leaves the last of 47, 58, 78 and 93 pixels empty."""

    class Full(torch.nn.Module):
        config = SimpleNamespace(num_classes=9, height_width=(64, 64))

        def __init__(self):
            super().__init__()
            self.zero = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return torch.eye(9)[5][None, :, None, None].expand(len(images), -1, 64, 64)

    label = np.full(shape, 5, np.uint8)
    dataset = SimpleNamespace(
        test_cases=("a",),
        class_names=ORGANS,
        load_case=lambda name: Case(name, np.zeros(shape, np.float32), label, (3.0, 1.0, 1.0)),
    )
    result = evaluate(Full(), dataset, progress=False)  # pyright: ignore[reportArgumentType]
    assert (result.predictions["a"] == 5).all()
    released = np.stack([ndimage.zoom(np.full((64, 64), 5), np.array(shape[1:]) / 64, order=0)] * 4)
    scores = result.scores.query("organ == 'liver'").set_index("protocol").dsc
    assert scores["strict"] == 1
    assert scores["paper"] == pytest.approx(score_volume(released, label, 9)[4, 0])
    assert scores["paper"] < 1


@pytest.mark.parametrize(
    ("pred", "label", "paper", "strict"),
    [
        ([2, 1], [2, 0], "1 of 2 scores were set by the protocol's rule: 1 predicted only: DSC 1, HD95 0", "DSC 0"),
        ([0, 0], [2, 1], "2 of 2 scores were set by the protocol's rule: 2 in the label only: DSC 0", "the diagonal"),
        ([0, 0], [0, 0], "2 of 2 scores were set by the protocol's rule: 2 in neither: DSC 0, HD95 0", "left out"),
        ([1, 0], [0, 2], "rule: 1 predicted only: DSC 1, HD95 0; 1 in the label only: DSC 0, HD95 0", "the diagonal"),
        ([1, 2], [2, 1], "", ""),
    ],
)
def test_scores_that_a_rule_set_are_counted(pred, label, paper, strict):
    pred, label = (np.array(values, np.uint8)[None, None] for values in (pred, label))
    case = Case("a", np.zeros(label.shape, np.float32), label, (1.0, 1.0, 1.0), ("one", "two"))
    rows = score_case(pred, case, ("one", "two"))
    found = Evaluation(pd.DataFrame(rows, columns=list(COLUMNS)), {})
    assert paper in found.set_by_rule("paper")
    assert strict in found.set_by_rule("strict")
    assert bool(found.set_by_rule("paper")) == bool(paper)


@pytest.mark.parametrize(("protocols", "times"), [(("paper",), 1), (("strict",), 1), (("paper", "strict"), 2)])
def test_a_volume_that_no_protocol_scores_is_not_measured(monkeypatch, protocols, times):
    """Networks whose output loses an edge have a second volume, which "paper" alone scores."""
    pred, label = np.ones((1, 2, 8), np.uint8), np.ones((1, 2, 8), np.uint8)
    released = pred.copy()
    released[..., -1] = 0
    case = Case("a", np.zeros(label.shape, np.float32), label, (1.0, 1.0, 1.0), ("one",))
    measured, measure = [], volumes.measure_volume
    monkeypatch.setattr(
        volumes, "measure_volume", lambda *given, **named: measured.append(1) or measure(*given, **named)
    )
    rows = {row[0]: row[5] for row in score_case(pred, case, ("one",), protocols, released=released)}
    assert len(measured) == times
    assert rows == {name: pytest.approx({"paper": 28 / 30, "strict": 1}[name]) for name in protocols}


@pytest.mark.parametrize(
    ("pred", "missed", "found"),
    [
        ([0, 0], (2, 2), "no organ was found"),  # whoever finds nothing has the best HD95 of all under "paper"
        ([1, 0], (1, 2), "over the organs found it is 0 "),
        ([2, 1], (0, 2), ""),
    ],
)
def test_a_missed_organ_is_counted_and_left_out_of_the_distance_over_found_ones(pred, missed, found):
    pred, label = (np.repeat(np.array(values, np.uint8), 8).reshape(1, 2, 8) for values in (pred, [1, 2]))
    case = Case("a", np.zeros(label.shape, np.float32), label, (1.0, 1.0, 1.0), ("one", "two"))
    result = Evaluation(pd.DataFrame(score_case(pred, case, ("one", "two")), columns=list(COLUMNS)), {})
    assert result.missed("paper") == result.missed("strict") == missed
    if missed == (2, 2):
        assert result.mean("paper") == (0, 0)
    for protocol, counted in (("paper", "0, the best value there is"), ("strict", "the volume's diagonal")):
        said = result.missed_warning(protocol)
        assert found in said
        assert bool(said) == bool(missed[0]) == said.startswith(f"warning: {missed[0]} of 2 organs were missed")
        assert counted in said or not missed[0]
        over = result.case_table(protocol, "hd95_voxels_found")
        assert over.isna().sum(axis=None) == missed[0]
        np.testing.assert_array_equal(over.fillna(0), result.case_table(protocol, "hd95_voxels").where(over.notna(), 0))
    summary = result.summary().query("organ == 'mean' and protocol == 'paper'").set_index("score")
    assert summary.loc["missed", "mean"] == missed[0] / 2
    assert ("hd95_mm_found" in summary.index) == (missed[0] < 2)


def test_scores_of_before_say_nothing_of_missed_organs():
    table = pd.DataFrame([("paper", "a", "liver", 0.0, 0.0)], columns=["protocol", "case", "organ", "dsc", "hd95"])
    old = Evaluation(table, {})
    assert not old.missed_warning("paper")
    with pytest.raises(InputError, match="column='missed' was not scored"):
        old.missed("paper")


def test_means_are_over_cases_first_then_organs():
    """With a case missing an organ the order matters: organ means 0.5 and 1.0, not the grand mean."""
    rows = [
        ("strict", "a", "liver", True, 0.4, 1.0),
        ("strict", "b", "liver", True, 0.6, 3.0),
        ("strict", "a", "spleen", True, 1.0, 2.0),
        ("strict", "b", "spleen", False, np.nan, np.nan),
    ]
    table = pd.DataFrame(rows, columns=["protocol", "case", "organ", "in_label", "dsc", "hd95"])
    assert Evaluation(table, {}).mean("strict") == (pytest.approx(0.75), pytest.approx(2.0))
    assert list(Evaluation(table, {}).by_case("strict").dsc) == [pytest.approx(0.7), pytest.approx(0.6)]


class ManyCases(OneCase):
    """Cases that notice whether the one before is still in memory when the next is read."""

    test_cases = ("case0001", "case0002", "case0003")

    def __init__(self):
        self.alive, self.seen = [], []

    def load_case(self, name):
        self.alive.append(sum(reference() is not None for reference in self.seen))
        case = super().load_case(name)
        self.seen += [weakref.ref(array) for array in (case.image, case.label)]
        return case


@pytest.mark.parametrize("keep", [True, False])
def test_one_case_is_in_memory_at_a_time(network, keep, monkeypatch):
    predictions = []

    def remembered(*arguments, **options):
        predicted = predict_volume(*arguments, **options)
        dataset.seen += [] if keep else [weakref.ref(predicted)]
        predictions.append(weakref.ref(predicted))
        return predicted

    dataset = ManyCases()
    monkeypatch.setattr("msa2net_lib.evaluation.volumes.predict_volume", remembered)
    result = evaluate(network, dataset, progress=False, keep_predictions=keep)  # pyright: ignore[reportArgumentType]
    assert dataset.alive == [0, 0, 0]
    assert list(result.predictions) == (list(ManyCases.test_cases) if keep else [])
    assert [reference() is not None for reference in predictions] == [keep] * 3
    assert len(result.scores) == 2 * 3 * 8


def test_predictions_are_written_where_asked(network, tmp_path):
    dataset = ManyCases()
    result = evaluate(network, dataset, progress=False, predictions_dir=tmp_path / "out")  # pyright: ignore[reportArgumentType]
    assert list(result.prediction_files) == list(dataset.test_cases)
    for name, path in result.prediction_files.items():
        assert path == tmp_path / "out" / f"{name}.nii.gz"
        stored = read_volume(path)
        np.testing.assert_array_equal(stored.array, result.predictions[name])
        assert stored.spacing == (3.0, 1.0, 1.0)


def test_options_reach_the_prediction(network):
    case = OneCase().load_case("case0001")
    options = {"resampling": "matrix", "precision": "bf16", "batch_size": 3}
    result = evaluate(network, OneCase(), progress=False, **options)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(result.predictions["case0001"], predict_volume(network, case.image, **options))
    with pytest.raises(InputError, match="resampling='bilinear' is unknown"):
        evaluate(network, OneCase(), progress=False, resampling="bilinear")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="protocol: unknown 'loose'"):
        evaluate(network, OneCase(), progress=False, protocols=("loose",))  # pyright: ignore[reportArgumentType]


def test_the_fast_way_is_the_optimized_network(network, monkeypatch):
    """Optimized once if asked for, not at all if it is already."""
    made = []

    def optimize(plain):
        made.append(OptimizedNetwork(plain, "eager", plain))
        return made[-1]

    monkeypatch.setattr("msa2net_lib.evaluation.volumes.optimize_for_inference", optimize)
    plain = evaluate(network, OneCase(), progress=False)  # pyright: ignore[reportArgumentType]
    assert not made
    fast = evaluate(network, OneCase(), progress=False, fast=True)  # pyright: ignore[reportArgumentType]
    assert len(made) == 1
    again = evaluate(made[0], OneCase(), progress=False, fast=True)  # pyright: ignore[reportArgumentType]
    assert len(made) == 1
    for result in (fast, again):
        pd.testing.assert_frame_equal(result.scores, plain.scores)


def test_left_to_itself_it_is_told_once_how_many_slices_are_to_come(network, monkeypatch):
    told = []

    def when_long(plain, slices):
        told.append(slices)
        return OptimizedNetwork(plain, "eager", plain)

    monkeypatch.setattr("msa2net_lib.evaluation.volumes.OptimizedWhenLong", when_long)
    cases = OneCase()
    found = evaluate(network, cases, progress=False, fast=None)  # pyright: ignore[reportArgumentType]
    name = cases.test_cases[0]
    assert told == [len(cases.load_case(name).image)]
    plain = evaluate(network, cases, progress=False)  # pyright: ignore[reportArgumentType]
    pd.testing.assert_frame_equal(found.scores, plain.scores)
    evaluate(network, cases, cases=[name, name], progress=False, fast=None)  # pyright: ignore[reportArgumentType]
    assert told[1:] == [2 * told[0]]
    evaluate(network, cases, progress=False, fast=None, precision="bf16")  # pyright: ignore[reportArgumentType]
    assert len(told) == 2


def test_without_spacing_mm_are_missing_and_voxels_are_not(network):
    class NoSpacing(OneCase):
        def load_case(self, name):
            return replace(super().load_case(name), spacing=None)

    result = evaluate(network, NoSpacing(), protocols=("paper",), progress=False)  # pyright: ignore[reportArgumentType]
    assert result.scores.hd95_mm.isna().all()
    assert (result.scores.hd95_voxels == result.scores.hd95).all()
    assert set(result.summary().score) == {"dsc", "hd95_voxels", "hd95_voxels_found", "missed"}


def test_predicting_in_batches_changes_nothing(network):
    volume = OneCase().load_case("x").image
    one = predict_volume(network, volume, batch_size=1)
    np.testing.assert_array_equal(one, predict_volume(network, volume, batch_size=3))


@pytest.mark.slow
def test_a_network_in_training_mode_is_evaluated_and_left_as_it_was(network):
    """In training mode every prediction would change the batch norms' statistics."""
    result = evaluate(network, OneCase(), protocols=("paper",), progress=False)  # pyright: ignore[reportArgumentType]
    other = MSA2Net(network.config)
    other.load_state_dict(network.state_dict())
    again = evaluate(other.train(), OneCase(), protocols=("paper",), progress=False)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(again.predictions["case0001"], result.predictions["case0001"])
    assert other.training
    weights = network.state_dict()
    for name, value in other.state_dict().items():
        assert bool((value == weights[name]).all()), name


def test_another_number_of_classes_is_refused(network):
    class Two(OneCase):
        class_names = ("liver", "spleen")

    with pytest.raises(InputError, match="9 classes: the data set has 3"):
        evaluate(network, Two(), progress=False)  # pyright: ignore[reportArgumentType]


def test_strict_without_spacing_is_refused_before_predicting(network):
    class NoSpacing(OneCase):
        def load_case(self, name):
            return Case(name, np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4), np.uint8), None)

        def case_path(self, name):
            return f"test_vol_h5/{name}.npy.h5"

    with pytest.raises(InputError, match=r"case0001\.npy\.h5: stores no spacing"):
        evaluate(network, NoSpacing(), progress=False)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("volume", "fragment"),
    [(np.zeros((4, 4)), "slices, rows, columns"), (np.full((2, 9, 9), 40.0), "window it first"),
     (np.full((2, 9, 9), np.nan), "window it first")],
)  # fmt: skip
def test_predict_volume_refuses(network, volume, fragment):
    with pytest.raises(InputError, match=fragment):
        predict_volume(network, volume)


def test_rescaling_keeps_millimeters_and_centers_the_body():
    """A 20 x 30 mm box stays 20 x 30 mm; the body's middle goes to the middle of the new picture."""
    image, label = np.zeros((2, 100, 120), np.float32), np.zeros((2, 100, 120), np.uint8)
    image[:, 60:80, 20:50], label[:, 60:80, 20:50] = 0.8, 5
    small = rescaled_case(Case("c", image, label, (3.0, 1.0, 1.0)), (2.0, 2.0), (40, 50))
    assert small.image.shape == small.label.shape == (2, 40, 50)
    assert small.spacing == (3.0, 2.0, 2.0)
    rows, columns = np.nonzero(small.label[0])
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (10, 15)
    assert abs(rows.mean() - 20) <= 1
    assert abs(columns.mean() - 25) <= 1


def test_rescaling_needs_spacing():
    with pytest.raises(InputError, match="no spacing"):
        rescaled_case(Case("c", np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), None), (1, 1), (4, 4))
