"""Evaluation on images: predict the masks of a split, and score them pooled and image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from PIL import Image

from msa2net_lib.baselines.spec import config_of
from msa2net_lib.data.images.read import read_mask, turn
from msa2net_lib.data.images.split import PARTS
from msa2net_lib.data.prepared_files import MANIFEST
from msa2net_lib.data.resize import resize_back
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import statistic_interval
from msa2net_lib.evaluation.mask_rules import MaskRule
from msa2net_lib.evaluation.volumes import optimized, refuse_sources
from msa2net_lib.inference import BATCH_SIZE, InferencePrecision, predict_logits
from msa2net_lib.metrics import AVERAGES, pixel_counts, scores_of_counts
from msa2net_lib.optimize import OptimizedWhenLong
from msa2net_lib.utils.files import atomic_path, sha256, writable_folder
from msa2net_lib.utils.names import check_id, id_path
from msa2net_lib.utils.progress import progress_bar

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from msa2net_lib.data.images.dataset import ImageDataset

COUNTS = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class ImageEvaluation:
    """Scores and predictions of one network on one part of a data set.

    by_image: columns dsc, se, sp, acc (0 to 1) for each id, ``lesion_share``, the share of lesion pixels in its mask,
    and the pixel counts `COUNTS`. predictions: id -> mask (H, W), 0 and 1, as far as they were kept. rule: how masks
    were made of logits. size: what size they were scored at.
    """

    split: str
    by_image: pd.DataFrame
    predictions: dict[str, NDArray[np.uint8]]
    rule: MaskRule = field(default_factory=MaskRule)
    size: str = "prepared"

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Rows "pooled" (all pixels of all images together, as the lineage of the paper's ISIC rows does) and
        "per_image" (mean over images), columns dsc, se, sp, acc (0 to 1)."""
        counts = self.by_image[list(COUNTS)].to_numpy()
        scores = {average: scores_of_counts(counts, average) for average in AVERAGES}
        return pd.DataFrame.from_dict(scores, orient="index").rename_axis("average")

    @property
    def prevalence(self) -> float:
        """Share of lesion pixels over all masks scored: with it, SE, SP and ACC of "pooled" check each other."""
        pixels = self.by_image[list(COUNTS)].sum(axis=1)
        return float(np.average(self.by_image["lesion_share"], weights=pixels))

    def interval(self, average: str = "pooled", column: str = "dsc", confidence: float = 0.95) -> tuple[float, float]:
        """Student's t interval over images, (low, high), of one of `scores`, by the jackknife; nan below 2 images.

        Raises: `InputError` for an unknown average or column, and a confidence outside of 0 to 1.
        """
        if average not in AVERAGES or column not in self.scores.columns:
            known = f"{', '.join(AVERAGES)} and {', '.join(self.scores.columns)}"
            raise InputError(f"average={average!r}, column={column!r}: choose among {known}")
        counts = self.by_image[list(COUNTS)].to_numpy()

        return statistic_interval(lambda kept: scores_of_counts(counts[kept], average)[column], len(counts), confidence)


def evaluate_images(
    network: nn.Module,
    dataset: ImageDataset,
    *,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
    progress: bool = True,
    rule: MaskRule | None = None,
    masks: str | Path | None = None,
    keep_predictions: bool = True,
    predictions_dir: str | Path | None = None,
    precision: InferencePrecision = "fp32",
    fast: bool | None = False,
) -> ImageEvaluation:
    """Predict and score the images of a part ("train", "validation" or "test") of prepared images.

    Each goes through the recipe to the network's size, where its mask is made (``rule``; by default the likelier class,
    nothing opened or filled afterwards), and by the nearest pixel back to the prepared size, where it is scored.
    masks: the folder of the masks that the images were prepared from; then it is scored at their own size instead,
    against them. predictions_dir: write masks to ID.png there, 0 and 255. Other options as `evaluate`. Runs on the
    network's device, in evaluation mode. Raises InputError for an unknown or empty part, for masks that are missing or
    others than those, and unless the network has 2 classes.
    """
    if split not in PARTS:
        raise InputError(f"split={split!r} is unknown: use one of {', '.join(PARTS)}")
    ids = dataset.ids[split]
    if not ids:
        raise InputError(f"{dataset.root}: has no image for {split}; choose another part or prepare it anew")
    if config_of(network).num_classes != 2:
        raise InputError(f"network with {config_of(network).num_classes} classes: background and lesion need 2")
    rule = rule or MaskRule()
    batch_size = min(batch_size, len(ids))
    folder = None if predictions_dir is None else writable_folder(predictions_dir)
    if folder is not None:
        refuse_sources([id_path(folder, name, ".png") for name in ids], dataset.manifest["images"])
    predicting = optimized(network, precision) if fast else network
    if fast is None and precision == "fp32":
        predicting = OptimizedWhenLong(network, len(ids))
    predictions: dict[str, NDArray[np.uint8]] = {}
    rows: dict[str, dict[str, float]] = {}
    bar = progress_bar(total=len(ids), desc="predicting", unit="image", enabled=progress)
    with bar:
        for start in range(0, len(ids), batch_size):
            chosen = ids[start : start + batch_size]
            inputs = _network_input(dataset, chosen, config_of(network).height_width)
            found = rule.masks(predict_logits(predicting, inputs, batch_size, precision))
            for name, mask in zip(chosen, found, strict=True):
                target = dataset.load(name).mask if masks is None else original_mask(dataset, name, Path(masks))
                predicted = resize_back(mask, (target.shape[0], target.shape[1]))
                rows[name] = image_row(predicted, target)
                if keep_predictions:
                    predictions[name] = predicted
                if folder is not None:
                    _write_mask(predicted, id_path(folder, name, ".png"))
            bar.update(len(chosen))
    by_image = pd.DataFrame.from_dict(rows, orient="index").rename_axis("image")
    return ImageEvaluation(split, by_image, predictions, rule, "prepared" if masks is None else "original")


def original_mask(dataset: ImageDataset, image_id: str, masks: Path) -> NDArray[np.bool_]:
    """Return the mask that an image was prepared from, at its own size, (H, W).

    Raises: `InputError` if ``masks`` does not hold it, or another file of its name.
    """
    entry = dataset.manifest["images"][image_id]
    source = entry["sources"]["mask"]
    path = masks / check_id(source["file"], dataset.root / MANIFEST)
    if not path.is_file():
        raise InputError(f"{path}: no such mask; name the folder that the images were prepared from")
    if sha256(path) != source["sha256"]:
        raise InputError(f"{path}: is not the mask that {image_id} was prepared with; prepare the images again")
    mask = read_mask(path, threshold=dataset.manifest["options"]["threshold"])
    return turn(mask, entry.get("mask_turned", 1))


def _network_input(dataset: ImageDataset, ids: Sequence[str], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
    return torch.from_numpy(np.stack([dataset.training_sample(name, size)[0] for name in ids]))


def image_row(predicted: NDArray[np.uint8], target: NDArray) -> dict[str, float]:
    """One row of `ImageEvaluation.by_image`."""
    counts = pixel_counts(predicted, target)
    shares = scores_of_counts(np.array([counts])) | {"lesion_share": float(target.mean())}
    return shares | dict(zip(COUNTS, counts, strict=True))


def _write_mask(mask: NDArray[np.uint8], path: Path) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(255 * mask).save(temporary, format="PNG")
