"""Exercises that answer: ``checks.<piece>(yours)`` compares yours with the library's and names likely mistakes."""

from __future__ import annotations

from msa2net_lib.workbook.checks.basics import (
    accuracy,
    convolution,
    count_convolution,
    dice,
    poly,
    poly_learning_rate,
    window,
)
from msa2net_lib.workbook.checks.check import Check, reveal

ALL: dict[str, Check] = {check.name: check for check in (window, dice, poly, convolution, accuracy)}

__all__ = [
    "ALL",
    "Check",
    "accuracy",
    "convolution",
    "count_convolution",
    "dice",
    "poly",
    "poly_learning_rate",
    "reveal",
    "window",
]
