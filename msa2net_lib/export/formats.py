"""The two kinds of file: how a traced module is written as each, loaded back, and asked what is stored with it."""

from __future__ import annotations

import importlib
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.export import ExportedProgram

from msa2net_lib.errors import InputError
from msa2net_lib.utils.plain import require_choice
from msa2net_lib.utils.system_info import how_to_install

Format = Literal["onnx", "pt2"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""onnx: the open format that onnxruntime and many other programs run. pt2: PyTorch's own, for `torch.export.load`."""

OPSET = 20
"""The version of ONNX's operators; what torch writes with it, onnxruntime runs from 1.18 on."""
METADATA_KEY = "msa2net"
PACKAGES: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}

_LARGEST_ONNX = 2**31 - 2**24  # bytes of a protobuf, less some for the graph
_KEPT_OF_NODES = "namespace"  # the module that a node comes from, which viewers show

Run = Callable[..., Tensor]


def choose_format(path: str | Path, format: str | None = None) -> Format:
    """Return the format that a file's ending says. Raises: `InputError` if it says none, or not the one asked for."""
    if format is not None:
        require_choice("format", format, FORMATS)
    ending = Path(path).suffix.lower()
    for known in FORMATS:
        if ending == f".{known}" and format in (None, known):
            return known
    wanted = " or ".join(f".{known}" for known in FORMATS if format in (None, known))
    raise InputError(f"{path}: its ending says the format; name the file {wanted}")


def require_packages(format: Format) -> None:
    """Raise InputError, with what to install, unless what writes and runs the format is there."""
    for package in PACKAGES[format]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(f"format {format!r} needs the package {package}: {how_to_install('export')}") from error


def without_paths(program: ExportedProgram) -> ExportedProgram:
    """Take the stack traces off a traced module: they name folders of the machine, and both formats would keep them."""
    for graph in program.graph_module.modules():
        for node in graph.graph.nodes if isinstance(graph, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


def write_pt2(program: ExportedProgram, path: Path, metadata: str) -> None:
    """Write a traced module as ``.pt2``, metadata as an extra file."""
    torch.export.save(program, path, extra_files={METADATA_KEY: metadata})


def write_onnx(
    program: ExportedProgram,
    path: Path,
    metadata: str,
    inputs: Sequence[str],
    output: str,
    axes: Sequence[Mapping[int, str]],
) -> None:
    """Write a traced module as one ONNX file, its axes named, metadata among the model's properties.

    Raises: `InputError` for weights that ONNX cannot hold in one file.
    """
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > _LARGEST_ONNX:
        raise InputError(f"{size / 1e9:.1f} GB of weights: one ONNX file holds 2 GB at most; use format pt2")
    with warnings.catch_warnings():
        # Two inputs that share an axis are told that they do.
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)
        made = torch.onnx.export(
            program,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple(dict(axis) for axis in axes),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    for node in made.model.graph:
        kept = node.metadata_props.get(_KEPT_OF_NODES)
        node.metadata_props.clear()
        if kept is not None:
            node.metadata_props[_KEPT_OF_NODES] = kept
    made.model.metadata_props[METADATA_KEY] = metadata
    made.save(str(path), external_data=False)


def open_exported(path: str | Path) -> Run:
    """Load a file back: a function from input tensors, in their order, to the output, on the CPU and without gradient.

    ONNX runs in onnxruntime on as many threads as torch has now. Only for files that you trust: torch unpickles what is
    in a ``.pt2``. Raises: `InputError` for a file that is missing or damaged, and for a package that is missing.
    """
    path, format = _existing(path)
    try:
        return _open_onnx(path) if format == "onnx" else _open_pt2(path)
    except Exception as error:  # each of both readers has its own kinds
        raise InputError(f"{path}: damaged, or no {format} file ({type(error).__name__}); export it again") from error


def _existing(path: str | Path) -> tuple[Path, Format]:
    path = Path(path)
    format = choose_format(path)
    require_packages(format)
    if not path.is_file():
        raise InputError(f"{path}: no such file; export it first (msa2net export)")
    return path, format


def _open_pt2(path: Path) -> Run:
    module = torch.export.load(path).module()

    @torch.no_grad()
    def run(*inputs: Tensor) -> Tensor:
        return module(*inputs)

    return run


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [put.name for put in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        given = {name: tensor.detach().numpy() for name, tensor in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, given)[0])

    return run


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return what `export_module` stored in a file; nothing in it is run.

    Raises: `InputError` for a file that is missing, damaged, or has nothing of the kind.
    """
    path, format = _existing(path)
    try:
        return json.loads(_stored_in_onnx(path) if format == "onnx" else _stored_in_pt2(path))
    except Exception as error:  # protobuf's, zip's and JSON's own kinds
        raise InputError(f"{path}: holds no description by this library; export it again") from error


def _stored_in_onnx(path: Path) -> str:
    import onnx

    properties = onnx.load(path, load_external_data=False).metadata_props
    return next(entry.value for entry in properties if entry.key == METADATA_KEY)


def _stored_in_pt2(path: Path) -> str:
    places = (f"/extra/{METADATA_KEY}", f"extra_files/{METADATA_KEY}")  # the second is torch 2.7's
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(places))
        return archive.read(name).decode()
