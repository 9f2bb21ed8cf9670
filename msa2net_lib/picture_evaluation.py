"""Evaluation on pictures: predict the masks of a split, score them, and hold its prevalence beside the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from msa2net_lib.data.pictures.split import PARTS
from msa2net_lib.data.resize import resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.inference import evaluation_mode
from msa2net_lib.metrics import AVERAGES, pixel_scores
from msa2net_lib.paper.consistency import consistency_table, implied_specificity
from msa2net_lib.paper.tables import table_2
from msa2net_lib.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msa2net_lib.data.pictures.dataset import PictureDataset
    from msa2net_lib.nn.network import MSA2Net

OURS = "MSA²Net"
ALSO_NAMED = 0.2106
"""A share that is also named for ISIC 2018; no row of Table 2 implies it, and we know no source."""


@dataclass(frozen=True)
class PictureEvaluation:
    """Scores and predictions of one network on one part of a data set.

    scores: rows "pooled" (all pixels of all pictures together, as the lineage of the paper's ISIC rows does) and
    "per_image" (mean over pictures), columns dsc, se, sp, acc (0 to 1). by_picture: the same columns for each id,
    and ``lesion_share``, the share of lesion pixels in its mask. predictions: id -> mask (H, W), 0 and 1, of the
    prepared size.
    """

    split: str
    scores: pd.DataFrame
    by_picture: pd.DataFrame
    predictions: dict[str, NDArray[np.uint8]]

    @property
    def prevalence(self) -> float:
        """Share of lesion pixels over all masks scored: with it, SE, SP and ACC of "pooled" check each other."""
        return float(np.mean(self.by_picture["lesion_share"]))


@torch.inference_mode()
def evaluate_pictures(
    network: MSA2Net, dataset: PictureDataset, *, split: str = "test", batch_size: int = 16, progress: bool = True
) -> PictureEvaluation:
    """Predict and score the pictures of a part ("train", "validation" or "test") of prepared pictures.

    Each goes through the recipe to the network's size, and its class map by the nearest pixel back to the prepared
    size, where it is scored; nothing is opened, filled or chosen afterwards. Runs on the network's device, in
    evaluation mode. Raises InputError for an unknown or empty part, and unless the network has 2 classes.
    """
    if split not in PARTS:
        raise InputError(f"split={split!r} is unknown: use one of {', '.join(PARTS)}")
    ids = dataset.ids[split]
    if not ids:
        raise InputError(f"{dataset.root}: has no picture for {split}; choose another part or prepare it anew")
    if network.config.num_classes != 2:
        raise InputError(f"network with {network.config.num_classes} classes: background and lesion need 2")
    predictions: dict[str, NDArray[np.uint8]] = {}
    bar = progress_bar(total=len(ids), desc="predicting", unit="picture", enabled=progress)
    with bar, evaluation_mode(network):
        for start in range(0, len(ids), batch_size):
            chosen = ids[start : start + batch_size]
            predictions |= dict(zip(chosen, _predict(network, dataset, chosen), strict=True))
            bar.update(len(chosen))
    masks = {name: dataset.load(name).mask for name in ids}
    return PictureEvaluation(split, *_score(predictions, masks), predictions)


def prevalence_report(dataset: PictureDataset | None, *, published: bool = True) -> str:
    """Return the share of lesion pixels, measured by part and size, beside what Table 2 implies, as lines.

    Without prepared ISIC pictures ``dataset`` is None, and the measured lines say "not measured". ``published``: leave
    out what Table 2 implies where the pictures are others than ISIC's.
    """
    size = " x ".join(map(str, dataset.height_width)) if dataset is not None else "prepared"
    of = "" if dataset is None else " (synthetic pictures)" if dataset.is_synthetic else f" ({dataset.root.name})"
    lines = [f"share of lesion pixels, all pictures pooled{of}", f"  {'':<24}{'as they came':>14}{size:>14}"]
    for part in PARTS:
        measured = {} if dataset is None else dataset.manifest["prevalence"][part]
        shown = [_share(measured.get(key)) for key in ("source", "prepared")]
        lines.append(f"  {'measured, ' + part:<24}{shown[0]:>14}{shown[1]:>14}")
    return "\n".join([*lines, *(_published_shares() if published else [])])


def _published_shares() -> list[str]:
    """Return a line for each row of Table 2 that implies a share."""
    lines = []
    rows = consistency_table(table_2()).to_dict("index")
    for method, row in rows.items():
        if row["closes"]:
            lines.append(f"  {f'implied by {method}':<24}{'':>14}{_share(row['prevalence_from_acc']):>14}")
    own = table_2().loc[OURS]
    _, implied = implied_specificity(own.dsc, own.se, own.acc)
    lines.append(
        f"  {f'implied by {OURS}':<24}{'':>14}{_share(implied):>14}  (from DSC, SE and ACC; its SP does not fit)"
    )
    lines.append(f"  {'quoted without a source':<24}{'':>14}{_share(ALSO_NAMED):>14}")
    return lines


def _predict(network: MSA2Net, dataset: PictureDataset, ids: list[str]) -> list[NDArray[np.uint8]]:
    samples = [dataset.training_sample(name, network.config.height_width)[0] for name in ids]
    batch = torch.from_numpy(np.stack(samples)).to(next(network.parameters()).device)
    classes = network(batch).argmax(dim=1).byte().cpu().numpy()
    return [resize_label(mask, dataset.height_width) for mask in classes]


def _score(
    predictions: dict[str, NDArray[np.uint8]], masks: dict[str, NDArray[np.uint8]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    pairs = [(predictions[name], masks[name]) for name in masks]
    found, true = zip(*pairs, strict=True)
    scores = {average: pixel_scores(found, true, average=average) for average in AVERAGES}
    rows = {
        name: pixel_scores([predictions[name]], [mask]) | {"lesion_share": float(mask.mean())}
        for name, mask in masks.items()
    }
    by_picture = pd.DataFrame.from_dict(rows, orient="index").rename_axis("picture")
    return pd.DataFrame.from_dict(scores, orient="index").rename_axis("average"), by_picture


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
