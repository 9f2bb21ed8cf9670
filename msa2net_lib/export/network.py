"""A whole network out of a checkpoint: what goes into the file, and what the file says about itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from msa2net_lib.baselines.registry import NETWORKS
from msa2net_lib.baselines.spec import config_of
from msa2net_lib.checkpoints import SHIPPED_TINY, read_class_names, read_fingerprint
from msa2net_lib.data.fingerprint import DatasetFingerprint
from msa2net_lib.data.resize import normalize, resize_images
from msa2net_lib.data.volumes import WINDOW_HU, read_volume, window
from msa2net_lib.errors import InputError
from msa2net_lib.export.compare import TOLERANCE, Exported
from msa2net_lib.export.formats import Format, choose_format, read_metadata, require_packages
from msa2net_lib.export.module import export_module, seeded_probes
from msa2net_lib.inference import NOT_CLINICAL
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.official_checkpoints import open_checkpoint
from msa2net_lib.utils.files import sha256
from msa2net_lib.utils.plain import require_choice
from msa2net_lib.utils.system_info import library_version

InputRange = Literal["normalized", "unit"]
"""normalized: the file takes (x - 0.5) / 0.5, as the network itself does. unit: it takes x in [0, 1]."""
INPUT_RANGES: tuple[InputRange, ...] = ("normalized", "unit")

EXAMPLE = Path("example_ct") / "img" / "img0001.nii.gz"
EXAMPLE_SLICE = 100  # through liver, spleen, stomach, kidneys and aorta


class FromUnitRange(nn.Module):
    """A network behind its normalization. Shape: image in [0, 1] (b, 1|3, h, w) -> logits (b, classes, h, w)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network((image - 0.5) / 0.5)


def export_network(
    checkpoint: str | Path = SHIPPED_TINY,
    path: str | Path | None = None,
    format: Format | None = None,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    input_range: InputRange = "normalized",
    data_dir: str | Path = "data",
    tolerance: float = TOLERANCE,
    network: str | None = None,
) -> Exported:
    """Write the network of a checkpoint, of this workbook or the authors', as ONNX or ``.pt2``, and compare the two.

    The file takes ``image`` (B, C, H, W), float32, any batch, and gives ``logits`` (B, K, H, W); `read_metadata` says
    the rest. It is compared on seeded inputs in batches of 1, 2, 3 and 5 and, where ``data_dir`` has the example CT,
    on one of its slices. An earlier export of the same checkpoint is replaced, another file is not.

    Args:
        checkpoint: a file of `save_network` or of the reference implementation.
        path: by default the checkpoint's name in this folder.
        format: "onnx" or "pt2"; by default the path's, or what is installed.
        image_size: pixels, multiples of 32, for another size than the checkpoint's; it is fixed in the file, because
            the encoder's attention windows depend on it.
        channels: 1 gray, 3 color; by default 3 if the network was trained on images.
        input_range: "normalized", or "unit" for a file that takes [0, 1] and normalizes itself.
        data_dir: where the example CT may be.
        tolerance: the largest difference of logits that is accepted.
        network: what `open_checkpoint` has to be told where the network is not MSA²Net or of this library.

    Returns:
        What was written, and how far it is from the network on each input.

    Raises:
        DifferentOutputsError: a difference above ``tolerance``; nothing is kept.
        InputError: a network that no file can hold (DermoSegDiff: with the reason), a missing package, sizes and
            channels that are none, what `open_checkpoint` refuses, a path in the way.

    Example:
        >>> from msa2net_lib import export_network
        >>> export_network("none.safetensors", "none.pt2")
        Traceback (most recent call last):
        msa2net_lib.errors.InputError: none.safetensors: no such checkpoint; ...

    Source: this project.
    """
    checkpoint = Path(checkpoint)
    require_choice("input_range", input_range, INPUT_RANGES)
    require_choice("channels", channels, (None, 1, 3))
    path = Path(f"{checkpoint.stem}.{format or 'onnx'}" if path is None else path)
    require_packages(choose_format(path, format))
    opened = open_checkpoint(checkpoint, image_size, network)
    config = config_of(opened)
    if config.preset in NETWORKS and (reason := NETWORKS[config.preset].no_export):
        raise InputError(f"{checkpoint}: {config.preset} cannot be exported: {reason}")
    digest = sha256(checkpoint)
    _check_free(path, checkpoint, digest)
    fingerprint = read_fingerprint(checkpoint)
    depth = channels or (3 if fingerprint is not None and fingerprint.kind == "images" else 1)
    seen = torch.zeros(2, depth, *config.height_width)
    probes = seeded_probes({"image": seen})
    example = example_slice(Path(data_dir), config.height_width)
    if example is not None:
        probes["a slice of the example CT"] = {"image": example.expand(-1, depth, -1, -1)}
    if input_range == "unit":
        probes = {name: {"image": probe["image"] * 0.5 + 0.5} for name, probe in probes.items()}
    metadata = describe_file(opened, checkpoint, digest, depth, input_range, fingerprint)
    module = without_unused_parts(opened) if isinstance(opened, MSA2Net) else opened
    return export_module(
        FromUnitRange(module) if input_range == "unit" else module,
        {"image": seen},
        path,
        format,
        output="logits",
        metadata=metadata,
        probes=probes,
        tolerance=tolerance,
    )


