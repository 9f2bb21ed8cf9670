"""The measured speeds in one table, read from what `benchmarks/` recorded; what was not measured says so.

A record is a JSON file with ``baseline``, the name of a row, ``hardware``, and ``rows``: each with ``name``,
``device`` and its numbers, or the words "not measured" in their place. Ratios are times as fast as the baseline,
measured in one run with it, and a gain is the same against the row that one thing was ``added_to``. Both are medians
over rounds, and so need not be the quotients of the seconds shown. A benchmark may have a second record from a
machine with a GPU, ``NAME_cuda.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json

NOT_MEASURED = "not measured"
DETAILS = {
    "batch": "batch {:.0f}",
    "images_per_second": "{:.3g} images/s",
    "slices_per_second": "{:.3g} slices/s",
    "share_of_peak": "{:.1%} of peak",
    "forward_share_of_peak": "{:.1%} of peak",
    "peak_memory_mib": "{:.0f} MiB",
    "forward_memory_mib": "{:.0f} MiB",
    "peak_memory_gib": "{:.1f} GiB",
    "parameters_millions": "{:.1f} M parameters",
    "gmacs": "{:.1f} GMACs an image",
    "training_slices": "{:.0f} slices an epoch",
    "epochs_measured": "extrapolated from {:.0f} epochs",
}
COLUMNS = ["what", "name", "device", "value", "unit", "ratio", "baseline", "gain", "added_to", "details", "machine"]


@dataclass(frozen=True)
class Measured:
    """One number to show of each row of a record: what it is called, its key and unit, and that of its ratio."""

    what: str
    file: str
    key: str = "seconds"
    unit: str = "s"
    ratio: str = "ratio"
    details: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")


_STEP = ("batch", "images_per_second", "share_of_peak", "peak_memory_mib")
_FORWARD = ("batch", "slices_per_second", "forward_share_of_peak", "forward_memory_mib", "parameters_millions", "gmacs")
_REHEARSED = ("training_slices", "epochs_measured")
MEASURED = (
    Measured("training step", "training_step", details=_STEP),
    Measured("prediction", "inference", details=("slices_per_second", "peak_memory_gib")),
    Measured("network, forward", "networks", "forward_seconds", ratio="forward_ratio", details=_FORWARD),
    Measured("network, training step", "networks", details=_STEP),
    Measured("augmentation", "augmentation", "milliseconds", "ms a sample", devices=("cpu",)),
    Measured("loss, forward and backward", "boundary_loss"),
    Measured("slices loaded", "slice_loading", "slices_per_second", "slices/s", devices=("cpu",)),
    Measured("whole schedule, 700 epochs", "full_schedule", "minutes", "min", "", (*_STEP[1:], *_REHEARSED)),
)


def benchmark_table(results: str | Path) -> pd.DataFrame:
    """Return every measured speed, one row each; columns `COLUMNS`, with nan for what was not measured.

    results: folder of the records, ``benchmarks/results`` of a checkout; a record that is not there was not measured.
    ratio: times as fast as the row ``baseline``, where there is one; gain: the same against the row ``added_to``. A
    device on which nothing was measured has one row. Raises: `InputError` for a file that is no record.
    """
    records = {file: _read(Path(results), file) for file in {measured.file for measured in MEASURED}}
    rows = [row for measured in MEASURED for row in _rows(measured, records[measured.file])]
    return pd.DataFrame(rows, columns=COLUMNS)


def benchmark_text(table: pd.DataFrame) -> str:
    """Return the table as Markdown with aligned columns (what, value, ratio, machine); same records, same text.

    table: from `benchmark_table`, all of it or some of its rows.
    """
    lines = [("what", "value", "ratio", "machine"), *map(_cells, table.to_dict("records"))]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def precision_text(results: str | Path) -> str:
    """Return what training in bf16 instead of fp32 changed, as `benchmarks/precision.py` measured it.

    results: folder of the records; without one it says that this was not measured. Raises: `InputError` for a file
    that is no record.
    """
    path = Path(results) / "precision.json"
    if not path.is_file():
        return f"trained in bf16: {NOT_MEASURED}"
    try:
        record = read_json(path)
        scores: Any = pd.DataFrame(record["runs"]).pivot(index="seed", columns="precision", values="dsc")
        change, faster = record["bf16_minus_fp32"], record["times_as_fast"]
        machine, network = _hardware(record["hardware"], "cpu"), record["network"]
        spread = scores["fp32"].std()
        return (
            f"trained in fp32 and bf16, {record['training']['steps']} steps of {network}, seeds "
            f"{', '.join(map(str, scores.index))}, scored in fp32:\n"
            + "".join(f"  seed {seed}: DSC {row.fp32:.4f} and {row.bf16:.4f}\n" for seed, row in scores.iterrows())
            + f"  bf16 - fp32: {change['difference']:+.4f} (95 % {change['low']:+.4f} to {change['high']:+.4f}, "
            f"Student's t over seeds; sd of fp32's seeds {spread:.4f})\n"
            f"  a step {min(faster):.2f} to {max(faster):.2f} times as fast on {machine}, {record['threads']} thread(s)"
            + f" ({record['remark']})"
            * ("remark" in record)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: no record of a benchmark ({type(error).__name__}); measure anew") from error


def _read(folder: Path, file: str) -> list[dict[str, Any]]:
    """Return a benchmark's rows with machine and baseline in each; of two for one thing the measured one."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for path in (folder / f"{file}.json", folder / f"{file}_cuda.json"):
        if not path.is_file():
            continue
        try:
            record = read_json(path)
            for row in record["rows"]:
                device = row.get("device", "cpu").partition(":")[0]
                whole = row | {"device": device, "baseline": record["baseline"]}
                whole["machine"] = _hardware(record["hardware"], device)
                if (row["name"], device) not in rows or NOT_MEASURED not in row.values():
                    rows[row["name"], device] = whole
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: no record of a benchmark ({type(error).__name__}); measure anew") from error
    return list(rows.values())


