"""What an entry of the ledger is: one difference, where it stands, and the evidence that shows it live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

REPOSITORY, COMMIT = "github.com/xmindflow/MSA-2Net", "209ca72"
NOT_MEASURED = "not measured"

Part = Literal["network", "training", "data", "scoring", "tables"]
Kind = Literal["recorded", "executed", "arithmetic", "read"]
"""What evidence rests on, strongest first: keys and shapes that the authors' source built once (untrained); code of
this library, tested against the authors' recorded arrays, or another library, run; arithmetic on printed numbers;
a rule or list of the released code, restated here from reading and run."""


@dataclass(frozen=True)
class Evidence:
    """What running an entry's evidence found.

    says: one sentence with the numbers found. table: the numbers behind it. differs: whether this run showed
    the difference that the entry claims.
    """

    says: str
    table: pd.DataFrame
    differs: bool


@dataclass(frozen=True)
class Entry:
    """One difference between the paper, the released code and what a reader would expect.

    paper, code: what each says or does, with place and file (in `REPOSITORY` at `COMMIT`; empty if the difference is
    within the paper). kind: what the evidence rests on. evidence: call it with the data folder. switch: how this
    library does either. variant: name among `paper.discrepancies.variants` of the run that measures the effect on the
    score, or empty; effect: the effect if it needs no training run. advice: what a builder does about it.
    """

    key: str
    part: Part
    kind: Kind
    title: str
    paper: str
    place: str
    code: str
    file: str
    evidence: Callable[[Path], Evidence]
    switch: str
    advice: str
    variant: str = ""
    effect: str = NOT_MEASURED
