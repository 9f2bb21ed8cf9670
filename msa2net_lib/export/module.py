"""Any module of one output as a file: traced, written beside its place, compared, and only then renamed into it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from msa2net_lib.errors import InputError
from msa2net_lib.export.compare import TOLERANCE, Exported, compare_all
from msa2net_lib.export.formats import (
    Format,
    choose_format,
    open_exported,
    require_packages,
    without_paths,
    write_onnx,
    write_pt2,
)
from msa2net_lib.utils.files import atomic_path, remove_partials

Axes = Mapping[int, str]
DynamicAxes = Axes | Mapping[str, Axes]

BATCH: Axes = {0: "batch"}
BATCHES = (1, 2, 3, 5)
"""Batch sizes that are compared; other sizes that may vary are once, twice, three times and once the example's."""
_TIMES = (1, 2, 3, 1)


def export_module(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    path: str | Path,
    format: Format | None = None,
    *,
    dynamic_axes: DynamicAxes = BATCH,
    output: str = "output",
    metadata: Mapping[str, Any] | None = None,
    probes: Mapping[str, Mapping[str, Tensor]] | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a module as ONNX or ``.pt2``, load the file back, compare its output with the module's, and keep it.

    A copy is exported, in evaluation mode on the CPU. inputs: an example of each input by name, in the order of
    ``forward``; an axis that is to vary must be 2 or longer in it. dynamic_axes: axis -> name for all inputs alike, or
    input -> (axis -> name); axes of one name are equal in size. probes: inputs to compare on, by a name for each,
    `seeded_probes` if None. metadata: stored as JSON under the key "msa2net" (`read_metadata`). tolerance: of the
    absolute difference. Raises: `DifferentOutputsError` above it, `InputError` for a missing package or a path that
    cannot be written, or a module that torch cannot trace or write; in each case, and on Ctrl-C, nothing is left, and
    what was there before is as it was.
    """
    path, format = Path(path), choose_format(path, format)
    require_packages(format)
    axes = _axes_of_inputs(inputs, dynamic_axes)
    remove_partials(path.parent)
    with atomic_path(path) as temporary:
        own = copy.deepcopy(module).cpu().eval().requires_grad_(False)
        traced = copy.deepcopy(own)  # what is traced shares its weights with the program: compared are others
        examples = {name: tensor.detach().cpu() for name, tensor in inputs.items()}
        probes = probes or seeded_probes(examples, dynamic_axes)
        with _refused(path, "torch.export cannot trace it", "forward must not branch on values", Exception):
            program = trace(traced, tuple(examples.values()), axes, fused_attention=format == "pt2")
        stored = json.dumps(dict(metadata or {}), ensure_ascii=False)
        if format == "onnx":
            with _refused(path, "torch cannot write it as ONNX", "use format pt2", torch.onnx.OnnxExporterError):
                write_onnx(program, temporary, stored, tuple(inputs), output, axes)
        else:
            write_pt2(program, temporary, stored)
        differences = compare_all(own, open_exported(temporary), probes, tolerance)
        size = temporary.stat().st_size
    return Exported(path, format, differences, size)


@contextmanager
def _refused(path: Path, what: str, advice: str, kind: type[Exception]) -> Iterator[None]:
    """Tell an error of torch's own about a module, many pages long, by its first cause. Raises: `InputError`."""
    try:
        yield
    except InputError:
        raise
    except kind as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0][:150]
        raise InputError(f"{path}: {what} ({type(cause).__name__}: {reason}); {advice}") from error


def trace(
    module: nn.Module, inputs: tuple[Tensor, ...], axes: Sequence[Axes], fused_attention: bool = True
) -> ExportedProgram:
    """Trace a module, which is changed by it, by `torch.export`, without this machine's folders.

    fused_attention: leave timm's attention in one operation. The ONNX exporter takes it apart with strides other than
    those the trace met, and fails at the next reshape (torch 2.15).
    """
    named = {name: Dim(name, min=1) for axis in axes for name in axis.values()}
    shapes = tuple({index: named[name] for index, name in axis.items()} for axis in axes)
    fused: list[Any] = [part for part in module.modules() if getattr(part, "fused_attn", False)]
    for part in fused:
        part.fused_attn = fused_attention
    with torch.no_grad():
        return without_paths(torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False))


def seeded_probes(
    inputs: Mapping[str, Tensor], dynamic_axes: DynamicAxes = BATCH, seed: int = 0
) -> dict[str, dict[str, Tensor]]:
    """Normally distributed inputs like the examples by name, in batches of `BATCHES` and up to 3 times their size."""
    generator = torch.Generator().manual_seed(seed)
    axes = _axes_of_inputs(inputs, dynamic_axes)
    probes: dict[str, dict[str, Tensor]] = {}
    for batch, times in zip(BATCHES, _TIMES, strict=True):
        probe = {}
        for (name, example), names in zip(inputs.items(), axes, strict=True):
            shape = list(example.shape)
            for axis, called in names.items():
                shape[axis] = batch if called == "batch" else times * shape[axis]
            probe[name] = torch.randn(shape, generator=generator, dtype=example.dtype)
        probes[f"noise in a batch of {batch}"] = probe
    return probes


def _axes_of_inputs(inputs: Mapping[str, Tensor], dynamic_axes: DynamicAxes) -> list[Axes]:
    """Return, for each input, which axes vary. Raises: `InputError` for unknown inputs and axes of length 1."""
    by_name = {key: value for key, value in dynamic_axes.items() if isinstance(key, str) and not isinstance(value, str)}
    alike = {key: value for key, value in dynamic_axes.items() if isinstance(key, int) and isinstance(value, str)}
    unknown = set(by_name) - set(inputs)
    if unknown:
        raise InputError(f"dynamic_axes names {', '.join(sorted(unknown))}: the inputs are {', '.join(inputs)}")
    axes = [by_name.get(name, alike) for name in inputs]
    for (name, example), varying in zip(inputs.items(), axes, strict=True):
        short = [axis for axis in varying if example.shape[axis] < 2]
        if short:
            raise InputError(f"input {name!r}: axis {short[0]} is to vary, so give an example in which it is 2 or more")
    return axes
