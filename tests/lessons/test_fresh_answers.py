"""Two hundred wrong answers that were written without a look at the checks: none passes, and most are named."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec

import pytest
from fresh_answers import ANSWERS, SECOND

from msa2net_lib.lessons.exercise import checks_of
from msa2net_lib.lessons.registry import LESSONS

ROOMS = [f"msa2net_lib.lessons.l{name}.checks" for name in LESSONS if find_spec(f"msa2net_lib.lessons.l{name}")]
CHECKS = {name: check for room in ROOMS if find_spec(room) for name, check in checks_of(import_module(room)).items()}
UNNAMED = re.compile(r"largest difference|^it raised|right (at|for) \d|^not yet: (for|yours)|are? wrong$|shape [^:]*$")
"""Lines that say no more than that something is wrong, or where."""


@pytest.mark.slow
@pytest.mark.parametrize("answers", [ANSWERS, SECOND], ids=["first", "second"])
def test_no_fresh_wrong_answer_passes_and_three_in_five_are_named(answers):
    told = [CHECKS[name].diagnosis(answer) for name, group in answers.items() for answer in group]
    assert None not in told
    fresh = [line for line in told if not any(line in check.mistakes for check in CHECKS.values())]
    assert len(fresh) >= 85
    named = [line for line in fresh if not UNNAMED.search(line)]
    assert len(named) >= 0.6 * len(fresh), f"{len(named)} of {len(fresh)}"
