"""What the lesson scores besides the data set: skin images by profile, a reader's checkpoints, rows for the figures.

The captions of the paper's Figures 2 and 3 name no cases and no rule by which they were chosen. Here the rule is in the
function's name, and it looks at the reference labels (`slices_through`) or at the whole range of scores (`spread_of`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.checkpoints import read_class_names
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import dataset_entry, open_dataset
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.images.dataset import ImageDataset
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import run_digest
from msa2net_lib.evaluation.images import ImageEvaluation, evaluate_images
from msa2net_lib.metrics import dice
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.official_checkpoints import open_checkpoint
from msa2net_lib.paper.reproduced.rows import COMPARABILITY
from msa2net_lib.paper.reproduced.runs import ReproducedRun
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import TrainResult, choose_device, train
from msa2net_lib.utils.plain import require_choice
from msa2net_lib.viz.plots import busiest_slices

LESION = ("lesion",)
LINE = 118
_MARGIN = 4  # pixels of air around the body


@dataclass(frozen=True)
class SkinPlan:
    """What a profile trains on images of skin: data set, preset, input size, recipe and steps (0: the recipe's own).

    count, size: synthetic images, and pixels a side that they are prepared to.
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
        return dataset_entry(self.data).source

    def open(self, data_dir: str | Path, progress: bool = True) -> ImageDataset:
        """Open the images; synthetic ones are drawn on first use. Raises: `InputError` where ISIC is not there."""
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
    "paper": SkinPlan("isic", "published", 224, "isic", pretrained=True),
}
"""By profile. The steps of `smoke` and `gpu` were chosen here; those of `gpu` were not measured."""


@dataclass(frozen=True, eq=False)
class SkinStudy:
    """A network trained on images, and its scores on the test images; no image was used to choose it."""

    plan: SkinPlan
    dataset: ImageDataset
    result: TrainResult
    evaluation: ImageEvaluation
    run: ReproducedRun

    def title(self, image_id: str) -> str:
        """What an image is called on figures: a drawn one not by the id that its file has in ISIC's layout."""
        return image_id.replace("ISIC_", "drawn ") if self.dataset.is_synthetic else image_id


def skin_plan(profile: str) -> SkinPlan:
    """Look up what a profile trains on images. Raises: `InputError` for an unknown profile."""
    require_choice("profile", profile, tuple(SKIN_PLANS))
    return SKIN_PLANS[profile]


def why_not(profile: str, data_dir: str | Path) -> str:
    """Why a profile's images cannot be had here, in one line; empty where they can, or can be drawn."""
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
    """Train a profile's network on its images, last step's weights, and score it on the test images.

    folder: where runs are kept, one inside it for each setting; a finished run is read back instead of repeated, an
    interrupted one goes on. steps: 0 for the plan's own. Raises: `InputError` where the images are not there.
    """
    plan = skin_plan(profile)
    dataset, network = plan.open(data_dir, progress), plan.network()
    chosen = steps or plan.steps
    training = TrainConfig.from_recipe(plan.recipe, seed=seed, **({"steps": chosen} if chosen else {}))
    home = Path(folder) / f"{plan.data}_{run_digest(network.to_dict(), training.to_dict(), dataset.digest())}"
    result = train(network, training, dataset, home, device=device, progress=progress)
    evaluation = evaluate_images(result.network.to(choose_device(device)), dataset, progress=progress)
    named = {"name": f"{plan.preset}, trained here", "data": plan.data, "training": training}
    return SkinStudy(plan, dataset, result, evaluation, ReproducedRun.from_evaluation(evaluation, network, **named))


@dataclass(frozen=True, eq=False)
class OtherNetwork:
    """A reader's network that stands beside the reproduced one: its name, its file, and whether it segments lesions."""

    name: str
    network: MSA2Net
    path: Path
    is_lesion: bool


def open_others(
    paths: Sequence[str | Path], class_names: Sequence[str], device: str | torch.device = "cpu"
) -> list[OtherNetwork]:
    """Open checkpoints, the library's (``.safetensors``) or the authors'; their names are those of their files.

    class_names: of the data set on which they are scored. Files of one name are told apart by their folders'. Raises:
    `InputError` for a file that is none, or given twice, or whose classes are neither these nor a lesion.
    """
    others, files = [], [Path(path) for path in paths]
    for path in files:
        if files.count(path) > 1:
            raise InputError(f"{path}: was given twice; name it once")
        network = open_checkpoint(path).to(device)
        classes, names = network.config.num_classes, read_class_names(path)
        kinds = [tuple(known) for known in (class_names, LESION) if classes == len(known) + 1]
        if not kinds or (names is not None and tuple(names) not in kinds):
            said = f"{classes} classes" if names is None else f"classes {', '.join(names)}"
            raise InputError(f"{path}: segments {said}; give networks of {', '.join(class_names)}, or of a lesion")
        alone = sum(path.stem == file.stem for file in files) == 1
        name = path.stem if alone else f"{path.parent.name}/{path.stem}"
        others.append(OtherNetwork(name, network, path, (tuple(names) if names else kinds[0]) == LESION))
    return others


