"""Parameters are checked: papermill would only warn of a misspelt one."""

from __future__ import annotations

import nbformat
import numpy as np
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


@pytest.mark.parametrize(
    ("lesson", "name", "value", "fragment"),
    [("10_training", "RESUME", "false", "give True or False"), ("10_training", "RESUME", 0, "give True or False"),
     ("10_training", "STEPS", "auto", "whole number of 0 or more"), ("10_training", "STEPS", -1, "whole number"),
     ("01_data", "SLICE", "88", "give a whole number"), ("02_fusion", "SLICE", 6.0, "or 'auto'"),
     ("02_fusion", "CASE", True, "whole number"), ("02_fusion", "LEVEL", 3, "from 0 to 2"),
     ("02_fusion", "SEED", 2**70, "from 0 to 4294967295"), ("02_fusion", "SEED", None, "whole number"),
     ("09_boundary_loss", "ORGAN", "Liver", "did you mean liver?"), ("09_boundary_loss", "ORGAN", 6, "aorta"),
     ("02_fusion", "DEVICE", "gpu", "use auto, cpu"), ("02_fusion", "DATASET", "skin", "virtual"),
     ("02_fusion", "DATASET", "virtal", "did you mean virtual?"), ("02_fusion", "DATASET", ["virtual"], "virtual"),
     ("02_fusion", "CHECKPOINT", 5, "a path as text"), ("02_fusion", "CHECKPOINT", b"a", "a path as text"),
     ("02_fusion", "CHECKPOINT", "", "a path as text"), ("02_fusion", "CHECKPOINT", "a\0b", "a path as text"),
     ("11_evaluation", "OTHERS", "a.safetensors", "a list"), ("11_evaluation", "OTHERS", {"a"}, "a list"),
     ("11_evaluation", "OTHERS", [1], "a path as text"), ("12_ablation", "GATE", "masagg", "did you mean masag?"),
     ("12_ablation", "READING", "gone", "replaced, removed"), ("12_ablation", "SEEDS", range(3), "whole number"),
     ("13_frequency", "IMAGE_SIZE", "auto", "32 or more"), ("08_network", "PRESET_DRAWN", "Tiny", "mean tiny?"),
     ("01_data", "CASE", 1, "0001, 0002"), ("01_data", "CASE", "../0001", "0001, 0002"),
     ("02_fusion", "DATA_DIR", "x" * 999 + "\0", "...")],
)  # fmt: skip
def test_values_that_cannot_be_are_refused_before_work(refused, lesson, name, value, fragment):
    line = refused([f"{name}=", fragment], check_parameters, LESSONS[lesson], {name: value})
    assert len(line) < 250
    refused(f"{name}=", Plan, lessons=(lesson,), parameters={name: value})


def test_the_pages_own_values_pass_and_come_back_as_they_are(root):
    for lesson in LESSONS.values():
        cells = nbformat.read(root / "notebooks" / f"{lesson.name}.ipynb", as_version=4).cells
        page: dict = {}
        exec(next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])), page)  # our own page
        page.pop("__builtins__")
        assert check_parameters(lesson, page) == page


def test_numbers_of_numpy_and_folders_of_ones_own_are_taken(tmp_path):
    fusion = LESSONS["02_fusion"]
    numbers = check_parameters(fusion, {"SEED": np.uint8(3), "CASE": np.int64(1), "SLICE": np.int32(2)})
    assert [(type(value), value) for value in numbers.values()] == [(int, 3), (int, 1), (int, 2)]
    resume = check_parameters(LESSONS["10_training"], {"RESUME": np.bool_(True)})["RESUME"]
    assert resume is True
    (tmp_path / "dataset.json").write_text("{}")
    own = {"DATASET": str(tmp_path), "ORGAN": "left stone"}
    assert check_parameters(LESSONS["09_boundary_loss"], own) == own


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


@pytest.mark.slow
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


def test_a_quick_run_touches_no_result_of_a_reader_and_takes_no_other_quick_network():
    quick = [lesson for lesson in LESSONS.values() if lesson.quick]
    assert len(quick) > 5
    for lesson in quick:
        assert lesson.quick["OUTPUT_DIR"] == "../results/quick", lesson.name
        assert "CHECKPOINT" not in lesson.own_parameters or lesson.quick["CHECKPOINT"] == "shipped", lesson.name
