"""What the page needs beside its program, as files of JavaScript: `python site/live/make_data.py FOLDER`.

The exported network, the gate's weights, slices, a description of everything, and the WebAssembly runtime from npm.
Each file is one call with a name and a string: so the page works from a disk, where a browser fetches nothing.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from msa2net_lib.analysis.interventions import STAGES
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network, read_class_names
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.export import export_module
from msa2net_lib.export.live import CONTROLS, LiveNetwork, as_trained, gate_weights, store_half
from msa2net_lib.nn.gates import AttentionGate, build_gate
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.viz.colors import class_colors
from msa2net_lib.viz.gate_diagram import BOXES, FLOW, STAGE_COLUMNS
from msa2net_lib.viz.maps import DIVERGING, SHARES

HERE = Path(__file__).resolve().parent
OTHERS = HERE / "attention_gates.safetensors"
RUNTIME = HERE.parent / "node_modules" / "onnxruntime-web" / "dist" / "ort-wasm-simd-threaded.wasm"
TOLERANCE = 1e-4
"""Largest difference from torch, as a share of the largest number where that is above 1: U' has such beyond 100."""
ESCAPED = [0, 10, 13, 34, 92]
"""Characters that are written as 128 more: NUL, both line ends, quote and backslash, which no plain string holds."""
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
    live = LiveNetwork(network, others)
    names, pixels = slices(data_dir, network.config.height_width)
    inputs, modules = probes(live, pixels)
    for name, module in modules.items():
        path = folder / f"{name}.onnx"
        path.unlink(missing_ok=True)
        example = next(iter(inputs[name].values()))
        with torch.no_grad():
            limit = TOLERANCE * max(1.0, float(module(*example.values()).abs().max()))
        print(export_module(module, example, path, output="row", probes=inputs[name], tolerance=limit))
        store_half(path)
        pack(folder, name, path.read_bytes())
        path.unlink()
    pack(folder, "runtime", RUNTIME.read_bytes())
    pack(folder, "slices", pixels.tobytes())
    index, numbers = weights(network, others)
    pack(folder, "weights", numbers.tobytes())
    described = describe(network, live) | {"slices": names, "weights": index}
    pack(folder, "about", json.dumps(described, ensure_ascii=False).encode())


def probes(
    live: LiveNetwork, pixels: NDArray[np.uint8]
) -> tuple[dict[str, dict[str, dict[str, Tensor]]], dict[str, nn.Module]]:
    """What each part is compared with torch on, and the parts: as trained and each change, on a slice each, and one."""
    count = len(CONTROLS)
    chosen = np.linspace(0, len(pixels) - 1, count).astype(int)
    images, controls = torch.from_numpy(pixels[chosen, :1] / np.float32(255)), as_trained(count)
    for place in range(1, count):
        controls[place, :, place] = 1
    inputs: dict[str, dict[str, dict[str, Tensor]]] = {}
    modules = {}
    for kind, size in (("a slice for each change", count), ("one slice", 1)):
        for name, modules[name], given, _ in live.steps(images[:size], controls[:size]):
            inputs.setdefault(name, {})[kind] = given
    return inputs, modules


def pack(folder: Path, name: str, content: bytes) -> None:
    """Write one file of the page: gzip, seven bits a character; network.js reads it."""
    bits = np.unpackbits(np.frombuffer(gzip.compress(content, 9, mtime=0), np.uint8))
    codes = np.packbits(np.pad(bits, (0, -len(bits) % 7)).reshape(-1, 7), axis=1)[:, 0] >> 1
    text = np.where(np.isin(codes, ESCAPED), codes + 128, codes).astype(np.uint8).tobytes().decode("latin1")
    path = folder / f"{name}.js"
    path.write_bytes(f'liveData("{name}", "{text}");\n'.encode())
    print(f"{name}: {len(content) / 1e6:.2f} MB, packed {path.stat().st_size / 1e6:.2f} MB")


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


def describe(network: MSA2Net, live: LiveNetwork) -> dict[str, Any]:
    """Names, places, colors and words, all from the library's own tables."""
    classes = read_class_names(SHIPPED_TINY) or ()
    palettes = {name: np.rint(colormaps[name](np.arange(256))[:, :3] * 255).astype(int) for name in (DIVERGING, SHARES)}
    return {
        "side": network.config.height_width[0],
        "classes": [{"name": name, "color": color} for name, color in class_colors(classes).items()],
        "controls": CONTROLS,
        "stages": [{"name": name, "instead": words, "tensors": [*rules]} for name, (words, rules) in STAGES.items()],
        "levels": [
            {"channels": c, "height": h, "width": w, "order": cast(Tensor, level.order).tolist()}
            for level in live.levels
            for c, h, w in [level.size]
        ],
        "layouts": [
            {name: [place.start, *place.shape] for name, place in level.layout.items()} for level in live.levels
        ],
        "boxes": {
            n: [b.column, b.row, b.formula, "shares" if b.cmap == SHARES else "signed"] for n, b in BOXES.items()
        },
        "flow": FLOW,
        "columns": STAGE_COLUMNS,
        "palettes": {"signed": palettes[DIVERGING].tolist(), "shares": palettes[SHARES].tolist()},
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
