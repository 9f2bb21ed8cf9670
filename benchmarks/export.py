"""How large is an exported network, how long does it take, and how far is the file from PyTorch?

The network that ships; `published` and `released` in files like the authors' and `paper` in a float16 file of ours, all
three with random weights; and `tiny` with every gate, and without skips, at 64 x 64 pixels, weights random too. Each is
written in both formats by `export_network`, which compares the file with PyTorch on seeded noise and on a real CT slice
and refuses a difference above 1e-4. Sizes, processor time and differences go to a JSON file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, parser_of, write_record

from msa2net_lib.checkpoints import SHIPPED_TINY, save_network
from msa2net_lib.export import export_network
from msa2net_lib.export.formats import FORMATS, Format
from msa2net_lib.export.network import without_unused_parts
from msa2net_lib.nn.gates import GATES
from msa2net_lib.nn.network import MSA2Net, count_parameters
from msa2net_lib.official_checkpoints import open_checkpoint, save_official_checkpoint
from msa2net_lib.utils.system_info import peak_memory_gib

RESULT = RESULTS / "export.json"
DATA = RESULTS.parents[1] / "data"
GATE_PIXELS = 64
WITHOUT_SKIPS = "none"

Make = Callable[[Path], Path]  # folder -> checkpoint file


def main() -> int:
    """Export every network in every format, print, write; return the exit status."""
    arguments = _parse_arguments()
    torch.set_num_threads(1)
    known = checkpoints()
    rows = []
    for name in arguments.networks or known:
        with tempfile.TemporaryDirectory() as folder:  # one network at a time: the large ones are 0.4 GB in every form
            checkpoint = known[name](Path(folder))
            for kind in FORMATS:
                rows.append(_row(name, checkpoint, kind))
                print(*rows[-1].values(), sep="; ", flush=True)
    if arguments.output is not None:
        content = {
            "threads": torch.get_num_threads(),
            "onnxruntime": importlib.metadata.version("onnxruntime"),
            "compared_on": "seeded noise in batches of 1, 2, 3 and 5, and a slice of the example CT",
            "seconds": "processor time of this process to read the checkpoint, write the file and compare it",
            "weights": "random, but for the network that ships",
            "rows": rows,
            "peak_memory_gib": round(peak_memory_gib(), 2),
        }
        write_record(arguments.output, "Size, time and largest difference of exported networks", content)
    return 0


def checkpoints() -> dict[str, Make]:
    """How each network's checkpoint file is made, by name."""
    official = {name: _official(name) for name in ("published", "released")}
    gates = {f"tiny with {gate}": _ours("tiny", gate=gate, image_size=GATE_PIXELS) for gate in GATES}
    gates["tiny without skips"] = _ours("tiny", gate=WITHOUT_SKIPS, image_size=GATE_PIXELS)
    return {"shipped": lambda folder: SHIPPED_TINY} | official | {"paper in float16": _ours("paper", half=True)} | gates


def _official(preset: str) -> Make:
    return lambda folder: save_official_checkpoint(_network(preset), folder / f"{preset}.pth")


def _ours(preset: str, half: bool = False, **overrides: Any) -> Make:
    return lambda folder: save_network(_network(preset, **overrides), folder / f"{preset}.safetensors", half=half)


def _network(preset: str, **overrides: Any) -> MSA2Net:
    torch.manual_seed(0)
    return MSA2Net.from_preset(preset, pretrained=False, **overrides)


def _row(name: str, checkpoint: Path, kind: Format) -> dict[str, Any]:
    """Export one checkpoint in one format, away from where the checkpoint is, and tell what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        made = export_network(checkpoint, Path(folder) / f"network.{kind}", data_dir=DATA)
        seconds = time.process_time() - start
    network = open_checkpoint(checkpoint)
    whole = count_parameters(network)
    return {
        "name": name,
        "format": kind,
        "image_size": network.config.height_width[0],
        "parameters_millions": round(whole / 1e6, 2),
        "parameters_in_file_millions": round(count_parameters(without_unused_parts(network)) / 1e6, 2),
        "file_mb": round(made.bytes / 1e6, 1),
        "seconds": round(seconds, 1),
        "largest_difference": float(f"{made.largest_difference:.2g}"),
        "equal_argmax": made.equal_argmax,
    }


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    names = tuple(checkpoints())
    told = f"only these, and no record: {', '.join(names)}"
    parser.add_argument("--networks", nargs="+", choices=names, metavar="NAME", help=told)
    arguments = parser.parse_args()
    if arguments.output is None and arguments.networks is None:
        arguments.output = RESULT
    return arguments


if __name__ == "__main__":
    sys.exit(main())
