"""Training the six rows of Table 3: what each profile trains, in one place for lesson 12 and for batch jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import compare
from msa2net_lib.nn.gates import GATES
from msa2net_lib.paper.ablation.comparison import ROWS, Reading, ablation_config, other_gate
from msa2net_lib.paper.ablation.rows import find_row
from msa2net_lib.train_config import PROFILES, TrainConfig
from msa2net_lib.utils.plain import require_choice

LESSON = "12_ablation"
Auto = Literal["auto"]

_SMOKE = {"image_size": 64, "steps": 40, "cases": 1}
_OWN: dict[str, dict[str, int]] = {"smoke": _SMOKE, "gpu": {"steps": 600}, "paper": {}}
"""What the ablation's runs change in a profile: input in pixels, training steps, held-out cases (else all).

smoke: eighteen runs in under four minutes on two cores. gpu: a tenth of the recipe's steps, for eighteen runs are to
end within the hour; not measured yet. paper: the full schedule, eighteen times.
"""


@dataclass(frozen=True)
class AblationPlan:
    """What the runs of an ablation share; make one with `ablation_plan`.

    network: the whole network, of which rows leave parts out. training: its seed is replaced by each of ``seeds``.
    cases: so many of the held-out cases are scored, None for all.
    """

    network: NetworkConfig
    training: TrainConfig
    dataset: str
    seeds: tuple[int, ...]
    cases: int | None
    reading: Reading
    resume: bool

    def held_out(self, dataset: PreparedDataset) -> PreparedDataset:
        """The data set with the cases that are scored."""
        return replace(dataset, test_cases=dataset.test_cases[: self.cases])

    def length(self) -> str:
        """How long each run trains, in words, and first which gate stands in MASAG's place, if one does."""
        training, gate = self.training, other_gate(self.network)
        length = f"{training.steps} steps" if training.steps else f"{training.epochs} epochs"
        return length if gate is None else f"{gate} IN PLACE OF MASAG, {length}"


def ablation_plan(
    profile: str,
    *,
    seed: int = 1234,
    seeds: int = 3,
    steps: int | Auto = "auto",
    image_size: int | Auto = "auto",
    dataset: str = "auto",
    reading: Reading = "replaced",
    gate: str = "masag",
    preset: str = "auto",
) -> AblationPlan:
    """What a profile's ablation trains; "auto" is the profile's own.

    seed: the first of ``seeds`` consecutive ones. reading: see `comparison.Reading`. gate: what stands
    in the rows with MASAG; another one than MASAG makes rows that the paper does not have. Raises: `InputError` for an
    unknown profile, preset or gate, a gate that the rows without MASAG have, or fewer than one seed.
    """
    require_choice("profile", profile, tuple(PROFILES))
    require_choice("gate", gate, tuple(name for name in GATES if name != "addition"))
    if seeds < 1:
        raise InputError(f"seeds={seeds}: give at least 1")
    chosen, own = PROFILES[profile].with_preset(preset), _OWN[profile]
    size = own.get("image_size") if image_size == "auto" else image_size
    length = own.get("steps") if steps == "auto" else steps
    sized: dict[str, Any] = {} if size is None else {"image_size": size}
    return AblationPlan(
        network=NetworkConfig.from_preset(chosen.preset, pretrained=chosen.pretrained, gate=gate, **sized),
        training=TrainConfig.from_recipe(chosen.recipe, **({} if length is None else {"steps": length})),
        dataset=chosen.dataset if dataset == "auto" else dataset,
        seeds=tuple(range(seed, seed + seeds)),
        cases=own.get("cases"),
        reading=reading,
        resume=profile != "smoke",  # a run of seconds is sooner repeated than saved
    )


def run_ablation(
    plan: AblationPlan,
    dataset: PreparedDataset,
    folder: str | Path | None,
    *,
    rows: Sequence[str] = tuple(row.name for row in ROWS),
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    progress: bool = False,
) -> pd.DataFrame:
    """Train and score rows with seeds, or read back from ``folder`` those that are done; as `compare` returns them.

    rows: names or keys. seeds: some of the plan's, None for all. Raises: `InputError` for an unknown row.
    """
    chosen = [find_row(name) for name in rows]
    return compare(
        {row.name: ablation_config(plan.network, row, plan.reading) for row in chosen},
        plan.training,
        plan.seeds if seeds is None else seeds,
        plan.held_out(dataset),
        folder,
        device=device,
        progress=progress,
        resume=plan.resume and folder is not None,
    )


def runs_folder(output_dir: str | Path, profile: str) -> Path:
    """Where lesson 12 looks for finished runs of a profile."""
    return Path(output_dir) / profile / LESSON / "runs"