def _hardware(hardware: Mapping[str, Any], device: str) -> str:
    if device == "cuda":
        return str(hardware["accelerator"])
    return f"{hardware['processor']}, {hardware['cores']} cores"


def _rows(measured: Measured, found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the table's rows for one number, device by device."""
    rows = []
    for device in measured.devices:
        here = [_row(measured, row) for row in found if row["device"] == device]
        nothing = all(pd.isna(row["value"]) for row in here)
        rows += [_nothing(measured, device)] if nothing else here
    return rows


def _row(measured: Measured, row: Mapping[str, Any]) -> dict[str, Any]:
    value = _number(row.get(measured.key))
    details = [DETAILS[key].format(row[key]) for key in measured.details if not pd.isna(_number(row.get(key)))]
    return {
        "what": measured.what,
        "name": row["name"],
        "device": row["device"],
        "value": value,
        "unit": measured.unit,
        "ratio": float("nan") if pd.isna(value) else _number(row.get(measured.ratio)),
        "baseline": row["baseline"],
        "gain": _number(row.get("gain")) if measured.ratio == "ratio" else float("nan"),
        "added_to": row.get("added_to", ""),
        "details": ", ".join(details),
        "machine": row["machine"] if not pd.isna(value) else "",
    }


def _nothing(measured: Measured, device: str) -> dict[str, Any]:
    """Return the one row of a device on which nothing was measured."""
    row = dict.fromkeys(COLUMNS, "") | dict.fromkeys(("value", "ratio", "gain"), float("nan"))
    return row | {"what": measured.what, "device": device, "unit": measured.unit}


def _number(value: Any) -> float:
    """Return a number as it is, and anything else, such as "not measured", as nan."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    what = f"{row['what']}: {row['name']}" if row["name"] else f"{row['what']}, on {row['device'].upper()}"
    if pd.isna(row["value"]):
        return what, NOT_MEASURED, "–", row["machine"] or "–"
    value = ", ".join(part for part in (_quantity(row["value"], row["unit"]), row["details"]) if part)
    if pd.isna(row["ratio"]):
        ratio = "–"
    else:
        ratio = "1 (baseline)" if row["name"] == row["baseline"] else f"{row['ratio']:.3g}"
    if not pd.isna(row["gain"]) and row["added_to"] != row["baseline"]:
        ratio += f"; {row['gain']:.3g} to “{row['added_to']}”"
    return what, value, ratio, row["machine"]


def _quantity(value: float, unit: str) -> str:
    """Write a number with three digits that count, short times in milliseconds."""
    if unit == "s" and value < 1:
        value, unit = 1000 * value, "ms"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
