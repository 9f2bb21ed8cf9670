"""The network of Table 2 and Figure 3 in each profile: on which pictures it is trained, and how it scores there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msa2net_lib.config import NetworkConfig, require_choice
from msa2net_lib.data.catalog import DATASETS, open_dataset
from msa2net_lib.data.images.dataset import ImageDataset
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.images import ImageEvaluation, evaluate_images
from msa2net_lib.lessons.l11_evaluation.figure_grids import ImageRow, spread_of
from msa2net_lib.paper.reproduced.runs import ReproducedRun
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import TrainResult, choose_device, train


@dataclass(frozen=True)
class SkinPlan:
    """What a profile trains on pictures: data set by name, preset, input size, recipe and steps (0: the recipe's own).

    count, size: synthetic pictures, and pixels a side that they are prepared to.
    """

    data: str
    preset: str
    image_size: int
    recipe: str
    steps: int = 0
    pretrained: bool = False
    count: int = 300
    size: int = 224

    @property
    def source(self) -> str:
        """What to write on figures."""
        return DATASETS[self.data].source

    def open(self, data_dir: str | Path, progress: bool = True) -> ImageDataset:
        """Open the pictures; synthetic ones are drawn on first use. Raises: `InputError` where ISIC is not there."""
        drawn = {"count": self.count, "size": self.size} if self.data == "skin" else {}
        return open_dataset(self.data, data_dir, progress=progress, **drawn)

    def network(self) -> NetworkConfig:
        """The network: background and lesion."""
        return NetworkConfig.from_preset(
            self.preset, num_classes=2, image_size=self.image_size, pretrained=self.pretrained
        )


SKIN_PLANS: dict[str, SkinPlan] = {
    "smoke": SkinPlan("skin", "tiny", 96, "smoke", steps=200, count=100, size=96),
    "gpu": SkinPlan("skin", "paper", 224, "gpu", steps=2000),
    "paper": SkinPlan("isic", "paper", 224, "isic", pretrained=True),
}
"""By profile. The steps of `smoke` and `gpu` are ours; those of `gpu` were not measured."""


@dataclass(frozen=True, eq=False)
class SkinStudy:
    """A network trained on pictures, and its scores on the test pictures; no picture was used to choose it."""

    plan: SkinPlan
    dataset: ImageDataset
    result: TrainResult
    evaluation: ImageEvaluation
    run: ReproducedRun

    def title(self, image_id: str) -> str:
        """What a picture is called on figures: a drawn one not by the id that its file has in ISIC's layout."""
        return image_id.replace("ISIC_", "drawn ") if self.dataset.is_synthetic else image_id


def skin_plan(profile: str) -> SkinPlan:
    """Look up what a profile trains on pictures. Raises: `InputError` for an unknown profile."""
    require_choice("profile", profile, tuple(SKIN_PLANS))
    return SKIN_PLANS[profile]


def why_not(profile: str, data_dir: str | Path) -> str:
    """Why a profile's pictures cannot be had here, in one line; empty where they can, or can be drawn."""
    plan = skin_plan(profile)
    if plan.data == "skin":
        return ""
    try:
        plan.open(data_dir)
    except InputError as error:
        return str(error)
    return ""


def study_skin(
    profile: str,
    data_dir: str | Path,
    folder: str | Path,
    *,
    seed: int = 1234,
    steps: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> SkinStudy:
    """Train a profile's network on its pictures, last step's weights, and score it on the test pictures.

    folder: where runs are kept, one inside it for each setting; a finished run is read back instead of repeated, an
    interrupted one goes on. steps: 0 for the plan's own. Raises: `InputError` where the pictures are not there.
    """
    plan = skin_plan(profile)
    dataset, network = plan.open(data_dir, progress), plan.network()
    chosen = steps or plan.steps
    training = TrainConfig.from_recipe(plan.recipe, seed=seed, **({"steps": chosen} if chosen else {}))
    home = Path(folder) / f"{plan.data}_{_digest(network, training, dataset)}"
    result = train(network, training, dataset, home, device=device, progress=progress)
    evaluation = evaluate_images(result.network.to(choose_device(device)), dataset, progress=progress)
    named = {"name": f"{plan.preset}, trained here", "data": plan.data, "training": training}
    return SkinStudy(plan, dataset, result, evaluation, ReproducedRun.from_evaluation(evaluation, network, **named))


def figure_3_rows(study: SkinStudy, others: Mapping[str, ImageEvaluation], count: int = 5) -> list[ImageRow]:
    """Pictures for Figure 3, from our network's worst to its best, with what every network predicts on them."""
    evaluations = {f"reproduced: {study.run.name}": study.evaluation, **others}
    return [
        ImageRow(
            f"{study.title(name)}\nreproduced: {rank}",
            study.dataset.load(name),
            {network: evaluation.predictions[name] for network, evaluation in evaluations.items()},
        )
        for name, rank in spread_of(study.evaluation.by_image, count).items()
    ]


def _digest(network: NetworkConfig, training: TrainConfig, dataset: ImageDataset) -> str:
    """Eight letters that differ as soon as anything differs that a run rests on."""
    parts = json.dumps([network.to_dict(), training.to_dict(), dataset.digest()], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:8]
