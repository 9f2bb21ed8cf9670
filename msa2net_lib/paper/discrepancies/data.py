"""Differences in the data: how many slices, which numbers, what resizing does to them."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.labels import ORGANS, SCHEMES, convert_scheme
from msa2net_lib.data.resize import normalize, resize_back, resize_image, resize_images, resize_label, resize_labels
from msa2net_lib.data.splits import SYNAPSE_SLICES
from msa2net_lib.inference import predict_classes
from msa2net_lib.metrics import dice, score_volume
from msa2net_lib.paper import reference_implementation as released
from msa2net_lib.paper import tables
from msa2net_lib.paper.discrepancies.evidence import Evidence, patient, patient_2

INPUT = 224
"""Pixels of the paper's input, section 4.2."""

_SLICES = 8  # of a patient, for what a network has to predict


def slices(_: Path) -> Evidence:
    counts = pd.Series(SYNAPSE_SLICES)
    steps = ceil(counts.sum() / released.PAPER_BATCH)
    says = (
        f"the list names {counts.sum()} slices of {len(counts)} cases, papers say "
        f"{tables.SYNAPSE_TRAIN_SLICES_PRINTED}; "
        f"an epoch of batch {released.PAPER_BATCH} is {steps} steps either way"
    )
    table = counts.to_frame("slices").rename_axis("case")
    return Evidence(says, table, int(counts.sum()) != tables.SYNAPSE_TRAIN_SLICES_PRINTED)


def slices_to_test(_: Path) -> Evidence:
    counts = {"the list": sum(SYNAPSE_SLICES.values()), "papers": tables.SYNAPSE_TRAIN_SLICES_PRINTED}
    left = {source: tables.SYNAPSE_SLICES - count for source, count in counts.items()}
    table = pd.DataFrame({"training slices": counts, "left to test": left}).rename_axis("by")
    says = (
        f"{tables.SYNAPSE_SLICES} slices less the list's {counts['the list']} are {left['the list']}; less the printed "
        f"{counts['papers']}, {left['papers']}"
    )
    return Evidence(says, table, left["the list"] != left["papers"])


def label_numberings(data_dir: Path) -> Evidence:
    _, label, _ = patient(data_dir, 1)
    scores = {
        scheme: score_volume(label, convert_scheme(label, "A", scheme), len(ORGANS) + 1)[:, 0] for scheme in SCHEMES
    }
    table = pd.DataFrame({f"scheme {scheme}": pd.Series(ids) for scheme, ids in SCHEMES.items()})
    table = table.join(pd.DataFrame({f"DSC against {s}": pd.Series(v, ORGANS) for s, v in scores.items() if s != "A"}))
    wrong = {scheme: values.mean() for scheme, values in scores.items() if scheme != "A"}
    says = "a perfect prediction of real patient 1 in scheme A, scored against labels in another, has a mean DSC of "
    says += ", ".join(f"{value:.3f} ({scheme})" for scheme, value in wrong.items())
    return Evidence(says, table.rename_axis("organ"), bool(scores["A"].min() == 1 and max(wrong.values()) < 1))


def cubic_overshoot(data_dir: Path) -> Evidence:
    image, _ = patient_2(data_dir)
    middle = image[len(image) // 2]
    small = resize_image(middle, INPUT)
    outside = float(((small < -0.01) | (small > 1.01)).mean())
    table = pd.DataFrame(
        {
            name: {"lowest": float(a.min()), "highest": float(a.max())}
            for name, a in (("prepared", middle), ("resized", small))
        }
    ).T
    says = (
        f"a slice of real patient 2 in [{middle.min():g}, {middle.max():g}] comes out of the resize to {INPUT} in "
        f"[{small.min():.2f}, {small.max():.2f}], {outside:.1%} of its pixels off by more than 0.01"
    )
    return Evidence(says, table, outside > 0)


def lost_edge(data_dir: Path) -> Evidence:
    scans = {number: patient(data_dir, number) for number in (1, 2)}
    label = scans[2][1]
    ones = resize_labels(np.ones((1, *label.shape[1:]), np.uint8), INPUT)
    lost = int((ones == 0).sum())
    organs = int((resize_back(label, INPUT) > 0).sum() - (resize_labels(label, INPUT) > 0).sum())
    network = load_network(SHIPPED_TINY)
    rows = {}
    for number, (image, label, _) in scans.items():
        step = -(-len(image) // _SLICES)
        image, label = image[::step], label[::step]
        inputs = torch.from_numpy(normalize(resize_images(image, network.config.height_width)))[:, None]
        tissue = float((torch.cat([inputs[..., -1, :], inputs[..., :, -1]], dim=-1) > -0.9).float().mean())
        scores = []
        for edge in (inputs, _without_edge(inputs)):
            found = resize_back(predict_classes(network, edge), (label.shape[1], label.shape[2]))
            there = [index for index in range(1, len(ORGANS) + 1) if (label == index).any()]
            scores.append(float(np.mean([dice(found == index, label == index) for index in there])))
        rows[f"real patient {number}"] = {"tissue on that edge": tissue, "DSC": scores[0], "DSC, edge 0": scores[1]}
    table = pd.DataFrame(rows).T
    says = (
        f"SciPy's zoom from {scans[2][0].shape[-1]} to {INPUT} leaves {lost} of {INPUT**2} pixels 0, the last row and "
        f"column of image and label; of real patient 2's organs that takes {organs} pixels. With that edge 0 in the "
        "shipped network's input, the mean DSC changes by "
        + " and ".join(f"{row['DSC, edge 0'] - row.DSC:+.4f} ({name})" for name, row in table.iterrows())
    )
    return Evidence(says, table, lost > 0)


def _without_edge(inputs: Tensor) -> Tensor:
    """Set the last row and column to what SciPy leaves there, which is -1 once it is normalized."""
    edge = inputs.clone()
    edge[..., -1, :] = edge[..., :, -1] = -1
    return edge


def label_round_trip(data_dir: Path) -> Evidence:
    _, label = patient_2(data_dir)
    size = label.shape[-1]
    back = np.stack([resize_label(resize_label(slice_, INPUT), size) for slice_ in label])
    scores = score_volume(back, label, len(ORGANS) + 1)[:, 0]
    there = {organ: score for index, (organ, score) in enumerate(zip(ORGANS, scores, strict=True), 1) if index in label}
    table = pd.DataFrame({"DSC": there})
    y, x = np.mgrid[:size, :size] - size // 2
    discs = [((y - at) ** 2 + (x - at) ** 2 <= 6**2).astype(np.uint8) for at in range(16)]
    worst = min(dice(resize_label(resize_label(disc, INPUT), size), disc) for disc in discs)
    organs = f"{table.DSC.min():.3f} to {table.DSC.max():.3f}"
    table.loc["disc of radius 6, worst of 16 places"] = worst
    says = (
        f"labels resized {size} to {INPUT} to {size} score {organs} against themselves, a disc of radius 6 pixels "
        f"as little as {worst:.3f}"
    )
    return Evidence(says, table, bool((table.DSC < 1).all()))
