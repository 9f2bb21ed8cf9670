"""What a batch run consists of: its jobs by name, what each needs first, and what it costs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from msa2net_lib.baselines.table import NETWORKS, networks_of, tables_of
from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.parameters import PARAMETERS, Values, shown
from msa2net_lib.lessons.registry import LESSONS, OF_PROFILE, parameters_by_lesson
from msa2net_lib.train_config import PROFILES, Profile
from msa2net_lib.utils.files import read_json, write_text
from msa2net_lib.utils.plain import require_choice

PLAN_FILE = "plan.json"
Kind = Literal["data", "train", "evaluate", "ablation", "networks", "network", "tables", "lesson", "report"]
MAY_FAIL: tuple[Kind, ...] = ("networks", "network")
"""Kinds of which those that need one go on when it failed: a row of a table then says why it has no number."""
TRAINING, EVALUATION_LESSON, ABLATION_LESSON = "10_training", "11_evaluation", "12_ablation"
SHARED = {
    TRAINING: ("PRESET", "STEPS", "BATCH_SIZE", "SELECTION"),
    ABLATION_LESSON: ("PRESET", "STEPS", "IMAGE_SIZE", "READING", "GATE"),
}
"""Parameters of a lesson that the trainings done for it share with it."""
JOB_NAME = r"[\w.-]+"
"""What jobs are called: names go to a shell and become folders."""
SETTINGS = {
    "profile": PARAMETERS["PROFILE"],
    "ablation_seeds": Values("number", least=1),
    "data_dir": Values("path"),
    "device": PARAMETERS["DEVICE"],
    "gpus": Values("number"),
    "on_cluster": Values("switch"),
}
"""What the settings of a plan may hold, beside lessons, seeds and parameters."""


@dataclass(frozen=True)
class Job:
    """One piece of work: its name, what kind it is, the jobs it needs first, and its parameters.

    rests_on: the keys of the jobs that it needs, which `Plan.jobs` fills in.
    """

    name: str
    kind: Kind
    needs: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rests_on: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Sixteen letters that differ as soon as kind or parameters do, its own or those of what it rests on."""
        text = json.dumps([self.kind, dict(self.parameters), self.needs, self.rests_on], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """The settings of a batch run, as in ``workflow/config/*.yaml``; `jobs` follows from them.

    profile: smoke, gpu or paper. lessons: names, () for all. seeds: of the main training, the first is the one that the
    lessons look at. networks: of Tables 1 and 2, each trained with these seeds for every table that it stands in (in
    smoke for the first one). ablation_seeds: how many runs each row of Table 3 gets, from the first seed on.
    parameters: of lessons, by name. data_dir: relative to the checkout. device: as for `train`. gpus: how many jobs may
    use one at the same time; on_cluster: a batch system starts the jobs and gives each its own.
    """

    profile: str = "smoke"
    lessons: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1234,)
    networks: tuple[str, ...] = ()
    ablation_seeds: int = 3
    parameters: Mapping[str, Any] = field(default_factory=dict)
    data_dir: str = "data"
    device: str = "auto"
    gpus: int = 0
    on_cluster: bool = False

    def __post_init__(self) -> None:
        for name in ("lessons", "seeds", "networks"):
            if not isinstance(given := getattr(self, name), list | tuple | range):
                raise InputError(f"{name}={shown(given)}: give a list")
            object.__setattr__(self, name, tuple(given))
        known = tuple(name for name in NETWORKS if tables_of(name))
        for name in self.networks:
            require_choice("networks", name, known)
        if not self.seeds:
            raise InputError("seeds=(): give one or more whole numbers")
        seeds = tuple(PARAMETERS["SEED"].checked("seeds", seed) for seed in self.seeds)
        if len({*seeds}) < len(seeds):
            raise InputError(f"seeds={seeds}: one is there twice, and would count as two trainings; name each once")
        checked = {name: values.checked(name, getattr(self, name)) for name, values in SETTINGS.items()}
        if not isinstance(self.parameters, Mapping):
            raise InputError(f"parameters={shown(self.parameters)}: give values by name")
        # A wrong name or value is told before anything runs; what is left can be written as JSON.
        parameters = {name: value for given in self._by_lesson.values() for name, value in given.items()}
        checked |= {"seeds": seeds, "parameters": {name: parameters[name] for name in self.parameters}}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """Build a plan from a mapping, as YAML or JSON gives it. Raises: `InputError` for what it does not know."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(
                f"{', '.join(unknown)}: not a setting of a batch run; there are {', '.join(sorted(known))}"
            )
        said: dict[str, Any] = {"true": True, "false": False}  # how `snakemake --config on_cluster=false` gives it
        return cls(**{name: said.get(str(value).lower(), value) for name, value in values.items()})

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read the plan that `save` left in a profile's folder. Raises: `InputError` without one."""
        try:
            values = read_json(folder / PLAN_FILE)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder / PLAN_FILE}: no plan of a batch run; start it with msa2net reproduce"
            ) from error
        return cls.from_dict(values)

    def save(self, folder: Path) -> Path:
        """Write the plan to a profile's folder, for the jobs to read."""
        return write_text(folder / PLAN_FILE, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @property
    def settings(self) -> Profile:
        """What the profile trains, with the network that PRESET names."""
        return PROFILES[self.profile].with_preset(self.parameters.get("PRESET", "auto"))

    @property
    def dataset(self) -> str:
        """Name of the data set that is trained and scored on."""
        named = self.parameters.get("DATASET", "auto")
        return self.settings.dataset if named == "auto" else named

    @property
    def main_network(self) -> str:
        """The name of the network that the main training trains, in the table of networks."""
        return "msa2net" if self.settings.preset == "paper" else f"msa2net_{self.settings.preset}"

    @property
    def main_training(self) -> str:
        """The training that the lessons look at."""
        return f"train-{self.seeds[0]}"

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """All jobs by name, each after those that it needs."""
        complete = not self.lessons
        jobs = [*self._data(), *(self._trainings() if complete or TRAINING in self.lessons else ())]
        if complete or ABLATION_LESSON in self.lessons:
            jobs += self._ablation()
        if complete:
            jobs += self._evaluations()
        jobs += self._networks(complete)
        if complete:
            needs = tuple(job.name for job in jobs if job.kind in ("evaluate", "ablation", *MAY_FAIL))
            jobs.append(Job("tables", "tables", needs))
        jobs += self._lessons({job.name for job in jobs})
        jobs.append(Job("report", "report", tuple(job.name for job in jobs)))
        made: dict[str, Job] = {}
        for job in jobs:
            made[job.name] = dataclasses.replace(job, rests_on=tuple(made[name].key for name in job.needs))
        return made

    def shared_with(self, lesson: str) -> dict[str, Any]:
        """The parameters that a lesson was given and that the trainings done for it have to share."""
        return {name: value for name, value in self.parameters.items() if name in SHARED[lesson]}

    def _data(self) -> list[Job]:
        opened = (data for name in self._by_lesson for data in LESSONS[name].data)
        names = dict.fromkeys((self.dataset, *(data for data in opened if data != OF_PROFILE)))
        return [Job(_data_job(name), "data", (), {"dataset": name}) for name in names]

    def _trainings(self) -> list[Job]:
        needs = (_data_job(self.dataset),)
        common = self._common(TRAINING)
        return [Job(f"train-{seed}", "train", needs, common | {"seed": seed}) for seed in self.seeds]

    def _evaluations(self) -> list[Job]:
        common = {"dataset": self.dataset, "device": self.device}
        return [Job(f"evaluate-{seed}", "evaluate", (f"train-{seed}",), common | {"seed": seed}) for seed in self.seeds]

    def _networks(self, complete: bool) -> list[Job]:
        """A job for each row, seed and table, and in smoke, where few are trained, one that tries them all."""
        settings, jobs = self.settings, []
        if complete and self.networks and self.profile == "smoke":
            jobs.append(Job("networks-all", "networks"))
        steps = {"steps": settings.row_steps} if settings.row_steps else {}
        common = {"image_size": settings.row_size, "changes": steps, "pretrained": settings.pretrained}
        for name in dict.fromkeys(self.networks):
            for table in tables_of(name)[: 1 if self.profile == "smoke" else 2]:
                if complete and table == "1" and name in networks_of("MSA²Net") and not steps:
                    continue  # the main training is in the same way
                data, recipe = (
                    (self.dataset, settings.recipe) if table == "1" else (settings.images, settings.images_recipe)
                )
                needs = (_data_job(data),) if table == "1" else ()  # images are opened, or drawn, by the job
                given = {
                    "network": name,
                    "table": table,
                    "dataset": data,
                    "recipe": recipe,
                    "device": self.device,
                } | common
                jobs += [
                    Job(f"network-{table}-{name}-{seed}", "network", needs, given | {"seed": seed})
                    for seed in self.seeds
                ]
        return jobs

    def _ablation(self) -> list[Job]:
        from msa2net_lib.paper.ablation.rows import ROWS

        needs, common = (_data_job(self.dataset),), self._common(ABLATION_LESSON)
        seeds = range(self.seeds[0], self.seeds[0] + self.ablation_seeds)
        # In smoke a run takes less time than the process that does it takes to start.
        parts = {"": [*seeds]} if self.profile == "smoke" else {f"-{seed}": [seed] for seed in seeds}
        return [
            Job(f"ablation-{row.key}{end}", "ablation", needs, common | {"row": row.key, "seeds": part})
            for end, part in parts.items()
            for row in ROWS
        ]

    def _common(self, lesson: str) -> dict[str, Any]:
        settings = {"dataset": self.dataset, "profile": self.profile, "device": self.device}
        return settings | self.shared_with(lesson)

    def _lessons(self, others: set[str]) -> list[Job]:
        ablation = tuple(sorted(name for name in others if name.startswith("ablation-")))
        jobs = []
        for name, given in self._by_lesson.items():
            opened = (self.dataset if data == OF_PROFILE else data for data in LESSONS[name].data)
            parameters, needs = dict(given), tuple(_data_job(data) for data in dict.fromkeys(opened))
            if name == TRAINING or ("CHECKPOINT" in LESSONS[name].parameters and "CHECKPOINT" not in given):
                needs += tuple({self.main_training} & others)
            if name == TRAINING:
                parameters |= {"SEED": self.seeds[0], "RESUME": True}
            if name == EVALUATION_LESSON:
                needs += tuple(sorted(other for other in others if other.startswith("network-")))
            if name == ABLATION_LESSON:
                needs += ablation
                parameters |= {"SEED": self.seeds[0], "SEEDS": self.ablation_seeds}
            jobs.append(Job(f"lesson-{name}", "lesson", needs, parameters | {"DEVICE": self.device}))
        return jobs

    @cached_property
    def _by_lesson(self) -> dict[str, dict[str, Any]]:
        return parameters_by_lesson(self.lessons or tuple(LESSONS), {"PROFILE": self.profile, **self.parameters})


def _data_job(dataset: str) -> str:
    """Name of the job that makes a data set ready; there is one folder of one's own at most, whatever it is called."""
    return f"data-{dataset}" if dataset in DATASETS else "data-own"
