"""What do MSA²Net's presets cost beside the rows of Tables 1 and 2, and the networks that one would pick instead?

The same input for all, gray slices and 9 classes, and the same plain eager loop: a forward pass in evaluation mode, and
a training step as in `training_step.py` (BoundaryDoULoss, SGD). All networks start from random weights and are timed in
turn in this process; ratios are to `published`, above 1 being faster. Memory is that of a process of its own for each.
DermoSegDiff, which has 2 classes, takes its own training step, and its forward pass is one of the 1250 calls (5 masks
of 250 steps) that draw an image.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measure import Products, in_turn, ratio, write_record
from torch import nn
from training_step import (
    BATCH,
    CLASSES,
    NO_CUDA,
    PEAK_PRODUCT,
    Step,
    Way,
    add_common_options,
    count_operations,
    devices_and_output,
    in_own_process,
    not_measured,
    peak_memory_mib,
    random_batch,
    reason_of,
)

from msa2net_lib.baselines.registry import build_network
from msa2net_lib.baselines.table import NETWORKS as TABLE
from msa2net_lib.nn.network import count_parameters

BASELINE = "MSA²Net published"


def registered(name: str) -> Callable[[int], nn.Module]:
    """Return what builds a network of the library for a size in pixels; of one that draws masks, a single call."""
    entry = TABLE[name]
    options: dict[str, Any] = {"samples": 1, "steps": 1} if name.startswith("dermosegdiff") else {}
    return lambda size: build_network(name, entry.classes or CLASSES, size, **options)


def smp_unet(size: int) -> nn.Module:
    """Build the U-Net that segmentation_models_pytorch has by default, on a ResNet-34."""
    smp: Any = importlib.import_module("segmentation_models_pytorch")

    return smp.Unet("resnet34", encoder_weights=None, in_channels=1, classes=CLASSES)


def smp_segformer(size: int) -> nn.Module:
    """Build SegFormer-B2 from segmentation_models_pytorch."""
    smp: Any = importlib.import_module("segmentation_models_pytorch")

    return smp.Segformer("mit_b2", encoder_weights=None, in_channels=1, classes=CLASSES)


def monai_attention_unet(size: int) -> nn.Module:
    """Build MONAI's Attention U-Net with the five widths of the original U-Net."""
    from monai.networks.nets.attentionunet import AttentionUnet

    return AttentionUnet(2, 1, CLASSES, channels=(64, 128, 256, 512, 1024), strides=(2, 2, 2, 2))


def monai_swin_unetr(size: int) -> nn.Module:
    """Build MONAI's 2-D Swin UNETR with the width that its tutorials use."""
    from monai.networks.nets.swin_unetr import SwinUNETR

    return SwinUNETR(1, CLASSES, feature_size=48, spatial_dims=2)


RIVALS = {entry.title: registered(name) for name, entry in TABLE.items() if not name.startswith("msa2net")}
TOO_LARGE_FOR_A_CPU = {TABLE["dermosegdiff"].title: "321 G multiply-adds a call and image: minutes a step on a CPU"}
PRESETS = {name: f"MSA²Net {name}" for name in ("published", "paper", "released", "tiny")}

NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    **{title: registered("msa2net" if name == "paper" else f"msa2net_{name}") for name, title in PRESETS.items()},
    **RIVALS,
    "U-Net, ResNet-34 (smp)": smp_unet,
    "SegFormer-B2 (smp)": smp_segformer,
    "Attention U-Net (MONAI)": monai_attention_unet,
    "Swin UNETR 2-D (MONAI)": monai_swin_unetr,
}


def build_step(name: str, batch: int, size: int, device: str, bfloat16: bool) -> Step:
    """Build a network and its training step on random slices."""
    torch.manual_seed(0)
    way = Way(name, "", channels_last=False, fused=False, bfloat16=bfloat16)
    return Step(NETWORKS[name](size), *random_batch(batch, size, torch.device(device)), way)


@torch.inference_mode()
def predict(step: Step) -> None:
    """Make one forward pass in evaluation mode."""
    step.network.eval()
    with torch.autocast(step.images.device.type, torch.bfloat16, enabled=step.way.bfloat16):
        step.network(step.images)


def train(step: Step) -> None:
    """Make one training step."""
    step.network.train()
    step()


