"""Exercises of the lesson on the paper audit."""

from __future__ import annotations

from msa2net_lib.lessons.exercise import Check
from msa2net_lib.paper.consistency import pooled_accuracy

accuracy = Check(
    "accuracy",
    pooled_accuracy,
    lambda rng: tuple(rng.uniform([0.05, 0.5, 0.6], [0.4, 1.0, 1.0]).tolist()),
    {
        "the prevalence is ignored: that is the plain mean (balanced accuracy)": lambda p, se, sp: (se + sp) / 2,
        "the weights are swapped: sensitivity speaks of the lesion pixels, a share p of all": lambda p, se, sp: (
            (1 - p) * se + p * sp
        ),
        "the true negatives are missing": lambda p, se, sp: p * se,
        "the true positives are missing": lambda p, se, sp: (1 - p) * sp,
        "both scores are weighted by p: the background is the other share, 1 - p": lambda p, se, sp: p * (se + sp),
        "that is the product of both, not their weighted mean": lambda p, se, sp: se * sp,
    },
)
