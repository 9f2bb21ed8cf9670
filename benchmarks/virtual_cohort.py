"""How long does a virtual cohort of Synapse's own size take, how much memory, and how much room?

Makes the 18 + 12 virtual patients of `virtual_cohort.SYNAPSE_SIZE` (512 x 512 pixels, 85 to 198 slices) from the
shipped real CT, or the first few of them, once in one process and once in two, into a folder that is removed
afterwards. Both cohorts must be identical; seconds, memory and bytes go to a JSON file.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from measure import parser_of, write_record

from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, write_virtual_cohort

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "virtual_cohort.json"
PATIENTS = len(SYNAPSE_SIZE.train_slices) + len(SYNAPSE_SIZE.test_slices)


def main() -> int:
    """Measure, compare, print and write; return the exit status."""
    from msa2net_lib.utils.system_info import hardware, versions  # imports torch, which the measured do without

    arguments = _parse_arguments()
    train = min(arguments.patients, len(SYNAPSE_SIZE.train_slices))
    test = arguments.patients - train
    slices = (*SYNAPSE_SIZE.train_slices[:train], *SYNAPSE_SIZE.test_slices[:test])
    rows, contents = [], []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            measured = _measured(Path(folder), train, test, workers)
            megabytes = sum(path.stat().st_size for path in Path(folder).rglob("*.nii.gz")) / 1e6
            contents.append((Path(folder) / "cohort.json").read_text())
        each = measured["seconds"] / arguments.patients
        rows.append({"workers": workers, "seconds_per_patient": round(each, 2), **measured})
        rows[-1]["written_megabytes"] = round(megabytes, 1)
        print(f"{workers} at once: {each:6.2f} s a patient, {measured['peak_memory_mib']} MiB, {megabytes:6.1f} MB")
    same = contents[0] == contents[1]
    facts, found = hardware(), versions()
    record = {
        "case": {"patients": arguments.patients, "slices": sum(slices), "pixels": SYNAPSE_SIZE.pixels},
        "runs": rows,
        "identical": same,
        "hardware": {name: facts[name] for name in ("processor", "cores", "memory_gib")},
        "versions": {name: found[name] for name in ("python", "system", "numpy", "scipy", "SimpleITK")},
    }
    if arguments.output is not None:
        write_record(arguments.output, "Time, memory and room for a virtual cohort of Synapse's own size", record)
    if not same:
        print("one process and two made different cohorts", file=sys.stderr)
        return 1
    return 0


def _measured(folder: Path, train: int, test: int, workers: int) -> dict[str, float]:
    """Make a cohort in a fresh process and return what it took."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_make, args=(folder, train, test, workers, sender))
    process.start()
    sender.close()
    measured = receiver.recv()
    process.join()
    return measured


def _make(folder: Path, train: int, test: int, workers: int, sender: Connection) -> None:
    """Make the cohort and send seconds, CPU seconds and the largest memory of this process or a worker."""
    start = time.perf_counter()
    source, bar = ROOT / "data" / "example_ct", sys.stderr.isatty()
    write_virtual_cohort(source, folder, train=train, test=test, size=SYNAPSE_SIZE, workers=workers, progress=bar)
    measured = {"seconds": round(time.perf_counter() - start, 1)}
    times = os.times()
    measured["cpu_seconds"] = round(times.user + times.system + times.children_user + times.children_system, 1)
    measured["peak_memory_mib"] = _peak_memory_mib()
    sender.send(measured)


def _peak_memory_mib() -> int:
    try:
        import resource
    except ImportError:  # Windows does not tell
        return 0
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(max(peaks) / unit)


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__, RESULT)
    parser.add_argument(
        "--patients", type=int, default=PATIENTS, metavar="N", help=f"make the first N only (default: all {PATIENTS})"
    )
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where to write (default: the system's)")
    arguments = parser.parse_args()
    if not 2 <= arguments.patients <= PATIENTS:
        parser.error(f"--patients: {arguments.patients} is outside 2..{PATIENTS}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
