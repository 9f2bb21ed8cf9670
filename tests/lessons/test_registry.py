"""Parameters are checked: papermill would only warn of a misspelt one."""

from __future__ import annotations

import papermill
import pytest

from msa2net_lib.batch.plan import Plan
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.registry import LESSONS, check_parameters, lesson_by_name, parameters_by_lesson


@pytest.mark.parametrize(
    ("given", "fragments"),
    [({"STEP": 3}, ["STEP is no parameter of 10_training", "did you mean STEPS?", "BATCH_SIZE"]),
     ({"PROFILE": "smokey"}, ["PROFILE='smokey'", "did you mean smoke?", "gpu"])],
)  # fmt: skip
def test_misspelt_parameters_are_refused(given, fragments):
    with pytest.raises(InputError) as caught:
        check_parameters(lesson_by_name("10_training"), given)
    assert "\n" not in str(caught.value)
    assert all(fragment in str(caught.value) for fragment in fragments)


def test_unknown_lesson_names_the_nearest():
    with pytest.raises(InputError, match=r"10_trainig.*did you mean 10_training\?"):
        lesson_by_name("10_trainig")


def test_batch_run_refuses_a_misspelt_parameter_before_running():
    with pytest.raises(InputError, match="STEP is no parameter"):
        Plan(lessons=("10_training",), parameters={"STEP": 3})


def test_a_parameter_goes_to_the_lessons_that_declare_it():
    chosen = parameters_by_lesson(["11_evaluation", "10_training"], {"SEED": 3, "STEPS": 5})
    assert list(chosen) == ["10_training", "11_evaluation"]
    assert chosen["10_training"] == {"SEED": 3, "STEPS": 5}
    assert chosen["11_evaluation"] == {"SEED": 3}


def test_plain_papermill_fails_on_a_misspelt_parameter(root, tmp_path):
    """Without our runner, papermill goes on; the setup cell stops it."""
    with pytest.raises(papermill.PapermillExecutionError, match="SEEED is no parameter of 00_start_here"):
        papermill.execute_notebook(
            root / "notebooks" / "00_start_here.ipynb",
            tmp_path / "out.ipynb",
            parameters={"SEEED": 3},
            cwd=root / "notebooks",
            progress_bar=False,
        )


def test_every_lesson_shares_the_common_parameters():
    for lesson in LESSONS.values():
        assert lesson.parameters[:6] == ("PROFILE", "DATASET", "DATA_DIR", "OUTPUT_DIR", "SEED", "DEVICE")


def test_quick_runs_set_parameters_that_there_are():
    for lesson in LESSONS.values():
        check_parameters(lesson, lesson.quick)
