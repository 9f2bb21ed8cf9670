"""Exercises that answer: ``checks.<piece>(yours)`` compares yours with the library's and names likely mistakes."""

from __future__ import annotations

from msa2net_lib.workbook.checks.ablation import paired_interval
from msa2net_lib.workbook.checks.basics import (
    accuracy,
    convolution,
    count_convolution,
    dice,
    poly,
    poly_learning_rate,
    window,
)
from msa2net_lib.workbook.checks.blocks import efficient_attention, large_kernel_attention
from msa2net_lib.workbook.checks.boundary import alpha
from msa2net_lib.workbook.checks.check import Check, reveal
from msa2net_lib.workbook.checks.elsewhere import gated_skip
from msa2net_lib.workbook.checks.frequency import log_amplitude
from msa2net_lib.workbook.checks.fusion import global_pooling, pool_channels, receptive_field, same_padding
from msa2net_lib.workbook.checks.grad_cam import grad_cam
from msa2net_lib.workbook.checks.modulation import cross_modulation
from msa2net_lib.workbook.checks.recalibration import recalibration, whole_gate
from msa2net_lib.workbook.checks.selection import select, selection, share
from msa2net_lib.workbook.checks.skip_gates import attention_gate

ALL: dict[str, Check] = {
    check.name: check
    for check in (
        window,
        dice,
        poly,
        convolution,
        accuracy,
        global_pooling,
        receptive_field,
        same_padding,
        selection,
        share,
        cross_modulation,
        recalibration,
        whole_gate,
        attention_gate,
        gated_skip,
        large_kernel_attention,
        efficient_attention,
        alpha,
        paired_interval,
        log_amplitude,
        grad_cam,
    )
}

__all__ = [
    "ALL",
    "Check",
    "accuracy",
    "alpha",
    "attention_gate",
    "convolution",
    "count_convolution",
    "cross_modulation",
    "dice",
    "efficient_attention",
    "gated_skip",
    "global_pooling",
    "grad_cam",
    "large_kernel_attention",
    "log_amplitude",
    "paired_interval",
    "poly",
    "poly_learning_rate",
    "pool_channels",
    "recalibration",
    "receptive_field",
    "reveal",
    "same_padding",
    "select",
    "selection",
    "share",
    "whole_gate",
    "window",
]