def cost(name: str, batch: int, size: int, device: str, bfloat16: bool) -> dict[str, Any]:
    """Return what does not depend on the clock; called in a process of its own, for the memory."""
    step, where = build_step(name, batch, size, device, bfloat16), torch.device(device)
    predict(step)
    found: dict[str, Any] = {"forward_memory_mib": peak_memory_mib(where)}
    train(step)
    train(step)
    found |= {"peak_memory_mib": peak_memory_mib(where), "parameters_millions": count_parameters(step.network) / 1e6}
    one, _ = count_operations(step.network, size)
    forward, both = count_operations(step.network, size, batch)
    return found | {"gmacs": round(one / 2e9, 3), "forward_operations": forward, "step_operations": both}


def measure_device(device: str, names: list[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row per network on this device."""
    if device == "cuda" and not torch.cuda.is_available():
        return [not_measured(name, device, NO_CUDA) for name in names]
    batch, bfloat16 = arguments.batch_size or BATCH[device], arguments.precision == "bf16"
    case = (batch, arguments.size, device, bfloat16)
    rows: dict[str, dict[str, Any]] = {}
    steps: dict[str, Step] = {}
    for name in names:
        if device == "cpu" and name in TOO_LARGE_FOR_A_CPU:
            rows[name] = not_measured(name, device, TOO_LARGE_FOR_A_CPU[name])
            continue
        try:
            rows[name] = in_own_process(cost, name, *case)
            steps[name] = build_step(name, *case)
        except Exception as error:  # not installed, no memory, a size that it does not take: it is this row's result
            rows[name] = not_measured(name, device, reason_of(error))
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    products = Products(torch.device(device), dtype, PEAK_PRODUCT[device])
    ways: dict[tuple[str, str], Callable[[], None]] = {("products", ""): products}
    for name, step in steps.items():
        ways |= {("forward", name): partial(predict, step), ("step", name): partial(train, step)}
    seconds = in_turn(ways, arguments.repeats)
    for name in steps:
        rows[name] = _row(name, device, batch, rows[name], seconds, products)
        _show(rows[name])
    return [rows[name] for name in names]


def _row(
    name: str,
    device: str,
    batch: int,
    costs: dict[str, Any],
    seconds: dict[tuple[str, str], list[float]],
    products: Products,
) -> dict[str, Any]:
    forward, step, own = seconds["forward", name], seconds["step", name], seconds["products", ""]
    predicting, training = statistics.median(forward), statistics.median(step)
    row = {
        "name": name,
        "device": device,
        "batch": batch,
        "forward_seconds": round(predicting, 5),
        "slices_per_second": round(batch / predicting, 2),
        "seconds": round(training, 5),
        "images_per_second": round(batch / training, 2),
        "forward_share_of_peak": round(products.share(costs["forward_operations"], forward, own), 4),
        "share_of_peak": round(products.share(costs["step_operations"], step, own), 4),
        "peak_operations_per_second": round(products.per_second(own)),
        "peak_product": products.size,
        **costs,
    }
    if ("step", BASELINE) in seconds:
        row["forward_ratio"] = round(ratio(seconds["forward", BASELINE], forward), 3)
        row["ratio"] = round(ratio(seconds["step", BASELINE], step), 3)
    return row


def _show(row: dict[str, Any]) -> None:
    forward = f"{row['slices_per_second']:9.1f} slices/s {row.get('forward_ratio', float('nan')):6.2f}x"
    step = f"{row['images_per_second']:9.1f} images/s {row.get('ratio', float('nan')):6.2f}x"
    cost = f"{row['parameters_millions']:7.1f} M {row['gmacs']:6.1f} GMACs {row['peak_memory_mib']:6} MiB"
    print(f"{row['device']:5}{row['name']:26}{forward} {step} {cost} {100 * row['share_of_peak']:5.1f} %", flush=True)


def main() -> int:
    """Measure, print and write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", nargs="+", default=list(NETWORKS), metavar="NAME", help=f"(default all: {', '.join(NETWORKS)})"
    )
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="(default float32)")
    add_common_options(parser)
    arguments = devices_and_output(parser, "networks")
    if unknown := set(arguments.networks) - set(NETWORKS):
        parser.error(f"--networks {', '.join(sorted(unknown))}: use some of {', '.join(NETWORKS)}")
    rows = [row for device in arguments.devices for row in measure_device(device, arguments.networks, arguments)]
    content = {
        "case": {
            "size": arguments.size,
            "channels": 1,
            "classes": CLASSES,
            "precision": arguments.precision,
            "loop": "eager, NCHW; step: BoundaryDoULoss and SGD that updates tensor by tensor",
            "memory": "cpu: largest resident size of a process of its own, libraries included; cuda: its tensors",
            "repeats": arguments.repeats,
        },
        "baseline": BASELINE,
        "rows": rows,
    }
    if arguments.output is not None:
        write_record(arguments.output, "What MSA²Net costs beside the networks one would pick instead", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
