"""How fast are scans of the usual size prepared, with one process and with two, and in how much memory?

Cases of 512 x 512 x 126 voxels are written to a temporary folder: the shipped patient 1, resampled, each with noise
of its own. `prepare_synapse` prepares three fifths of them as training slices and the others as test volumes, once
with one process and once with two, each time in a fresh interpreter whose process tree is watched (Linux only).
Both results must be the same, byte by byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import parser_of, write_record
from scipy import ndimage

from msa2net_lib.data.volumes import Volume, read_pair, write_volume
from msa2net_lib.utils.progress import progress_bar
from msa2net_lib.utils.system_info import hardware, versions

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "prepare_scans.json"
HARDWARE = ("processor", "cores", "memory_gib")
VERSIONS = ("python", "system", "numpy", "SimpleITK", "h5py")
IN_PLANE, FULL_DEPTH, FULL_COUNT = 512, 126, 30
NOISE_HU = 25.0  # before smoothing over neighbors in the slice
SAMPLE_SECONDS = 0.02

CHILD = """
import json, resource, sys, time
from msa2net_lib.data.synapse import prepare_synapse
source, destination, workers, train, test = json.loads(sys.argv[1])
started = time.perf_counter()
prepare_synapse(source, destination, train_cases=train, test_cases=test, workers=workers, progress=False)
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([time.perf_counter() - started, sum(usage.ru_utime + usage.ru_stime for usage in used)]))
"""


def main() -> int:
    """Write the cases, prepare them twice, compare, print and write; return the exit status."""
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="prepare_scans_") as folder:
        source = Path(folder, "raw")
        cases = write_cases(source, arguments.cases, arguments.slices)
        runs, digests = {}, set()
        for workers in (1, 2):
            destination = Path(folder, f"workers{workers}")
            runs[workers] = measure(source, destination, workers, cases)
            digests.add(_digest(destination))
            print(f"{workers} worker(s): " + ", ".join(f"{key} {value}" for key, value in runs[workers].items()))
        sizes = {"source_mb": _megabytes(source), "prepared_mb": _megabytes(Path(folder, "workers2"))}
    ratio = runs[1]["seconds"] / runs[2]["seconds"]
    print(f"throughput of two over one: {ratio:.2f}")
    record = {
        "cases": {
            "count": arguments.cases,
            "training": round(0.6 * arguments.cases),
            "shape_zyx": [arguments.slices, IN_PLANE, IN_PLANE],
            "data": "the shipped patient 1, resampled, with noise of its own in each",
            **sizes,
        },
        "throughput_ratio_2_to_1": round(ratio, 2),
        "workers": runs,
        "hardware": {name: hardware()[name] for name in HARDWARE},
        "versions": {name: versions()[name] for name in VERSIONS},
    }
    if arguments.output is not None:
        write_record(arguments.output, "Time and memory of preparing scans, with one process and with two", record)
    if len(digests) > 1:
        print("one process and two wrote different files", file=sys.stderr)
        return 1
    return 0


def write_cases(folder: Path, count: int, slices: int) -> list[str]:
    """Write ``count`` cases in the BTCV layout and return their ids."""
    example = ROOT / "data" / "example_ct"
    image, label = read_pair(example / "img" / "img0001.nii.gz", example / "label" / "label0001.nii.gz")
    zoom = [new / old for new, old in zip((slices, IN_PLANE, IN_PLANE), image.array.shape, strict=True)]
    z, y, x = (edge / factor for edge, factor in zip(image.spacing, zoom, strict=True))
    hu = np.asarray(ndimage.zoom(image.array.astype(np.float32), zoom, order=1))
    labels = Volume(np.asarray(ndimage.zoom(label.array, zoom, order=0)), (z, y, x))
    cases = [f"{number:04d}" for number in range(1, count + 1)]
    for case in progress_bar(cases, desc="writing cases", unit="case", enabled=True):
        noise = np.random.default_rng(int(case)).standard_normal(hu.shape, dtype=np.float32)
        noisy = hu + NOISE_HU * np.asarray(ndimage.gaussian_filter(noise, (0, 0.6, 0.6)))
        stored = np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)
        write_volume(Volume(stored, (z, y, x)), folder / "img" / f"img{case}.nii.gz")
        write_volume(labels, folder / "label" / f"label{case}.nii.gz")
    return cases


def measure(source: Path, destination: Path, workers: int, cases: list[str]) -> dict[str, Any]:
    """Prepare in a fresh interpreter and return seconds, cases a minute and memory of the whole process tree."""
    split = round(0.6 * len(cases))
    job = json.dumps([str(source), str(destination), workers, cases[:split], cases[split:]])
    process = subprocess.Popen([sys.executable, "-c", CHILD, job], stdout=subprocess.PIPE, text=True)
    together, peaks = 0.0, {}
    while process.poll() is None:
        resident = {pid: _memory(pid) for pid in _tree(process.pid)}
        together = max(together, sum(now for now, _ in resident.values()))
        peaks |= {pid: max(peaks.get(pid, 0.0), peak) for pid, (_, peak) in resident.items()}
        time.sleep(SAMPLE_SECONDS)
    if process.returncode or process.stdout is None:
        raise SystemExit(f"the preparation with {workers} worker(s) failed")
    seconds, cpu_seconds = json.loads(process.stdout.read())
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "cases_per_minute": round(60 * len(cases) / seconds, 2),
        "cpu_seconds_per_case": round(cpu_seconds / len(cases), 2),
        # Sampled, so the second is the safe one; both count memory that processes share more than once.
        "peak_rss_of_all_processes_mib": math.ceil(together),
        "sum_of_each_process_peak_rss_mib": math.ceil(sum(peaks.values())),
    }


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants, from Linux's process table."""
    found = [pid]
    for parent in found:
        try:
            threads = os.listdir(f"/proc/{parent}/task")
            for thread in threads:
                found += map(int, Path(f"/proc/{parent}/task/{thread}/children").read_text().split())
        except OSError:
            continue  # it has just ended
    return found


def _memory(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process and its peak so far, in MiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    fields: Mapping[str, str] = dict(line.split(":", 1) for line in lines)
    now, peak = (int(fields.get(name, "0").split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _megabytes(folder: Path) -> int:
    return math.ceil(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--cases", type=int, default=FULL_COUNT, metavar="N", help=f"default: {FULL_COUNT}")
    parser.add_argument("--slices", type=int, default=FULL_DEPTH, metavar="N", help=f"default: {FULL_DEPTH}")
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder (some 5 GB for 30 cases)")
    arguments = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("memory is read from /proc, which only Linux has")
    if arguments.cases < 2 or arguments.slices < 8:
        parser.error("give at least 2 cases of 8 slices")
    if arguments.output is None and (arguments.cases, arguments.slices) == (FULL_COUNT, FULL_DEPTH):
        arguments.output = RESULT
    return arguments


if __name__ == "__main__":
    sys.exit(main())
