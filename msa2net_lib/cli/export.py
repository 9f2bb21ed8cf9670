"""``msa2net export``: a network as one file for other programs, compared with PyTorch before it is kept."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.cli.networks import add_network_options
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.export import Exported


def add_export(subparsers: Any) -> None:
    """Add the command."""
    written = "write a network as ONNX or .pt2 for other programs"
    parser: argparse.ArgumentParser = subparsers.add_parser("export", help=written)
    parser.set_defaults(run=run_export)
    checkpoint = "this workbook's or the authors'; default: the small network that ships, trained on virtual patients"
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help=checkpoint)
    kinds = "default: by the ending of --output, else onnx. pt2 is for torch.export.load"
    parser.add_argument("--format", choices=("onnx", "pt2"), help=kinds)
    output = "default: the checkpoint's name, in this folder"
    parser.add_argument("--output", type=Path, metavar="FILE", help=output)
    size = "height and width, or one number for both, multiples of 32; fixed in the file; default: the checkpoint's"
    parser.add_argument("--image-size", type=int, nargs="+", metavar="PIXELS", help=size)
    channels = "1 gray, 3 color; default: 3 for a network trained on images, else 1"
    parser.add_argument("--channels", type=int, choices=(1, 3), help=channels)
    values = "normalized (default): the file takes (x - 0.5) / 0.5. unit: it takes x in [0, 1] and does that itself"
    parser.add_argument("--input-range", choices=("normalized", "unit"), default="normalized", help=values)
    tolerance = "largest difference from PyTorch's logits that a file is kept with; default: 1e-4"
    parser.add_argument("--tolerance", type=float, metavar="SIZE", help=tolerance)
    add_network_options(parser, options=False)
    data = "where example_ct is, to compare on a real slice too; default: data"
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help=data)


def run_export(arguments: argparse.Namespace) -> int:
    """Write the file, compare it, say what it is, and return the exit code: 1 if it computes something else."""
    from msa2net_lib.checkpoints import SHIPPED_TINY
    from msa2net_lib.export import DifferentOutputsError, export_network

    checkpoint = arguments.checkpoint or SHIPPED_TINY
    try:
        made = export_network(
            checkpoint,
            arguments.output,
            arguments.format,
            image_size=_image_size(arguments.image_size),
            channels=arguments.channels,
            input_range=arguments.input_range,
            data_dir=arguments.data,
            tolerance=_tolerance(arguments.tolerance),
            network=arguments.network,
        )
    except DifferentOutputsError as error:
        print(f"msa2net: {error}; nothing was kept", file=sys.stderr)
        return 1
    none_named = "" if arguments.checkpoint else "; no --checkpoint was named"
    print(f"checkpoint: {checkpoint.name}{none_named}")
    _print_file(made)
    return 0


def _image_size(given: list[int] | None) -> int | tuple[int, int] | None:
    if given is None:
        return None
    if len(given) > 2:
        raise InputError(f"--image-size {' '.join(map(str, given))}: give height and width, or one number for both")
    return given[0] if len(given) == 1 else (given[0], given[1])


def _tolerance(given: float | None) -> float:
    from msa2net_lib.export.compare import TOLERANCE

    if given is None:
        return TOLERANCE
    if not 0 <= given < float("inf"):  # nan is refused too
        raise InputError(f"--tolerance {given:g}: give a size of 0 or more, as 1e-3")
    return given


def _print_file(made: Exported) -> None:
    from msa2net_lib.export import read_metadata

    told = read_metadata(made.path)
    image, logits = told["input"], told["output"]
    values = "x in [0, 1]" if image["range"] == "unit" else "(x - 0.5) / 0.5 of x in [0, 1]"
    window = told["window"]
    if window is not None and "low" in window:
        values += f", which is {window['low']:g} to {window['high']:g} {window['unit']}"
        values += " (assumed: the checkpoint does not say)" if told["window_assumed"] else ""
    print(f"input: {image['name']} ({_shape(image)}), {image['type']}: {values}")
    classes = told["classes"]
    names = ", ".join(classes) if classes else "not named in the checkpoint"
    print(f"output: {logits['name']} ({_shape(logits)}); classes: {names}")
    print("compared with PyTorch:")
    for name, difference in made.compared.items():
        print(f"  on {name}: {difference}")
    print(f"file: {made.path} ({made.bytes / 1e6:.1f} MB)")
    print(told["mind"])


def _shape(put: dict[str, Any]) -> str:
    return ", ".join(map(str, put["shape"]))
