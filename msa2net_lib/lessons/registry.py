"""The lessons: their order, titles and parameters, in one place for notebooks, batch runs and the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.parameters import PARAMETERS, Values, nearest
from msa2net_lib.utils.tables import read_table

RECORD = "record.json"
"""The file in which a lesson, or a job of a batch run, says what it was."""
OF_PROFILE = "the profile's"
QUICK = "MSA2NET_QUICK"
"""Environment variable that, set to 1, makes every lesson start with its ``quick`` parameters: tests train shortly."""
COMMON = ("PROFILE", "DATASET", "DATA_DIR", "OUTPUT_DIR", "SEED", "DEVICE")


@dataclass(frozen=True)
class Lesson:
    """One notebook: file name without suffix, title, what it is for, its own parameters, and the data that it opens.

    data: names for `data.catalog.open_dataset`; `OF_PROFILE` stands for the data set of the profile, or of DATASET.
    quick: parameters of a run that only shows that the page works, see `QUICK`; what tests compare hangs on none.
    values: what parameters may hold where it is not what `PARAMETERS` says. needs: packages without which nothing of
    it runs; where one section needs some, its cells ask `Recorder.lacks`.
    """

    name: str
    title: str
    summary: str
    own_parameters: tuple[str, ...] = ()
    data: tuple[str, ...] = (OF_PROFILE,)
    quick: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Values] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """All names its `parameters` cell declares."""
        return COMMON + self.own_parameters


def _read_lesson(name: str, fields: dict[str, Any]) -> Lesson:
    values = {parameter: Values(**given) for parameter, given in fields.pop("values", {}).items()}
    return Lesson(name, **fields, values=values)


LESSONS: dict[str, Lesson] = {name: _read_lesson(name, fields) for name, fields in read_table("lessons").items()}
"""In reading order."""


def lesson_by_name(name: str) -> Lesson:
    """Look a lesson up. Raises: `InputError` with the nearest name."""
    if name not in LESSONS:
        raise InputError(f"lesson {name!r} is unknown{nearest(name, LESSONS)}: there are {', '.join(LESSONS)}")
    return LESSONS[name]


def parameters_by_lesson(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give each named lesson the parameters that it declares, checked, in reading order.

    Raises: `InputError` for an unknown lesson, a parameter that none of them declares, and a value that cannot be.
    """
    asked = {lesson_by_name(name).name for name in names}
    lessons = [lesson for name, lesson in LESSONS.items() if name in asked]
    for name in given:
        if not any(name in lesson.parameters for lesson in lessons):
            check_parameters(lessons[-1], {name: given[name]})
    return {
        lesson.name: check_parameters(
            lesson, {name: value for name, value in given.items() if name in lesson.parameters}
        )
        for lesson in lessons
    }


def check_parameters(lesson: Lesson, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as plain Python objects. Raises: `InputError` for names not declared, and for other values.

    papermill only warns of a misspelt parameter and goes on with the default; here it is an error.
    """
    for name in given:
        if name not in lesson.parameters:
            hint = nearest(name, lesson.parameters)
            raise InputError(f"{name} is no parameter of {lesson.name}{hint}: it takes {', '.join(lesson.parameters)}")
    known = {**PARAMETERS, **lesson.values}
    return {name: known[name].checked(name, value, given.get("DATASET", "auto")) for name, value in given.items()}
