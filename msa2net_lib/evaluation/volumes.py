"""Evaluation: predict every test case, score every organ, keep the table.

`evaluate` is here; the table, its means and those of several seeds in ``table``, intervals in ``intervals``,
the weights that a training run leaves in ``selections``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from msa2net_lib.baselines.spec import config_of
from msa2net_lib.data.datasets import Case, PreparedDataset, ValidationCases
from msa2net_lib.data.resize import Resampling, resize_images, resize_labels, without_lost_edge
from msa2net_lib.data.volumes import Volume, write_volume
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.table import COLUMNS, HD95_UNIT, Evaluation, Protocol
from msa2net_lib.inference import BATCH_SIZE, InferencePrecision, predict_volume
from msa2net_lib.metrics import VolumeMeasures, measure_volume
from msa2net_lib.metrics.volumes import check_protocol
from msa2net_lib.optimize import OptimizedNetwork, OptimizedWhenLong, optimize_for_inference
from msa2net_lib.utils.files import sha256, writable_folder
from msa2net_lib.utils.names import id_path

Row = tuple[Any, ...]  # of Evaluation.scores


def evaluate(
    network: nn.Module,
    dataset: PreparedDataset | ValidationCases,
    *,
    cases: Sequence[str] | None = None,
    protocols: Sequence[Protocol] = ("paper", "strict"),
    progress: bool = True,
    keep_predictions: bool = True,
    predictions_dir: str | Path | None = None,
    batch_size: int = BATCH_SIZE,
    resampling: Resampling = "scipy",
    precision: InferencePrecision = "fp32",
    fast: bool | None = False,
    workers: int | None = None,
) -> Evaluation:
    """Predict and score the test cases of a prepared data set, under each protocol.

    Class i of the network is the data set's class i. One case is in memory at a time.

    Args:
        network: an `MSA2Net`, a network of `build_network` or `adopt_network`, or what `optimize_for_inference` made
            of one.
        dataset: with test cases.
        cases: names of some of them; None for all.
        protocols: "paper" and "strict", see `metrics.score_volume`. "strict" needs the cases' spacing, which
            TransUNet's own files do not store.
        progress: show a bar.
        keep_predictions: keep every label map in the result.
        predictions_dir: write them to CASE.nii.gz there, voxel for voxel on the scan that the case was prepared from;
            where nobody recorded its place, in the prepared data's voxels (1 mm where no spacing is stored).
        batch_size: as `predict_volume` takes it, like ``resampling`` and ``precision``.
        resampling: "scipy" or "matrix".
        precision: "fp32" or "bf16".
        fast: predict with `optimize_for_inference` of the network, if it is not optimized already; None where that
            repays its preparation, for networks as they were read from files (`OptimizedWhenLong`).
        workers: threads that measure distances (default: as many as torch has).

    Returns:
        Scores by protocol, case and class, with the label maps.

    Raises:
        InputError: a case that is not there or has no spacing, a network of another number of classes, and predictions
            that would replace what the data were prepared from.

    Example:
        >>> from msa2net_lib import MSA2Net, evaluate, open_dataset
        >>> network = MSA2Net.from_preset("tiny", image_size=64)
        >>> found = evaluate(network, open_dataset("synapse"), protocols=["paper"], progress=False)
        >>> found.by_organ().columns.tolist()
        ['dsc', 'hd95']

    Source: paper, section 4.1; the reference implementation's test script ("paper").
    """
    organs = dataset.class_names
    if (classes := config_of(network).num_classes) != len(organs) + 1:
        raise InputError(f"network with {classes} classes: the data set has {len(organs) + 1}, background counted")
    for protocol in protocols:
        check_protocol(protocol)
    folder = None if predictions_dir is None else writable_folder(predictions_dir)
    predicting = optimized(network, precision) if fast else network
    workers = torch.get_num_threads() if workers is None else workers
    predictions: dict[str, NDArray[np.uint8]] = {}
    files: dict[str, Path] = {}
    rows: list[Row] = []
    names = dataset.test_cases if cases is None else cases
    if folder is not None:
        refuse_sources(
            [id_path(folder, name, ".nii.gz") for name in names], getattr(dataset, "manifest", {}).get("cases", {})
        )
    for name in names:
        case = _load_case(dataset, name, protocols)
        if fast is None and predicting is network and precision == "fp32":
            predicting = OptimizedWhenLong(network, len(names) * len(case.image))
        predicted = predict_volume(
            predicting,
            case.image,
            batch_size=batch_size,
            progress=progress,
            resampling=resampling,
            precision=precision,
        )
        released = without_lost_edge(predicted, config_of(network).height_width)
        rows += score_case(predicted, case, organs, protocols, workers, released)
        if keep_predictions:
            predictions[name] = predicted
        if folder is not None:
            files[name] = _write_prediction(predicted, case, folder)
        del case, predicted, released  # before the next one is read
    return Evaluation(pd.DataFrame(rows, columns=list(COLUMNS)), predictions, files)


def score_case(
    predicted: NDArray[np.uint8],
    case: Case,
    organs: Sequence[str],
    protocols: Sequence[Protocol] = ("paper", "strict"),
    workers: int = 1,
    released: NDArray[np.uint8] | None = None,
) -> list[Row]:
    """Rows of `Evaluation.scores` for one case: one per protocol and organ, each distance measured once.

    released: what the protocol "paper" scores, if it is not ``predicted``.
    """
    scored = {"strict": predicted, "paper": predicted if released is None else released}
    measured: dict[int, VolumeMeasures] = {}
    rows = []
    for protocol in protocols:
        volume = scored[protocol]
        if id(volume) not in measured:
            measured[id(volume)] = measure_volume(volume, case.label, len(organs) + 1, case.spacing, workers=workers)
        measures = measured[id(volume)]
        voxels, mm = (measures.scored(protocol, unit) for unit in ("voxels", "mm"))
        own = {"voxels": voxels, "mm": mm}[HD95_UNIT[protocol]]
        for index, organ in enumerate(organs):
            scores = *map(float, own[index]), float(voxels[index, 1]), float(mm[index, 1])
            there = bool(measures.in_target[index]), bool(measures.in_pred[index])
            rows.append((protocol, case.name, organ, *there, *scores))
    return rows


def optimized(network: nn.Module, precision: InferencePrecision = "fp32") -> OptimizedNetwork:
    """Return the network as fast as its device allows (`optimize_for_inference`); one that is so already as it is.

    Raises: `InputError` for "bf16" where OpenVINO would compute, before it is converted for that.
    """
    on_cpu = next(network.parameters()).device.type == "cpu"
    if precision == "bf16" and on_cpu and importlib.util.find_spec("openvino") is not None:
        raise InputError("precision='bf16' with fast=True on a CPU: that computes in float32; leave one of the two out")
    return network if isinstance(network, OptimizedNetwork) else optimize_for_inference(network)


def refuse_sources(paths: Sequence[Path], entries: Mapping[str, Any]) -> None:
    """Raise InputError if a file to be written is there and one of those that the data were prepared from.

    entries: what ``dataset.json`` records, by case or image.
    """
    known = {source.get("sha256") for entry in entries.values() for source in entry.get("sources", {}).values()}
    for path in paths:
        if path.is_file() and sha256(path) in known:
            raise InputError(f"{path}: is what the data were prepared from; name another folder (--predictions DIR)")


def _load_case(dataset: PreparedDataset | ValidationCases, name: str, protocols: Sequence[Protocol]) -> Case:
    case = dataset.load_case(name)
    if "strict" in protocols and case.spacing is None:
        raise InputError(
            f"{dataset.case_path(name)}: stores no spacing, which the strict protocol needs; "
            "use protocols=('paper',), or prepare the case from the original scan"
        )
    return case


def _write_prediction(predicted: NDArray[np.uint8], case: Case, folder: Path) -> Path:
    path = id_path(folder, case.name, ".nii.gz")
    if case.placement is not None:
        return case.placement.write_label_map(predicted, path)
    return write_volume(Volume(predicted, case.spacing or (1.0, 1.0, 1.0)), path)


def rescaled_case(case: Case, pixel_mm: Sequence[float], height_width: tuple[int, int]) -> Case:
    """Resample a case in the slice plane to another pixel size and cut out one field of view.

    pixel_mm: (y, x). The result's slices have ``height_width`` pixels, centered on the body (whatever is
    brighter than a twentieth of the window), padded with air where the scan ends. Slices are neither added nor
    dropped. Raises: `InputError` for a case without spacing.
    """
    if case.spacing is None:
        raise InputError(f"{case.name}: no spacing is stored with it; prepare it from the original scan")
    size = tuple(
        max(1, round(pixels * old / new))
        for pixels, old, new in zip(case.image.shape[1:], case.spacing[1:], pixel_mm, strict=True)
    )
    image = resize_images(case.image, (size[0], size[1])).clip(0, 1)
    label = resize_labels(case.label, (size[0], size[1]))
    middle = [round(float(np.median(axis))) for axis in np.nonzero(image > 0.05)[1:]]
    image, label = (_crop_around(array, middle, height_width) for array in (image, label))
    spacing = (case.spacing[0], float(pixel_mm[0]), float(pixel_mm[1]))
    return replace(case, image=image, label=label, spacing=spacing, placement=None)


def _crop_around(array: NDArray, middle: Sequence[int], height_width: tuple[int, int]) -> NDArray:
    """Cut (z, *height_width) out of (z, y, x) with ``middle`` (y, x) in the center; zeros beyond the edge."""
    pads = [(length // 2, length - length // 2) for length in height_width]
    padded = np.pad(array, [(0, 0), *pads])
    (top, left), (height, width) = middle, height_width
    return padded[:, top : top + height, left : left + width]
