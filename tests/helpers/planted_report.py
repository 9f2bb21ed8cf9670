"""A batch that never ran, planted for the tests of the report: every kind of result, and every kind of failure."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw

from msa2net_lib.paper import tables
from msa2net_lib.paper.reproduced.lines import COLUMNS

HOSTILE = "<script>document.title = 'owned'</script> & \"quoted\""
WIDE = 2400
MACHINE = {"processor": "A processor", "cores": 4, "memory_gib": 16.0, "accelerator": "none"}
LOG = "== train-1 2026-01-01 00:00:00 UTC\n" + "".join(f"line {n}\n" for n in range(200))
LOG += "10 %\r50 %\r100 %\n\x1b[31mRuntimeError: out of luck\x1b[0m\n" + HOSTILE + "\n"


def plant(folder: Path) -> Path:
    """Write the batch of profile smoke below ``folder``; returns its folder."""
    home = folder / "smoke"
    plant_lesson(home, "08_network", ["drawn"], numbers={"parameters of published": number(112.767981, "M")})
    figures = ["figure_2", "figure_3", "dsc_by_organ"]
    plant_lesson(home, "11_evaluation", figures, numbers={"mean DSC": number(0.87090021, "DSC", HOSTILE)})
    plant_lesson(home, "13_frequency", ["figure_a"])
    (home / "11_evaluation" / "11_evaluation.html").write_text("<p>executed</p>")
    plant_job(home, "train-1", "train", minutes=6, started="2026-01-01T00:00:00Z")
    (home / "jobs" / "train-1" / "log.txt").write_text(LOG, newline="")
    fail(home, "train-1", "RuntimeError: out of luck")
    plant_job(home, "lesson-11_evaluation", "lesson", minutes=6, started="2026-01-01T00:03:00Z")
    (home / "jobs" / "evaluate-1").mkdir()
    plant_tables(home)
    return home


def number(value: float, unit: str, note: str = "") -> dict[str, object]:
    """A number as a lesson records it."""
    return {"value": value, "unit": unit, "note": note}


def plant_lesson(home: Path, name: str, figures: list[str], **more: object) -> Path:
    """A lesson's record with its pictures; the first is wide, all are headlines, all captions are hostile."""
    folder = home / name
    folder.mkdir(parents=True)
    for index, figure in enumerate(figures):
        picture = Image.new("RGB", (WIDE if index == 0 else 300, 200), "white")
        ImageDraw.Draw(picture).ellipse((20, 20, 180, 180), fill="navy")
        picture.save(folder / f"{figure}.png")
    entries = [{"file": f"{one}.png", "caption": f"{one} {HOSTILE}", "headline": "yes"} for one in figures]
    record = {"lesson": name, "title": name[3:], "parameters": {"DATASET": "auto"}, "seed": 7, "figures": entries}
    record |= {"numbers": {}, "tables": [], "data_sha256": {"scan.npz": "ab" * 32}, "versions": {"torch": "2.15.0"}}
    record |= {"hardware": MACHINE, "commit": "c0ffee", "minutes": 1.5, "peak_memory_gib": 1.25}
    (folder / "record.json").write_text(json.dumps(record | more))
    return folder


def plant_job(home: Path, name: str, kind: str, **more: object) -> Path:
    """A job's record."""
    folder = home / "jobs" / name
    folder.mkdir(parents=True)
    record = {"job": name, "kind": kind, "status": "done", "log": f"jobs/{name}/log.txt", "parameters": {"seed": 1}}
    record |= {"seed": 1, "versions": {"torch": "2.15.0"}, "hardware": MACHINE, "commit": "c0ffee"}
    record |= {"minutes": 2.0, "peak_memory_gib": 3.5, "numbers": {"steps": 10}, "data_sha256": {"scan.npz": "ab" * 32}}
    (folder / "record.json").write_text(json.dumps(record | more))
    return folder


def fail(home: Path, name: str, error: str, **more: object) -> None:
    """Turn a job's record into that of a failed one."""
    path = home / "jobs" / name / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "failed", "error": error} | more))


def plant_tables(home: Path) -> None:
    """Table 1 with a reproduced row and one that was not measured, Table 3 with none, in the columns of a batch."""
    (home / "tables").mkdir(parents=True, exist_ok=True)
    published = {"origin": "published", "data": "Synapse", "selection": "", "comparability": "", "note": ""}
    one = tables.table_1().rename_axis("row").assign(**published)
    one.loc["reproduced: tiny"] = pd.Series(
        {"dsc": 87.0900219, "hd95": 1.4793, "spleen": 93.78, "origin": "measured", "data": "virtual patients"}
        | {
            "selection": "last step",
            "comparability": "not comparable: virtual patients",
            "note": "95 % interval 80 to 91",
        }
    )
    one.loc["reproduced: paper"] = pd.Series(
        {"origin": "not measured", "data": "Synapse", "note": "needs a GPU & Synapse"}
    )
    one.to_csv(home / "tables" / "table_1.csv")
    three = tables.table_3().rename_axis("row").assign(**published)
    three.to_csv(home / "tables" / "table_3.csv")
    plant_lines(home)


def plant_lines(home: Path) -> None:
    """Table 1 row by row, as the batch writes it: one row reproduced, the others with the reason why not."""
    printed = tables.table_1()
    lines = pd.DataFrame(index=printed.index.rename("row"), columns=list(COLUMNS))
    lines["published_dsc"], lines["published_hd95"] = printed["dsc"], printed["hd95"]
    lines["printed_m"], lines["printed_g"] = printed["parameters_m"], printed["flops_g"]
    lines["counted_m"], lines["counted_g"] = printed["parameters_m"], printed["flops_g"]
    lines["note"] = "failed: CUDA out of memory & more"
    done = {"dsc": 71.5, "dsc_sd": 1.25, "seeds": 3.0, "difference": -2.1, "low": -4.0, "high": -0.2, "hd95": 8.75}
    trained = "virtual patients, mean over organs; 64 x 64 pixels, recipe smoke, rate 0.005, 30 steps of 4, last step"
    for name, value in {**done, "data": trained, "note": "", "counts": "parameters not reproduced"}.items():
        lines.loc["TransUNet", name] = value
    lines.to_csv(home / "tables" / "table_1_rows.csv")
