"""Exercises of the lesson on evaluation."""

from __future__ import annotations

from msa2net_lib.lessons.exercise import Check
from msa2net_lib.metrics import dice as library_dice

dice = Check(
    "dice",
    library_dice,
    lambda rng: (rng.random((9, 8)) < 0.4, rng.random((9, 8)) < 0.6),
    {
        "that is intersection over union (Jaccard), not Dice": lambda pred, target: (
            (pred & target).sum() / (pred | target).sum()
        ),
        "the factor 2 is missing": lambda p, t: (p & t).sum() / (p.sum() + t.sum()),
        "that is precision: the denominator holds the prediction only": lambda p, t: (p & t).sum() / p.sum(),
        "that is sensitivity: the denominator holds the target only": lambda p, t: (p & t).sum() / t.sum(),
        "that is accuracy: it also rewards agreement on the background": lambda p, t: (p == t).mean(),
    },
)
