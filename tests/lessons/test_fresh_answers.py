"""Three hundred wrong answers that were written without a look at the checks: none passes, and most are named."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec

import pytest
from blind_answers import WRONG
from fresh_answers import ANSWERS, SECOND

from msa2net_lib.lessons.exercise import checks_of
from msa2net_lib.lessons.l05_recalibration.capstone import masag_module
from msa2net_lib.lessons.registry import LESSONS

ROOMS = [f"msa2net_lib.lessons.l{name}.checks" for name in LESSONS if find_spec(f"msa2net_lib.lessons.l{name}")]
CHECKS = {name: check for room in ROOMS if find_spec(room) for name, check in checks_of(import_module(room)).items()}
UNNAMED = re.compile(r"largest difference|^it raised|right (at|for) \d|^not yet: (for|yours)|are? wrong$|shape [^:]*$")
"""Lines that say no more than that something is wrong, or where."""


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:invalid value encountered in scalar divide")  # in the answers
@pytest.mark.parametrize("answers", [ANSWERS, SECOND], ids=["first", "second"])
def test_no_fresh_wrong_answer_passes_and_three_in_five_are_named(answers):
    told = [CHECKS[name].diagnosis(answer) for name, group in answers.items() for answer in group]
    assert None not in told
    fresh = [line for line in told if not any(line in check.mistakes for check in CHECKS.values())]
    assert len(fresh) >= 85
    named = [line for line in fresh if not UNNAMED.search(line)]
    assert len(named) >= 0.6 * len(fresh), f"{len(named)} of {len(fresh)}"


def written(source):
    """The function or class that a reader's cell defines."""
    names: dict[str, object] = {}
    exec(source, names)  # our own helper's text
    (found,) = [value for name, value in names.items() if name.startswith("my_") or name == "MyMASAG"]
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_of_a_hundred_blind_answers_none_passes_and_nine_in_ten_are_named():
    """Mistakes that a check has planted count as named here: the list was written without knowing which they are."""
    checks = CHECKS | {"capstone": masag_module}
    told = [checks[exercise].diagnosis(written(source)) for exercise, _, source in WRONG]
    assert None not in told
    planted = [
        line for line in told if any(str(line).startswith(m) for check in checks.values() for m in check.mistakes)
    ]
    rest = [line for line in told if line not in planted]
    named = [line for line in rest if not UNNAMED.search(str(line))]
    assert len(WRONG) == 100
    assert len(named) >= 0.6 * len(rest), f"{len(named)} of {len(rest)}"
    assert len(planted) + len(named) >= 90
