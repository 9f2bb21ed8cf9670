"""Thresholds on probability and logit against the softmax, and opening and filling against masks made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.mask_rules import POST_PROCESSING, MaskRule, open_and_fill


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return 3 * torch.randn(4, 2, 30, 40)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.6225, 0.9])
def test_probability_is_the_softmax(logits, threshold):
    expected = logits.double().softmax(dim=1)[:, 1] > threshold
    np.testing.assert_array_equal(MaskRule(threshold).masks(logits), expected.numpy())


def test_by_default_the_likelier_class(logits):
    logits[0, :, :5] = logits[0, :1, :5]  # ties are background, as argmax has it
    logits[1, 1, 0] = torch.nextafter(logits[1, 0, 0], torch.tensor(torch.inf))  # a softmax would round these to ties
    found = MaskRule().masks(logits)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, logits.argmax(dim=1).numpy())


def test_logit_is_the_difference(logits):
    """What one output would give: its sigmoid is the softmax of two."""
    difference = logits[:, 1] - logits[:, 0]
    torch.testing.assert_close(difference.sigmoid(), logits.softmax(dim=1)[:, 1])
    np.testing.assert_array_equal(MaskRule(0.5, "logit").masks(logits), (difference > 0.5).numpy())
    same = MaskRule(1 / (1 + math.exp(-0.5)))
    assert same.least_difference == pytest.approx(0.5)
    assert same.threshold == pytest.approx(0.6225, abs=1e-4)  # as the documentation says
    assert MaskRule().least_difference == 0


def test_opening_takes_off_what_is_thin_and_filling_closes_holes():
    mask = np.zeros((40, 60), bool)
    mask[5:30, 5:35] = True
    ring = mask.copy()
    mask[12:20, 12:20] = False  # a hole, wider than the square
    mask[33:38, 5:50] = True  # five pixels thick: no square of six fits
    mask[10:12, 35:55] = True  # a thin bridge to the side
    np.testing.assert_array_equal(open_and_fill(mask), ring)
    mask[12:20, 5:20] = False  # no hole any more, but a bay
    bay = ring.copy()
    bay[12:20, 5:20] = False
    np.testing.assert_array_equal(open_and_fill(mask), bay)
    assert not open_and_fill(np.zeros((9, 9), bool)).any()


def test_the_lineages_way_is_named_with_what_chose_it():
    rule = MaskRule(0.5, "logit", "dlka")
    assert "chose the sizes on the test set" in rule.describe()
    logits = torch.zeros(2, 2, 20, 20)
    logits[:, 1, 3:12, 3:12] = 1
    logits[0, 1, 15] = 1
    found = rule.masks(logits)
    assert found.sum(axis=(1, 2)).tolist() == [81, 81]
    assert set(POST_PROCESSING) == {"none", "dlka"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 1.0}, "threshold=1.0 on a probability"),
        ({"threshold": math.nan}, "threshold=nan on a probability"),
        ({"threshold": math.inf, "threshold_on": "logit"}, "threshold=inf: give a number"),
        ({"threshold_on": "softmax"}, "threshold_on='softmax' is unknown: use probability or logit"),
        ({"post_processing": "crf"}, "post_processing='crf' is unknown: use none or dlka"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(InputError) as caught:
        MaskRule(**options)
    assert words in str(caught.value)