def without_unused_parts(network: MSA2Net) -> MSA2Net:
    """Take out of a network what it owns and never runs, in place: the same function with fewer parameters."""
    network.encoder.gray_stem = None
    levels: Any = network.decoder.levels
    for level in levels:
        for part in level.config.unused:
            setattr(level, part, nn.ModuleList() if part == "blocks" else nn.Identity())
    return network


def example_slice(data_dir: Path, height_width: tuple[int, int]) -> Tensor | None:
    """A slice of the example CT as networks take it, (1, 1, h, w), or None where the CT is not."""
    scan = data_dir / EXAMPLE
    if not scan.is_file():
        return None
    gray = window(read_volume(scan).array[EXAMPLE_SLICE : EXAMPLE_SLICE + 1])
    return rearrange(torch.from_numpy(normalize(resize_images(gray, height_width))), "n h w -> n 1 h w")


def describe_file(
    network: nn.Module,
    checkpoint: Path,
    digest: str,
    channels: int,
    input_range: InputRange,
    fingerprint: DatasetFingerprint | None,
) -> dict[str, Any]:
    """Return what the file says of itself: input, output, classes, origin; None for what the checkpoint does not say.

    Raises: `InputError` for a checkpoint that names another number of classes than it has.
    """
    config, names = config_of(network), read_class_names(checkpoint)
    height, width = config.height_width
    if names is not None and len(names) != config.num_classes - 1:
        raise InputError(f"{checkpoint}: names {len(names)} classes and has {config.num_classes - 1}; copy it again")
    title = "MSA2Net" if isinstance(network, MSA2Net) else config.preset
    scans = fingerprint is None or fingerprint.kind == "scans"
    usual = {"low": WINDOW_HU[0], "high": WINDOW_HU[1], "unit": "HU"} if channels == 1 else None
    return {
        "about": f"{title}, exported by msa2net-workbook",
        "mind": NOT_CLINICAL,
        "version": library_version(),
        "torch": torch.__version__,
        "checkpoint": {"name": checkpoint.name, "sha256": digest},
        "input": {
            "name": "image",
            "shape": ["batch", channels, height, width],
            "type": "float32",
            "range": input_range,
            "mean": 0.5 if input_range == "normalized" else 0.0,  # what is left to do to x in [0, 1]
            "std": 0.5 if input_range == "normalized" else 1.0,
            "resize": _resize(fingerprint),
        },
        "window": (fingerprint.window if fingerprint is not None else usual) if scans else None,
        "window_assumed": fingerprint is None and channels == 1,
        "output": {"name": "logits", "shape": ["batch", config.num_classes, height, width], "type": "float32"},
        "classes": None if names is None else ["background", *names],
        "fingerprint": None if fingerprint is None else dataclasses.asdict(fingerprint),
        "network": json.loads(json.dumps(config.to_dict() | {"pretrained": False})),
    }


def _resize(fingerprint: DatasetFingerprint | None) -> str:
    """How images are brought to the network's size; a recipe says so for images."""
    recipe = None if fingerprint is None else fingerprint.recipe
    return "cubic splines" if recipe is None else recipe["image_filter"]


def _check_free(path: Path, checkpoint: Path, digest: str) -> None:
    """Raise InputError for a path that holds something else than an earlier export of the same checkpoint."""
    if not path.exists() or path.is_dir():  # a folder is refused where files are written
        return
    if path.samefile(checkpoint):
        raise InputError(f"{path}: is the checkpoint itself; name another file (--output FILE)")
    try:
        earlier = read_metadata(path)["checkpoint"]["sha256"]
    except (InputError, KeyError, TypeError):
        earlier = None
    if earlier != digest:
        raise InputError(
            f"{path}: is there already and no export of {checkpoint.name}; name another file (--output FILE), "
            "or delete it"
        )
