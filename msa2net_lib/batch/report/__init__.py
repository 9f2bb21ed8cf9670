"""The report of a batch: one self-contained page per profile, published beside measured."""

from __future__ import annotations

from msa2net_lib.batch.report.page import write_report
