"""What the page needs beside its program, as files of JavaScript: `python site/live/make_data.py FOLDER`.

The exported network, the gate's weights, slices, and a description of everything. Each file is one call with a name and
bytes (gzip, base64), so that the page works from a disk, where a browser fetches nothing.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from safetensors.torch import load_file

from msa2net_lib.analysis.interventions import STAGES
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network, read_class_names
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.export import export_module
from msa2net_lib.export.live import CONTROLS, LiveDecoder, LiveEncoder, as_trained, gate_weights, store_half
from msa2net_lib.nn.gates import AttentionGate, build_gate
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.viz.colors import class_colors
from msa2net_lib.viz.gate_diagram import BOXES, FLOW, STAGE_COLUMNS
from msa2net_lib.viz.maps import DIVERGING, SHARES

HERE = Path(__file__).resolve().parent
OTHERS = HERE / "attention_gates.safetensors"
TOLERANCE = 1e-4
"""Largest difference from torch, as a share of the largest number where that is above 1: U' has such beyond 100."""
EVERY = 4
"""Of the slices with an organ every fourth is on the page, as in the lessons."""


def open_networks() -> tuple[MSA2Net, list[AttentionGate]]:
    """The shipped network, and the attention gates trained in its gates' place (`train_attention_gates.py`)."""
    network: Any = load_network(SHIPPED_TINY)
    others: Any = [build_gate("attention", channels).eval() for channels in network.encoder.channels[:3]]
    torch.nn.ModuleList(others).load_state_dict(load_file(OTHERS))
    return network.eval(), others


def main(folder: Path, data_dir: Path = Path("data")) -> None:
    """Write every file, and say how large they are."""
    folder.mkdir(parents=True, exist_ok=True)
    network, others = open_networks()
    decoder = LiveDecoder(network, others)
    side = network.config.height_width
    names, pixels = slices(data_dir, side)
    probes = seen(network, pixels)
    for name, module, output in (("encoder", LiveEncoder(network), "features"), ("decoder", decoder, "tensors")):
        path = folder / f"{name}.onnx"
        path.unlink(missing_ok=True)
        example = next(iter(probes[name].values()))
        with torch.no_grad():
            largest = max(1.0, float(module(*example.values()).abs().max()))
        limit = TOLERANCE * largest
        print(export_module(module, example, path, output=output, probes=probes[name], tolerance=limit))
        store_half(path)
        pack(folder, name, path.read_bytes())
        path.unlink()
    pack(folder, "slices", pixels.tobytes())
    index, numbers = weights(network, others)
    pack(folder, "weights", numbers.tobytes())
    described = describe(network, decoder) | {"slices": names, "weights": index}
    pack(folder, "about", json.dumps(described, ensure_ascii=False).encode())


@torch.no_grad()
def seen(network: MSA2Net, pixels: NDArray[np.uint8]) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
    """What both files are compared with torch on: slices, one or two at a time, as trained and with stages off."""
    probes: dict[str, dict[str, dict[str, torch.Tensor]]] = {"encoder": {}, "decoder": {}}
    for count in (2, 1):
        image = torch.from_numpy(pixels[:: len(pixels) // 2][:count, :1] / np.float32(255))
        features = LiveEncoder(network)(image)
        probes["encoder"][f"{count} slices"] = {"image": image}
        for place, name in enumerate(("as trained", *CONTROLS[1:])):
            controls = as_trained(count)
            controls[..., place] = 1  # the first is the factor of G, which is 1 already
            probes["decoder"][f"{count} slices, {name}"] = {"features": features, "controls": controls}
    return probes


def pack(folder: Path, name: str, content: bytes) -> None:
    """Write one file of the page."""
    packed = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
    (folder / f"{name}.js").write_text(f'liveData("{name}", "{packed}");\n')
    print(f"{name}: {len(content) / 1e6:.2f} MB, packed {len(packed) / 1e6:.2f} MB")


def slices(data_dir: Path, side: tuple[int, int]) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """Of held-out virtual patients and of the second real one: names, and (n, 2, h, w) of gray values and labels."""
    names, pixels = [], []
    for dataset, words in (("virtual", "virtual patient"), ("patient2", "real patient")):
        opened = open_dataset(dataset, data_dir)
        for name in opened.test_cases:
            case = opened.load_case(name)
            for z in np.flatnonzero(case.label.any(axis=(1, 2)))[::EVERY]:
                gray = np.rint(resize_image(case.image[z], side).clip(0, 1) * 255).astype(np.uint8)
                pixels.append(np.stack([gray, resize_label(case.label[z], side).astype(np.uint8)]))
                names.append({"case": f"{words} {name}", "z": int(z)})
    return names, np.stack(pixels)


def weights(network: MSA2Net, others: list[AttentionGate]) -> tuple[list[dict[str, Any]], NDArray[np.float32]]:
    """Level by level layer -> part -> [start, length], and all numbers in a row."""
    index, numbers, start = [], [], 0
    for level, other in enumerate(others):
        gate: Any = network.decoder.levels[level].gate
        assert isinstance(gate, MASAG)
        layers: dict[str, Any] = {}
        for layer, tensors in gate_weights(gate, other).items():
            for part, tensor in tensors.items():
                numbers.append(tensor.detach().float().flatten().numpy())
                layers.setdefault(layer, {})[part] = [start, tensor.numel()]
                start += tensor.numel()
        index.append(layers)
    return index, np.concatenate(numbers).astype(np.float32)


def describe(network: MSA2Net, decoder: LiveDecoder) -> dict[str, Any]:
    """Names, places, colors and words, all from the library's own tables."""
    classes = read_class_names(SHIPPED_TINY) or ()
    palettes = {name: np.rint(colormaps[name](np.arange(256))[:, :3] * 255).astype(int) for name in (DIVERGING, SHARES)}
    sizes = decoder.sizes[:3]
    return {
        "side": network.config.height_width[0],
        "classes": [{"name": name, "color": color} for name, color in class_colors(classes).items()],
        "controls": CONTROLS,
        "stages": [{"name": name, "instead": words, "tensors": [*rules]} for name, (words, rules) in STAGES.items()],
        "levels": [
            {"channels": c, "height": h, "width": w, "order": decoder.order(level).tolist()}
            for level, (c, h, w) in enumerate(sizes)
        ],
        "layout": {name: [place.start, *place.shape] for name, place in decoder.layout.items()},
        "boxes": {
            n: [b.column, b.row, b.formula, "shares" if b.cmap == SHARES else "signed"] for n, b in BOXES.items()
        },
        "flow": FLOW,
        "columns": STAGE_COLUMNS,
        "palettes": {"signed": palettes[DIVERGING].tolist(), "shares": palettes[SHARES].tolist()},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
