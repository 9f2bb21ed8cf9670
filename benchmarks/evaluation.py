"""How long does scoring a large case take, and resizing its slices?

Scoring: the labels of the shipped patient 1, brought to 512 x 512 x 148 voxels with smooth surfaces, against a
prediction that is ragged at its surfaces and has two islands; DSC and HD95 of 8 organs, in voxels and in mm. Timed
in turn: one thread, all threads, and medpy on the organs' bounding boxes; then HD95 in mm alone on these boxes, by this
library, by distance transforms of the package edt, by MONAI and by DeepMind's surface-distance, whose definitions are
their own. medpy on whole volumes, as the released code
calls it, is timed on one organ and multiplied by 8. Resizing: 16 slices of 512 x 512 to 224 x 224 by SciPy and by
matrices. What differs from medpy by more than rounding, or from SciPy by more than 1e-4, fails, and so does scoring on
all threads in more than 10 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import NOT_MEASURED, RESULTS, in_turn, parser_of, ratio, write_record
from medpy.metric import binary
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.data.labels import ORGANS, raw_to_scheme
from msa2net_lib.data.resize import resize_images
from msa2net_lib.data.resize_matrix import resize_on_device
from msa2net_lib.data.volumes import read_volume
from msa2net_lib.metrics import measure_volume
from msa2net_lib.metrics.masks import common_box, label_boxes
from msa2net_lib.metrics.pairs import hausdorff_95, surface_voxels

RESULT = RESULTS / "evaluation.json"
LABEL = Path(__file__).resolve().parents[1] / "data" / "example_ct" / "label" / "label0001.nii.gz"
LABELED = slice(61, 112)  # slices of patient 1 with one of the 8 organs
IN_PLANE, SLICES, REPEATS = 512, 148, 5
SPACING = (3.0, 0.72, 0.72)
LIMIT_SECONDS = 10.0
RESIZED, AT_ONCE = 224, 16
TOLERANCE = {"scoring": 1e-9, "resizing": 1e-4}

Case = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def main() -> int:
    """Measure, print, write; return the exit status."""
    arguments = _parse_arguments()
    case = make_case(arguments.slices, arguments.seed)
    scoring = _scoring_rows(case, arguments.repeats)
    resizing = _resizing_rows(arguments.repeats)
    for row in (*scoring, *resizing):
        print(f"{row['name']:<42}{row['device']:<6}{row['seconds']!s:>10} s  difference {row['largest_difference']}")
    within = scoring[1]["seconds"] <= LIMIT_SECONDS
    print(f"limit for scoring on all threads: {LIMIT_SECONDS:g} s, {'kept' if within else 'NOT kept'}")
    if arguments.output is not None:
        content = {
            "case": {
                "shape_zyx": list(case[0].shape),
                "organs": list(ORGANS),
                "spacing_mm": SPACING,
                "seed": arguments.seed,
                "data": "labels of the shipped patient 1, resampled; the prediction is made from them",
            },
            "repeats": arguments.repeats,
            "threads": torch.get_num_threads(),
            "limit_seconds": LIMIT_SECONDS,
            "within_limit": within,
            "ratio": "median over rounds of the baseline's seconds over this way's, within each round",
            "baseline": {"scoring": "medpy on bounding boxes; HD95 alone: this library's", "resizing": "SciPy"},
            "tolerance": TOLERANCE,
            "rows": scoring,
            "resizing_rows": resizing,
        }
        write_record(arguments.output, "Seconds of scoring a 512 x 512 x 148 case, and of resizing slices", content)
    different = [
        row["name"]
        for part, rows in (("scoring", scoring), ("resizing", resizing))
        for row in rows
        if isinstance(row["largest_difference"], float)
        and not row.get("own_definition")
        and not row["largest_difference"] <= TOLERANCE[part]
    ]
    if different:
        print(f"{', '.join(different)}: differs by more than the tolerance", file=sys.stderr)
    return 1 if different or not within else 0


def make_case(slices: int, seed: int) -> Case:
    """Return prediction and target, uint8 labels of (slices, 512, 512), all 8 organs in both."""
    small = raw_to_scheme(read_volume(LABEL).array)[LABELED]
    rng = np.random.default_rng(seed)
    shape = (slices, IN_PLANE, IN_PLANE)
    pred, target = np.zeros((2, *shape), np.uint8)
    zoom = [new / old for new, old in zip(shape, small.shape, strict=True)]
    for label in range(1, len(ORGANS) + 1):
        organ = (small == label).astype(np.float32)
        noise = ndimage.gaussian_filter(rng.standard_normal(small.shape), 1.0)
        ragged = ndimage.gaussian_filter(organ, 0.7) + (
            0.2 * noise / noise.std() * (ndimage.gaussian_filter(organ, 1) > 0.05)
        )
        for volume, level in ((target, organ), (pred, ragged.astype(np.float32))):
            volume[ndimage.zoom(level, zoom, order=1) > 0.5] = label
    # Islands far away, as networks leave them: they widen the boxes of the largest organ and of a small one.
    pred[slices // 8 : slices // 8 + 3, 400:408, 60:70] = 5
    pred[slices // 2 : slices // 2 + 3, 90:98, 300:310] = 2
    return pred, target


def _scoring_rows(case: Case, repeats: int) -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    ways: dict[str, Callable[[], NDArray]] = {
        "this library, 1 thread": lambda: _scores(case, 1),
        f"this library, {threads} threads": lambda: _scores(case, threads),
        "medpy on bounding boxes": lambda: _medpy_scores(case),
    }
    expected = ways["medpy on bounding boxes"]()
    seconds = in_turn(ways, repeats, warm_up=0)
    rows = [
        _row(name, seconds[name], ways[name]() - expected, ratio(seconds["medpy on bounding boxes"], seconds[name]))
        for name in ways
    ]
    start = time.perf_counter()
    whole = np.array([_medpy(case[0] == 1, case[1] == 1)])
    one_organ = time.perf_counter() - start
    row = _row("medpy on whole volumes, 1 organ times 8", [8 * one_organ], whole - expected[:1], None)
    extrapolated = {"measured_seconds": round(one_organ, 2), "extrapolated": "from one organ, measured once"}
    return [*rows, row | extrapolated, *_other_rows(case, repeats)]


def _other_rows(case: Case, repeats: int) -> list[dict[str, Any]]:
    """HD95 in mm of all organs on their boxes, by this library and by others, "not measured" where one is missing."""
    boxes = zip(*(label_boxes(volume, len(ORGANS) + 1) for volume in case), strict=True)
    pairs = [
        tuple(volume[common_box(box[0], box[1], volume.shape)] == label for volume in case)
        for label, box in enumerate(boxes, start=1)
    ]
    ways: dict[str, Any] = {
        "hd95": hd95_in_mm,
        "edt": edt_in_mm,
        "MONAI": monai_in_mm,
        "surface-distance": surface_distance_in_mm,
    }
    found, rows = {}, []
    for name, way in ways.items():
        try:
            found[name] = np.array([way(*pair) for pair in pairs])
        except ImportError:
            missing = dict.fromkeys(("seconds", "fastest_seconds", "ratio", "largest_difference"), NOT_MEASURED)
            rows.append({"name": f"HD95 in mm, boxes: {name}", "device": "cpu", **missing})
    runs = {name: lambda name=name: [ways[name](*pair) for pair in pairs] for name in found}
    seconds = in_turn(runs, repeats, warm_up=0)
    for name, values in found.items():
        difference = values - found["hd95"]
        row = _row(f"HD95 in mm, boxes: {name}", seconds[name], difference, ratio(seconds["hd95"], seconds[name]))
        rows.append(row | {"own_definition": True})
    return rows


def hd95_in_mm(pred: NDArray, target: NDArray) -> float:
    """As this library measures it."""
    return hausdorff_95(surface_voxels(pred), surface_voxels(target), SPACING)


def edt_in_mm(pred: NDArray, target: NDArray) -> float:
    """By exact distance transforms of both surfaces in float32."""
    import edt  # pyright: ignore[reportMissingImports]

    surfaces = [mask ^ ndimage.binary_erosion(mask) for mask in (pred, target)]
    maps = [edt.edt(np.ascontiguousarray(~surface), anisotropy=SPACING, parallel=1) for surface in surfaces]
    return float(np.percentile(np.concatenate([maps[1][surfaces[0]], maps[0][surfaces[1]]]), 95))


def monai_in_mm(pred: NDArray, target: NDArray) -> float:
    """The larger of two directed percentiles."""
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    first, second = (torch.from_numpy(mask)[None, None].float() for mask in (pred, target))
    return float(compute_hausdorff_distance(first, second, include_background=True, percentile=95, spacing=SPACING))


def surface_distance_in_mm(pred: NDArray, target: NDArray) -> float:
    """The larger of two directed percentiles, surface elements weighed by their area."""
    import surface_distance  # pyright: ignore[reportMissingImports]

    measured = surface_distance.compute_surface_distances(target, pred, spacing_mm=SPACING)
    return float(surface_distance.compute_robust_hausdorff(measured, 95))


def _scores(case: Case, workers: int) -> NDArray:
    """(8, 3): Dice, HD95 in voxels and in mm of each organ."""
    measures = measure_volume(*case, len(ORGANS) + 1, SPACING, workers=workers)
    return np.stack([measures.dice, measures.hd95["voxels"], measures.hd95["mm"]], axis=1)


def _medpy_scores(case: Case) -> NDArray:
    pred, target = case
    rows = []
    boxes = zip(*(label_boxes(volume, len(ORGANS) + 1) for volume in case), strict=True)
    for label, (first, second) in enumerate(boxes, start=1):
        assert first is not None
        assert second is not None
        box = common_box(first, second, pred.shape)
        rows.append(_medpy(pred[box] == label, target[box] == label))
    return np.array(rows)


def _medpy(pred: NDArray, target: NDArray) -> tuple[float, float, float]:
    return (
        float(binary.dc(pred, target)),
        float(binary.hd95(pred, target)),
        float(binary.hd95(pred, target, voxelspacing=SPACING)),
    )


def _resizing_rows(repeats: int) -> list[dict[str, Any]]:
    images = np.random.default_rng(0).random((AT_ONCE, IN_PLANE, IN_PLANE), dtype=np.float32)
    on_cpu = torch.from_numpy(images)
    ways: dict[str, Callable[[], Any]] = {
        "SciPy": lambda: resize_images(images, RESIZED),
        "matrices": lambda: resize_on_device(on_cpu, RESIZED),
    }
    expected = ways["SciPy"]()
    if torch.cuda.is_available():
        on_cuda = on_cpu.cuda()
        ways["matrices on CUDA"] = lambda: resize_on_device(on_cuda, RESIZED)
    seconds = in_turn(ways, repeats)
    rows = []
    for name, way in ways.items():
        found = way()
        found = found.cpu().numpy() if isinstance(found, torch.Tensor) else found
        row = _row(f"resizing by {name}", seconds[name], found - expected, ratio(seconds["SciPy"], seconds[name]))
        rows.append(row | {"device": "cuda" if name.endswith("CUDA") else "cpu"})
    if not torch.cuda.is_available():
        missing = dict.fromkeys(("seconds", "fastest_seconds", "ratio", "largest_difference"), NOT_MEASURED)
        rows.append({"name": "resizing by matrices on CUDA", "device": "cuda", **missing})
    return rows


def _row(name: str, seconds: list[float], difference: NDArray, times: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "device": "cpu",
        "seconds": round(statistics.median(seconds), 4),
        "fastest_seconds": round(min(seconds), 4),
        "ratio": NOT_MEASURED if times is None else round(times, 2),
        "largest_difference": float(f"{np.abs(difference).max():.2g}"),
    }


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--slices", type=int, default=SLICES, metavar="N", help=f"of the case (default {SLICES})")
    parser.add_argument("--repeats", type=int, default=REPEATS, metavar="N", help=f"rounds (default {REPEATS})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the prediction's errors (default 0)")
    arguments = parser.parse_args()
    if arguments.slices < 16 or arguments.repeats < 1:
        parser.error("give at least 16 slices and one round")
    if arguments.output is None and (arguments.slices, arguments.repeats, arguments.seed) == (SLICES, REPEATS, 0):
        arguments.output = RESULT
    return arguments


if __name__ == "__main__":
    sys.exit(main())
