"""The table shows what the records hold: each number beside its unit and machine, and nothing that was not measured."""

from __future__ import annotations

import json
import math

import pytest

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import difference_row
from msa2net_lib.lessons.l10_training.study import MEASURED, benchmark_table, benchmark_text, precision_text

CPU = {"processor": "Abacus", "cores": 2, "memory_gib": 4.0, "accelerator": "none"}
GPU = {"processor": "Other", "cores": 16, "memory_gib": 9.0, "accelerator": "Loom 9"}
PLAIN = {"name": "plain", "device": "cpu", "seconds": 4.4, "ratio": 1.0, "images_per_second": 0.909, "batch": 4}
FAST = {"name": "fast", "device": "cpu", "seconds": 0.0221, "ratio": 199.1, "share_of_peak": 0.324}


def absent(name, device="cuda"):
    return {"name": name, "device": device, "seconds": "not measured", "reason": "none at hand"}


def write(folder, file, rows, hardware=CPU, **more):
    record = {"question": "?", "baseline": "plain", "rows": rows, "hardware": hardware} | more
    (folder / f"{file}.json").write_text(json.dumps(record))


def of(table, what):
    return table[table.what == what].set_index(["name", "device"])


def line_of(table, words):
    (line,) = [line for line in benchmark_text(table).splitlines() if words in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("there", [True, False])
def test_without_records_every_row_says_so(tmp_path, there):
    table = benchmark_table(tmp_path if there else tmp_path / "none")
    assert list(table.what.unique()) == [measured.what for measured in MEASURED]
    assert len(table) == sum(len(measured.devices) for measured in MEASURED)
    assert table.value.isna().all()
    body = benchmark_text(table).splitlines()[2:]
    assert all("not measured" in line for line in body)
    assert line_of(table, "loss, forward and backward, on CUDA")[1:] == ["not measured", "–", "–"]


def test_numbers_stand_beside_their_units_ratio_and_machine(tmp_path):
    write(tmp_path, "training_step", [PLAIN, FAST, absent("plain"), absent("fast")])
    table = benchmark_table(tmp_path)
    rows = of(table, "training step")
    assert rows.loc[("fast", "cpu"), ["value", "ratio"]].tolist() == [0.0221, 199.1]
    assert line_of(table, "step: plain")[1:] == [
        "4.4 s, batch 4, 0.909 images/s", "1 (baseline)", "Abacus, 2 cores"
    ]  # fmt: skip
    assert line_of(table, "step: fast")[1:] == ["22.1 ms, 32.4% of peak", "199", "Abacus, 2 cores"]
    assert line_of(table, "| training step, on CUDA")[1] == "not measured"  # one row, not one for each way


def test_a_gain_is_told_with_the_row_that_it_adds_to(tmp_path):
    more = FAST | {"name": "more", "gain": 1.359, "added_to": "fast"}
    write(tmp_path, "training_step", [PLAIN | {"gain": None}, FAST | {"gain": 199.1, "added_to": "plain"}, more])
    table = benchmark_table(tmp_path)
    assert of(table, "training step").loc[("more", "cpu"), ["gain", "added_to"]].tolist() == [1.359, "fast"]
    assert [line_of(table, f"step: {name}")[2] for name in ("plain", "fast", "more")] == [
        "1 (baseline)", "199", "199; 1.36 to “fast”"
    ]  # fmt: skip


def test_a_row_that_failed_says_so_among_those_that_did_not(tmp_path):
    write(tmp_path, "training_step", [PLAIN, absent("compiled", "cpu")])
    assert line_of(benchmark_table(tmp_path), "step: compiled")[1:] == ["not measured", "–", "–"]


def test_a_second_machine_fills_in_what_the_first_had_not(tmp_path):
    write(tmp_path, "training_step", [PLAIN, absent("plain"), absent("fast")])
    measured = [PLAIN | {"device": "cuda", "seconds": 0.02}, absent("plain", "cpu")]
    write(tmp_path, "training_step_cuda", measured, hardware=GPU)
    rows = of(benchmark_table(tmp_path), "training step")
    assert rows.value["plain", "cpu"] == 4.4
    assert rows.value["plain", "cuda"] == 0.02
    assert rows.machine["plain", "cuda"] == "Loom 9"
    assert math.isnan(rows.value["fast", "cuda"])


def test_networks_are_shown_twice_each_time_with_its_own_numbers(tmp_path):
    row = PLAIN | {"name": "U-Net", "ratio": 2.5, "forward_seconds": 1.25, "forward_ratio": 3.0, "gmacs": 5.96}
    write(tmp_path, "networks", [row])
    table = benchmark_table(tmp_path)
    assert line_of(table, "forward: U-Net")[1:3] == ["1.25 s, batch 4, 6.0 GMACs an image", "3"]
    assert line_of(table, "training step: U-Net")[1:3] == ["4.4 s, batch 4, 0.909 images/s", "2.5"]


def test_a_rehearsal_is_called_extrapolated(tmp_path):
    row = {"name": "rehearsed", "device": "cuda", "minutes": 27.3, "images_per_second": 945.0}
    row |= {"epochs_measured": 10, "training_slices": 2211}
    write(tmp_path, "full_schedule", [row], hardware=GPU)
    value = line_of(benchmark_table(tmp_path), "700 epochs: rehearsed")[1]
    assert value == "27.3 min, 945 images/s, 2211 slices an epoch, extrapolated from 10 epochs"


def test_what_is_measured_on_one_core_has_rows_for_the_cpu_alone(tmp_path):
    rows = [
        {"name": "affine", "device": "cpu", "milliseconds": 2.0, "ratio": 1.0},
        {"name": "monai, affine", "device": "cpu", "milliseconds": 8.0, "ratio": 0.25},
        {"name": "x", "device": "cpu", "milliseconds": "not measured", "ratio": "not measured"},
    ]
    write(tmp_path, "augmentation", rows, baseline="own of the same kind")
    table = benchmark_table(tmp_path)
    assert line_of(table, "monai")[1:3] == ["8 ms a sample", "0.25"]  # a quarter as fast as the own
    assert line_of(table, "augmentation: affine")[1:3] == ["2 ms a sample", "1"]
    assert line_of(table, "augmentation: x")[1] == "not measured"
    assert not [line for line in benchmark_text(table).splitlines() if "augmentation, on CUDA" in line]


def test_text_is_a_markdown_table_and_always_the_same(tmp_path):
    write(tmp_path, "training_step", [PLAIN, FAST])
    texts = {benchmark_text(benchmark_table(tmp_path)) for _ in range(2)}
    assert len(texts) == 1
    lines = texts.pop().splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["what", "value", "ratio", "machine"]
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == set("|- ")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"rows": 3, "baseline": "a"}', '{"rows": [{}], "baseline": "a"}']
)
def test_a_file_that_is_no_record_is_named(tmp_path, content):
    (tmp_path / "networks.json").write_text(content)
    with pytest.raises(InputError) as error:
        benchmark_table(tmp_path)
    assert "networks.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_bf16_is_set_beside_fp32_seed_by_seed(tmp_path, root):
    assert precision_text(tmp_path) == "trained in bf16: not measured"
    runs = [
        {"precision": precision, "seed": seed, "dsc": dsc}
        for precision, scores in {"bf16": (0.61, 0.63, 0.62), "fp32": (0.60, 0.61, 0.62)}.items()
        for seed, dsc in enumerate(scores, start=1)
    ]
    record = json.loads((root / "benchmarks" / "results" / "precision.json").read_text())
    change = difference_row([0.01, 0.02, 0.0])
    (tmp_path / "precision.json").write_text(json.dumps(record | {"runs": runs, "bf16_minus_fp32": change}))
    text = precision_text(tmp_path)
    assert "seed 2: DSC 0.6100 and 0.6300" in text
    assert "bf16 - fp32: +0.0100 (95 % -0.0148 to +0.0348" in text  # 0.01 / sqrt(3) times 4.303
    assert "sd of fp32's seeds 0.0100" in text
    (tmp_path / "precision.json").write_text("[]")
    with pytest.raises(InputError, match=r"^\S+precision\.json: no record of a benchmark"):
        precision_text(tmp_path)


def test_the_committed_records_can_be_read(root):
    table = benchmark_table(root / "benchmarks" / "results")
    assert table.value.notna().sum() > len(MEASURED)
    assert len(benchmark_text(table).splitlines()) == len(table) + 2
