"""Do networks with MASAG keep more of the high frequencies than networks without it, layer by layer?

Trains the `tiny` network on the shipped virtual cohort with each skip gate (see `msa2net_lib.nn.gates`), with the skips
left out, and with the decoder of each full-size preset, with several seeds; then takes the Fourier spectrum of every
layer on slices of the held-out virtual patients (see `msa2net_lib.analysis.frequency`), with the DSC beside. Networks
as they start, and the full-size presets as they start, on one slice of each patient, stand beside, labeled as not
trained. Each finished run leaves a JSON file in its folder, so an interrupted measurement goes on where it stopped:
delete the folder after changing the library.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from measure import training_parser, write_record

from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.evaluation.experiments import compare
from msa2net_lib.lessons.l13_frequency.study import (
    ALONG,
    FULL_SIZE,
    MEASURES,
    WITH,
    WITHOUT,
    compact,
    contrast,
    frequency_variants,
    network_spectra,
    sentences,
    study_slices,
    untrained_runs,
)
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.utils.files import write_text
from msa2net_lib.utils.system_info import hardware, versions

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "frequency.json"


def main() -> int:
    """Run what is missing, print what the spectra say and write all runs; return the exit status."""
    arguments = _parse_arguments()
    dataset = open_dataset("virtual", ROOT / "data")
    seeds = range(1, arguments.seeds + 1)
    if arguments.full_size:
        return _put_full_size(arguments.output, full_size_runs(dataset, seeds))
    network = NetworkConfig.from_preset("tiny", image_size=arguments.image_size)
    config = TrainConfig.from_recipe("smoke", steps=arguments.steps)
    images = study_slices(dataset, arguments.slices, network.height_width)
    variants = {k: v for k, v in frequency_variants(network).items() if k in (arguments.variants or (k,))}

    def look(_: str, trained: MSA2Net) -> dict[str, Any]:
        return {"layers": compact(network_spectra(trained, images))}

    rows = []
    for seed in seeds:
        for name, variant in variants.items():
            kept = f"{name.replace(' ', '_')}-{seed}-{arguments.steps}-{arguments.image_size}-{arguments.slices}.json"
            path = arguments.runs / kept
            if not path.is_file():
                one = {name: variant}
                run = compare(one, config, [seed], dataset, arguments.states, device=arguments.device, look=look)
                write_text(path, json.dumps(_plain(run.to_dict("records")[0]), allow_nan=False))
            rows.append(json.loads(path.read_text(encoding="utf-8")))
    pair = {name: variant for name, variant in variants.items() if name in (WITH, WITHOUT)}
    rows += untrained_runs(pair, seeds, images)
    if not arguments.variants:
        rows += full_size_runs(dataset, seeds)
    runs = pd.DataFrame(rows)
    print(runs.groupby("variant", sort=False).dsc.agg(["count", "mean", "std"]).round(4).to_string())
    if {WITH, WITHOUT} <= set(variants):
        for measure, title in MEASURES.items():
            print("\n".join(sentences(contrast(runs, WITH, WITHOUT, measure), f"{WITH} minus {WITHOUT}, {title}")))
    record = {
        "data": "virtual cohort, 6 patients to train on, 4 held out, all made from one real CT",
        "slices": f"{len(images)}: {arguments.slices} rich in organs of each held-out patient; "
        "1 of each for the full size",
        "measure": f"relative log amplitude, natural log, mean over channels, along the {ALONG}",
        "network": network.to_dict(),
        "training": config.to_dict() | {"seed": "see runs"},
        "selection": "none: last step",
        "baseline": WITHOUT,
        "runs": rows,
    }
    write_record(
        arguments.output,
        "Spectra of every layer with MASAG and with other gates, as in Figure A of the supplement",
        record,
        indent=None,
    )
    return 0


def full_size_runs(dataset: PreparedDataset, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Spectra of the three full-size presets as they start, on one slice of each held-out patient."""
    full = {name: PRESETS[name] for name in ("paper", "published", "released")}
    return untrained_runs(full, seeds, study_slices(dataset, 1, PRESETS["paper"].height_width), FULL_SIZE)


def _put_full_size(path: Path, rows: list[dict[str, Any]]) -> int:
    """Put spectra of the full-size presets in the place of those in a record; return the exit status."""
    record = json.loads(path.read_text(encoding="utf-8"))
    names = {row["variant"] for row in rows}
    record["runs"] = [row for row in record["runs"] if row["variant"] not in names] + rows
    record["slices"] = record["slices"].replace("one for the full size", "1 of each for the full size")
    record["full_size"] = {"date": datetime.now(UTC).date().isoformat(), "hardware": hardware(), "versions": versions()}
    write_text(path, json.dumps(record, indent=None, ensure_ascii=False, allow_nan=False) + "\n")
    return 0


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run: no scores by organ, and no minutes, since other work may have run beside it."""
    return {key: round(row[key], 5) if isinstance(row[key], float) else row[key]
            for key in ("variant", "seed", "dsc", "loss", "parameters", "layers")}  # fmt: skip


def _parse_arguments() -> argparse.Namespace:
    parser = training_parser(__doc__, RESULT, seeds=3, image_size=128)
    parser.add_argument("--slices", type=int, default=4, help="slices of each held-out patient whose spectra are taken")
    parser.add_argument("--variants", nargs="+", help="names of gates or presets; all if none is named")
    alone = "take the spectra of the full-size presets alone, and put them into the record that is there"
    parser.add_argument("--full-size", action="store_true", help=alone)
    states = "folder of training states; with the same steps and pixels skip_gates.py's serve, and are not trained anew"
    parser.add_argument("--states", type=Path, default=ROOT / "results" / "skip_gates", help=states)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
