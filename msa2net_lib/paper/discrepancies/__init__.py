"""The discrepancies between the paper, the reference implementation and expectation, each with live evidence.

They are kept as data, `tables/discrepancies.toml`: which part they are of, what the paper and the code say and where
(files are in `REPOSITORY` at `COMMIT`; none if the difference is within the paper), what a builder does about it, and
which function of this package shows each one live.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from msa2net_lib.errors import InputError
from msa2net_lib.utils.tables import read_table

if TYPE_CHECKING:
    from msa2net_lib.paper.discrepancies.evidence import Evidence

REPOSITORY, COMMIT = "github.com/xmindflow/MSA-2Net", "209ca72"
NOT_MEASURED = "not measured"

Part = Literal["network", "training", "data", "scoring", "tables"]
Kind = Literal["recorded", "executed", "arithmetic", "read"]
"""What evidence rests on, strongest first: keys and shapes that the authors' source built once (untrained); code of
this library, tested against the authors' recorded arrays, or another library, run; arithmetic on printed numbers;
a rule or list of the reference implementation, restated here from reading and run."""


About = Literal["code", "field", "text"]
ABOUT: dict[About, str] = {
    "code": "paper against code",
    "field": "pitfall of the field",
    "text": "claim of the text",
}
"""The three classes: what the authors' own code does otherwise than their paper says; habits of the whole field, which
they share; and statements that their own tables, or a count, do not bear out. In the order of the page."""
IMPORTANCE = {1: "decides what is compared", 2: "can move a number", 3: "good to know"}


@dataclass(frozen=True)
class Discrepancy:
    """One difference between the paper, the reference implementation and what a reader would expect.

    about: one of `ABOUT`; importance: of `IMPORTANCE`, within its class. paper, code: what each says or does, with
    place and file. kind: what the evidence rests on. evidence:
    "module.function" of this package. variant: how this library does either. measured_as: name among
    `paper.discrepancies.variants` of the run that measures the effect on the score, or empty; effect: the effect if it
    needs no training run. advice: what a builder does about it.
    """

    key: str
    about: About
    importance: int
    part: Part
    kind: Kind
    title: str
    paper: str
    evidence: str
    variant: str
    advice: str
    place: str = ""
    code: str = ""
    file: str = ""
    measured_as: str = ""
    effect: str = NOT_MEASURED

    def show(self, data_dir: Path) -> Evidence:
        """Run the evidence. data_dir: the folder with ``example_ct``."""
        module, _, function = self.evidence.partition(".")
        return getattr(import_module(f"{__name__}.{module}"), function)(data_dir)

    @property
    def paper_and_place(self) -> str:
        """What the paper says, and where."""
        return f"{self.paper} ({self.place})" if self.place else self.paper

    @property
    def code_and_file(self) -> str:
        """What the code does, and where; empty if it is no matter of code."""
        return f"{self.code} ({self.file})" if self.file else self.code


DISCREPANCIES: tuple[Discrepancy, ...] = tuple(
    sorted(
        (Discrepancy(**one) for one in read_table("discrepancies")["discrepancy"]),
        key=lambda one: (list(ABOUT).index(one.about), one.importance),
    )
)
"""All of them, by class and, within it, by importance."""


def discrepancy(key: str) -> Discrepancy:
    """Look a discrepancy up. Raises: `InputError` for an unknown key."""
    for one in DISCREPANCIES:
        if one.key == key:
            return one
    raise InputError(f"discrepancy {key!r} is unknown: there are {', '.join(one.key for one in DISCREPANCIES)}")


def discrepancy_table(effects: pd.DataFrame | None = None) -> pd.DataFrame:
    """The discrepancies without their evidence: one row each, index key.

    effects: measured effects by variant, as `evaluation.intervals.summarize` returns them; those that a training run
    can measure then show theirs.
    """
    rows = {
        one.key: {
            "class": ABOUT[one.about],
            "importance": IMPORTANCE[one.importance],
            "part": one.part,
            "difference": one.title,
            "the paper": one.paper_and_place,
            "the code": one.code_and_file,
            "variant": one.variant,
            "effect on the score": effect_of(one, effects),
            "for a builder": one.advice,
        }
        for one in DISCREPANCIES
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("key")


def effect_of(one: Discrepancy, effects: pd.DataFrame | None) -> str:
    """Measured effect in words: difference of the mean DSC and its interval over seeds."""
    if not one.measured_as or effects is None or one.measured_as not in effects.index:
        return one.effect
    row = effects.loc[one.measured_as]
    interval = f"95 % interval {row.low:+.3f} to {row.high:+.3f} by paired t, {row.seeds:.0f} seeds"
    return f"{row.difference:+.4f} DSC ({interval}), small virtual run"