@dataclass(frozen=True, eq=False)
class Row:
    """A row of Figure 2 or 3: an image, its label and what each network made of it, all of one size.

    image: (y, x), or (y, x, 3) in color. spacing: (y, x) in mm, or None.
    """

    title: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    predictions: Mapping[str, NDArray[np.uint8]]
    spacing: tuple[float, float] | None = None

    def dsc(self, network: str) -> float:
        """Mean Dice of a network over the classes that the label has; nan where it has none."""
        found, classes = self.predictions[network], [index for index in np.unique(self.label) if index]
        return float(np.mean([dice(found == i, self.label == i) for i in classes])) if classes else float("nan")


def slices_through(cases: Sequence[Case], predictions: Mapping[str, Mapping[str, NDArray]]) -> list[Row]:
    """One slice of each case: of the first its lowest rich one, of the last its highest, so that all organs get a row.

    "Rich" is the number of organs in the reference label, `plots.busiest_slices`. predictions: network -> case name ->
    label map (z, y, x). Raises: `InputError` if a network has none of a case.
    """
    rows = []
    for index, case in enumerate(cases):
        for name, maps in predictions.items():
            if case.name not in maps:
                raise InputError(f"{name}: has no prediction of {case.name}; evaluate it with keep_predictions=True")
        found = busiest_slices(case.label, len(cases)) or [len(case.label) // 2]
        z = found[min(index, len(found) - 1)]
        body = _around_body(case.image[z])
        maps = {name: maps[case.name][z][body] for name, maps in predictions.items()}
        spacing = None if case.spacing is None else (case.spacing[1], case.spacing[2])
        rows.append(Row(f"{case.name}\nslice {z}", case.image[z][body], case.label[z][body], maps, spacing))
    return rows


def _around_body(image: NDArray) -> tuple[slice, slice]:
    """The box of what is brighter than a twentieth of the window, with some air; all of an empty image."""
    box = ndimage.find_objects((image > 0.05).astype(np.uint8))
    if not box:
        return slice(None), slice(None)
    first, second = (slice(max(0, side.start - _MARGIN), side.stop + _MARGIN) for side in box[0])
    return first, second


def spread_of(by_image: pd.DataFrame, count: int) -> dict[str, str]:
    """Choose images from the worst to the best DSC at even steps of rank: id -> "DSC 0.57, worst".

    by_image: `ImageEvaluation.by_image`. Fewer images than ``count`` are all chosen.
    """
    ranked = by_image.sort_values("dsc", kind="stable")["dsc"]
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    words = {0: ", worst", len(ranked) - 1: ", best"}
    return {str(ranked.index[place]): f"DSC {ranked.iloc[place]:.2f}{words.get(int(place), '')}" for place in places}


def images_through(study: SkinStudy, others: Mapping[str, ImageEvaluation], count: int = 5) -> list[Row]:
    """Images for Figure 3, from the reproduced network's worst to its best, with what every network predicts there."""
    evaluations = {f"reproduced: {study.run.name}": study.evaluation, **others}
    rows = []
    for name, rank in spread_of(study.evaluation.by_image, count).items():
        shown = study.dataset.load(name)
        maps = {network: evaluation.predictions[name] for network, evaluation in evaluations.items()}
        rows.append(Row(f"{study.title(name)}\nreproduced: {rank}", shown.image, shown.mask, maps))
    return rows


def numbers_as_text(table: pd.DataFrame, digits: int, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The numbers of a table as text of so many digits, or more where printed; what a row lacks is "not measured".

    table: as `paper.reproduced` builds them; an interval's two columns become one. names: other headings for columns.
    """
    shown = pd.DataFrame(index=table.index)
    for column in (name for name in table.columns if name not in COMPARABILITY):
        if column.endswith("_high"):
            continue
        if column.endswith("_low"):
            name = column.removesuffix("_low")
            values = [
                f"{low:.{digits}f} to {high:.{digits}f}" if low == low else ""
                for low, high in zip(table[column], table[f"{name}_high"], strict=True)
            ]
            column = f"{name}, 95 % interval"
        else:
            values = ["" if value != value else _digits(value, digits) for value in table[column]]
        shown[(names or {}).get(column, column)] = [
            value or ("–" if origin == "published" else "not measured")
            for value, origin in zip(values, table["origin"], strict=True)
        ]
    return shown


def _digits(value: float, digits: int) -> str:
    """At least so many digits, and more where a published number has more."""
    text = f"{value:.{digits}f}"
    return text if float(text) == value else str(value)


def said_of_reproduced(table: pd.DataFrame) -> str:
    """For each reproduced row: its comparability, data, selection and note, as wrapped lines."""
    lines = []
    for name, row in table.query("origin != 'published'").to_dict("index").items():
        lines += textwrap.wrap(f"{name}: {row['comparability']}", LINE)
        words = "; ".join(str(row[key]) for key in ("data", "selection", "note") if row[key])
        lines += textwrap.wrap(words, LINE, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)
