"""The lessons: their order, titles and parameters, in one place for notebooks, batch runs and the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.parameters import AUTO, PARAMETERS, Values, nearest

RECORD = "record.json"
"""The file in which a lesson, or a job of a batch run, says what it was."""
OF_PROFILE = "the profile's"
QUICK = "MSA2NET_QUICK"
"""Environment variable that, set to 1, makes every lesson start with its ``quick`` parameters: tests train shortly."""
SHIPPED = {"CHECKPOINT": "shipped"}
"""In a quick run lessons look at the network that ships, not at what a quick lesson 10 trained."""
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


LESSONS: dict[str, Lesson] = {
    lesson.name: lesson
    for lesson in (
        Lesson(
            "00_start_here", "Start here", "What is here, what your machine can do, what it costs.", (), ("virtual",)
        ),
        Lesson(
            "01_data",
            "Data",
            "From a data set's name to a training slice, step by step, and a contract for what others prepared.",
            ("CASE", "SLICE", "TRAIN_PATIENTS", "TEST_PATIENTS", "SKIN_IMAGES"),
            ("virtual", "patient2"),
            values={"CASE": Values("word", choices=("0001", "0002")), "SLICE": Values("number")},
        ),
        Lesson(
            "02_fusion",
            "Multi-scale fusion",
            "What a gate is for, what one cell tells, what the gate sees of the slice, and two branches added up.",
            ("CHECKPOINT", "CASE", "SLICE", "LEVEL"),
        ),
        Lesson(
            "03_selection",
            "Spatial selection",
            "Two weights per cell that sum to one: where they favor encoder or decoder, and what that proves.",
            ("CHECKPOINT", "CASE", "SLICE", "LEVEL"),
        ),
        Lesson(
            "04_modulation",
            "Cross-modulation",
            "Encoder and decoder features gate each other: what sharpens, and what a blank or shuffled input does.",
            ("CHECKPOINT", "CASE", "SLICE", "LEVEL"),
        ),
        Lesson(
            "05_recalibration",
            "Recalibration and the whole gate",
            "The attention map, the skip before and after, the gate on one sheet, and each stage switched off.",
            ("CHECKPOINT", "CASE", "SLICE", "LEVEL"),
        ),
        Lesson(
            "06_skip_gates",
            "Skip gates compared",
            "Addition, concatenation, attention gate, AFF, SK, MASAG in 2-D and 3-D, controls; what a map proves.",
            ("CHECKPOINT", "CASE", "SLICE", "LEVEL", "MEASURED"),
            (OF_PROFILE, "virtual"),
        ),
        Lesson(
            "07_decoder_blocks",
            "Decoder blocks",
            "Large kernels, efficient attention and attention between channels: what each sees, weighs and costs.",
            ("CHECKPOINT", "CASE", "SLICE"),
        ),
        Lesson(
            "08_network",
            "The network and its parameters",
            "One image walks through; parameters and multiply-adds counted, beside Tables 1 and A; what never runs.",
            ("PRESET_DRAWN",),
        ),
        Lesson(
            "09_boundary_loss",
            "The boundary loss",
            "Alpha against size and shape, gradients beside Dice and cross-entropy, and what an absent class costs.",
            ("CHECKPOINT", "CASE", "SLICE", "ORGAN"),
        ),
        Lesson(
            "10_training",
            "Training",
            "The recipe, the schedule and the loop, live; a tiny network of your own in minutes.",
            ("PRESET", "STEPS", "BATCH_SIZE", "SELECTION", "GPUS", "RESUME", "SCORED", "BENCHMARKS"),
            # Its network must not become the one that other lessons find.
            quick={"STEPS": 12, "SCORED": "shipped", "OUTPUT_DIR": "../results/quick"},
            values={"STEPS": Values("number")},
        ),
        Lesson(
            "11_evaluation",
            "Evaluation",
            "Dice and HD95 case by case, two protocols, photographs of skin, and published beside measured.",
            ("CHECKPOINT", "OTHERS", "BEST_ON_TEST", "SKIN_STEPS", "IMAGE", "BENCHMARKS"),
            (OF_PROFILE, "virtual", "patient2"),
            {"SKIN_STEPS": 60},
        ),
        Lesson(
            "12_ablation",
            "Ablation",
            "Table 3's six rows trained alike with several seeds: published differences beside measured, and noise.",
            ("PRESET", "STEPS", "IMAGE_SIZE", "SEEDS", "READING", "GATE", "MEASURED"),
            quick={"STEPS": 2, "SEEDS": 1, "OUTPUT_DIR": "../results/quick"},
            values={"IMAGE_SIZE": Values("number", least=32, words=AUTO)},
        ),
        Lesson(
            "13_frequency",
            "Frequency",
            "Figure A measured: what each layer keeps of fine detail, with and without MASAG, over slices and seeds.",
            ("CHECKPOINT", "CASE", "SLICE", "STEPS", "IMAGE_SIZE", "SEEDS", "MEASURED", "SMALLER"),
            quick={"STEPS": 2, "SEEDS": 1, "OUTPUT_DIR": "../results/quick"} | SHIPPED,
        ),
        Lesson(
            "14_grad_cam",
            "Grad-CAM",
            "Figure B measured: heat maps by organ and layer, beside the gate's own map, and when they say nothing.",
            ("CHECKPOINT", "CASE", "SLICE", "ORGAN", "SLICES", "SEEDS", "MEASURED"),
            quick={"SEEDS": 1, "OUTPUT_DIR": "../results/quick"} | SHIPPED,
            needs=("captum",),
        ),
        Lesson(
            "15_integration",
            "MASAG in your network",
            "The gate in other U-Nets, in 3-D and in ONNX: a few lines to copy, and what it costs and gains.",
            ("STEPS", "IMAGE_SIZE", "SEEDS", "MEASURED"),
            (OF_PROFILE, "patient2"),
            quick={"STEPS": 4, "SEEDS": 1, "OUTPUT_DIR": "../results/quick"},
        ),
        Lesson(
            "16_paper_audit",
            "Paper audit",
            "Paper against code against tables: every difference, shown live, and what it changes.",
            ("STEPS", "IMAGE_SIZE", "SEEDS", "MEASURED"),
            quick={"STEPS": 2, "SEEDS": 1, "OUTPUT_DIR": "../results/quick"},
            values={"IMAGE_SIZE": Values("number", least=32, words=AUTO)},
        ),
        Lesson(
            "17_rival_networks",
            "The rival networks",
            "Thirteen networks of Tables 1 and 2, alive: what each does with a skip, runs, costs, and scores alike.",
            ("MEASURED",),
            (),
        ),
    )
}


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
