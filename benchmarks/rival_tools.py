"""Which tools work on which row of Tables 1 and 2: ONNX, pt2, Grad-CAM, spectra, counts?

Each network has its own form, narrow and at 64 x 64 pixels as in the tests: the operators that an export meets are
those of the whole one. Files are compared with PyTorch by `export_network`. What fails is recorded with its reason, and
the record is written after each network, so that one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, parser_of, write_record
from torch import nn

from msa2net_lib.analysis.complexity import TORCH, count_work
from msa2net_lib.analysis.frequency import layer_spectra
from msa2net_lib.analysis.grad_cam import grad_cam
from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.checkpoints import save_network
from msa2net_lib.export import export_network
from msa2net_lib.utils.files import read_json

sys.path.insert(0, str(RESULTS.parents[1] / "tests" / "helpers"))
from small_networks import small_network  # pyright: ignore[reportMissingImports]

RESULT = RESULTS / "rival_tools.json"


def main() -> int:
    """Try what is not in the record yet, print, write; return the exit status."""
    parser = parser_of(__doc__, RESULT)
    names = [name for name in NETWORKS if not name.startswith("msa2net")]
    parser.add_argument("--networks", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    arguments: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    known = read_json(arguments.output)["rows"] if arguments.output.is_file() else []
    rows = {row["network"]: row for row in known}
    for name in (name for name in arguments.networks if name not in rows):
        rows[name] = _row(name)
        print(*rows[name].values(), sep="; ", flush=True)
        content = {"image_size": 64, "weights": "random", "rows": [rows[name] for name in names if name in rows]}
        write_record(arguments.output, "Which tools work on which row of Tables 1 and 2", content)
    return 0


def _row(name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    network = small_network(name).eval()
    tools: dict[str, Callable[[], str]] = {
        "onnx": partial(_export, network, name, "onnx"),
        "pt2": partial(_export, network, name, "pt2"),
        "Grad-CAM": partial(_look, network),
        "spectra": partial(_spectra, network),
        "counts": lambda: f"ok, {TORCH.total(count_work(network)) / 1e9:.3f} G multiply-adds",
    }
    start = time.process_time()
    found = {tool: _tried(use) for tool, use in tools.items()}
    return {"network": name} | found | {"processor_seconds": round(time.process_time() - start, 1)}


def _tried(use: Callable[[], str]) -> str:
    try:
        return use()
    except Exception as error:  # whatever it is, it is this cell's result
        return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:200]}"


def _export(network: nn.Module, name: str, kind: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_network(network, Path(folder) / f"{name}.safetensors")
        if reason := NETWORKS[name].no_export:
            return f"not possible: {reason}"
        made = export_network(checkpoint, Path(folder) / f"network.{kind}", data_dir=folder)
    return f"ok, largest difference {made.largest_difference:.1g}"


def _last_map(network: nn.Module, image: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """The last convolution of more than one pixel's grid that runs, and what it gives."""
    ran: list[tuple[nn.Module, Any]] = []
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [one.register_forward_hook(lambda m, _, output: ran.append((m, output))) for one in convolutions]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return [(module, output) for module, output in ran if output.shape[-1] > 1][-2]


def _look(network: Any) -> str:
    image = torch.randn(1, 3, 64, 64)
    layer, _ = _last_map(network, image)
    values = grad_cam(network, image, torch.ones(1, 64, 64), 1, layer).values
    return "ok" if torch.isfinite(torch.as_tensor(values)).all() else "values that are not finite"


def _spectra(network: Any) -> str:
    _, features = _last_map(network, torch.randn(1, 3, 64, 64))
    layer_spectra({"last": features})
    return "ok"


if __name__ == "__main__":
    sys.exit(main())
