"""How far may field of view and pixel size be from the training data's before the shipped network fails?

The held-out virtual patients are given more air around them or cut down (field of view), or resampled to other pixels
(pixel size), predicted as they are, and scored on their own grid. Then real patient 2, as it is and matched. The
limits of `msa2net_lib.prediction.field_of_view` come from here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measure import parser_of, write_record

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.labels import raw_to_scheme
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.data.volumes import read_volume
from msa2net_lib.inference import predict_volume
from msa2net_lib.metrics import dice
from msa2net_lib.prediction.run import predict_file
from msa2net_lib.utils.files import sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msa2net_lib.data.datasets import Case

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "field_of_view.json"
FIELDS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 2.0)
PIXELS = (0.33, 0.5, 1.0, 1.33, 2.0, 3.0, 4.0)


def main() -> int:
    """Measure, print and write; return the exit status."""
    arguments = _parse_arguments()
    network, dataset = load_network(SHIPPED_TINY), open_dataset("virtual", ROOT / "data")
    cases = [dataset.load_case(name) for name in dataset.test_cases]
    step = arguments.every
    fields = {f: _mean([_in_field(c, f, step, network) for c in cases]) for f in FIELDS}
    pixels = {f: _mean([_in_pixels(c, f, step, network) for c in cases]) for f in PIXELS}
    for name, scores in (("field of view", fields), ("pixel size", pixels)):
        print(name, ", ".join(f"x {factor:g}: {score:.3f}" for factor, score in scores.items()))
    patient_2 = {field: _patient_2(field) for field in ("as-is", "auto")}
    print("patient 2 on its own grid:", patient_2)
    record = {
        "data": f"4 held-out virtual patients, every {step}. slice, 8 organs; real patient 2, its 5 organs; "
        "not comparable with the paper's tables",
        "checkpoint_sha256": sha256(SHIPPED_TINY),
        "mean_dsc_by_field_of_view": fields,
        "mean_dsc_by_pixel_size": pixels,
        "mean_dsc_patient_2": patient_2,
    }
    write_record(
        arguments.output,
        "Mean DSC of the shipped network by field of view and pixel size, as factors of training's",
        record,
    )
    return 0


def _in_field(case: Case, factor: float, step: int, network) -> NDArray:
    """DSC by organ with a field of view so many times as wide, in the same pixels."""
    image, label = case.image[::step], case.label[::step]
    for axis in (1, 2):
        length = image.shape[axis]
        wanted = round(length * factor)
        if wanted >= length:
            before = (wanted - length) // 2
            pads = [(0, 0)] * 3
            pads[axis] = (before, wanted - length - before)
            image, label = np.pad(image, pads), np.pad(label, pads)
        else:
            kept = np.arange(wanted) + (length - wanted) // 2
            image, label = image.take(kept, axis), label.take(kept, axis)
    return _dice(predict_volume(network, image), label)


def _in_pixels(case: Case, factor: float, step: int, network) -> NDArray:
    """DSC by organ with pixels so many times as wide, in the same field of view."""
    image, label = case.image[::step], case.label[::step]
    height, width = label.shape[1:]
    size = (round(height / factor), round(width / factor))
    resampled = np.stack([resize_image(plane, size).clip(0, 1) for plane in image])
    return _dice(np.stack([resize_label(p, (height, width)) for p in predict_volume(network, resampled)]), label)


def _patient_2(field: str) -> float:
    folder = ROOT / "data" / "example_ct"
    label = raw_to_scheme(read_volume(folder / "label" / "label0002.nii.gz").array)
    made = predict_file(folder / "img" / "img0002.nii.gz", field_of_view=field, progress=False)  # pyright: ignore
    return round(float(np.nanmean(_dice(made.label, label))), 4)


def _dice(predicted: NDArray, label: NDArray) -> NDArray:
    return np.array([dice(predicted == i, label == i) if (label == i).any() else np.nan for i in range(1, 9)])


def _mean(scores: list[NDArray]) -> float:
    """Over cases for each organ, then over organs."""
    return round(float(np.nanmean(np.nanmean(scores, axis=0))), 4)


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__, RESULT)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th slice; default: 1, all")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
