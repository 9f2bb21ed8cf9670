"""Four U-Nets of others with MASAG, with the constant control and without gate; and MASAG on a block of a scan.

The networks are trained alike, scored and timed. On a block, features of neighboring slices are one volume.
"""

from __future__ import annotations

import copy
import inspect
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from msa2net_lib.analysis.slice_study import network_input
from msa2net_lib.baselines.spec import adopt_network
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.data.resize import resize_images
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import cached_run, run_once
from msa2net_lib.evaluation.intervals import BEYOND, NOT_KNOWN, corrected, difference_row
from msa2net_lib.losses import build_loss
from msa2net_lib.nn.gates import inflated
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import MSA2Net, count_parameters
from msa2net_lib.nn.plain_unet import PlainUNet, gate_plain_unet
from msa2net_lib.nn.third_party import gate_attention_unet, gate_basic_unet, gate_smp_unet
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.optimizer import build_optimizer
from msa2net_lib.utils.devices import choose_device

WITHOUT, OWN = "without gate", "own gate"
VARIANTS = (WITHOUT, "constant", "masag")
"""What is compared in every network: no gate, the control with MASAG's last step but no map, MASAG."""
CLASSES = 9


@dataclass(frozen=True, eq=False)
class ThirdPartyNetwork:
    """A network that is not the library's: how it is built for one channel and some classes, and how it gets a gate.

    gate: changes a network in place, by a gate's name, and returns it. variants: what is compared in it; with `OWN` it
    comes with gates of its own, which "addition" then takes out.
    """

    name: str
    build: Callable[[int], nn.Module]
    gate: Callable[[Any, str], nn.Module]
    variants: tuple[str, ...] = VARIANTS

    def make(self, variant: str, seed: int, classes: int = CLASSES) -> nn.Module:
        """The network with a variant: `WITHOUT`, `OWN` or a gate's name; at one seed its own weights are the same."""
        has_own_gate = OWN in self.variants
        if variant == OWN and not has_own_gate:
            raise InputError(f"{self.name} has no gate of its own: use one of {', '.join(self.variants)}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.build(classes)
            if variant == (WITHOUT, OWN)[has_own_gate]:
                return network
            return self.gate(network, "addition" if variant == WITHOUT else variant)

    @property
    def source(self) -> str:
        """The modules that build and gate it, as text: what a run rests on beside its settings."""
        return "".join(inspect.getsource(inspect.getmodule(part) or part) for part in (self.build, self.gate))


def _smp_unet(classes: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet(
        "resnet18", encoder_weights=None, decoder_channels=(64, 48, 32, 24, 16), in_channels=1, classes=classes
    )


def _attention_unet(classes: int) -> nn.Module:
    from monai.networks.nets.attentionunet import AttentionUnet

    return AttentionUnet(2, 1, classes, channels=(16, 32, 64, 128), strides=(2, 2, 2))


def _basic_unet(classes: int) -> nn.Module:
    from monai.networks.nets.basic_unet import BasicUNet

    return BasicUNet(2, 1, classes, features=(16, 16, 32, 64, 128, 16))


def _plain_unet(classes: int) -> nn.Module:
    return PlainUNet(classes=classes)


THIRD_PARTY: dict[str, ThirdPartyNetwork] = {
    network.name: network
    for network in (
        ThirdPartyNetwork("smp Unet", _smp_unet, gate_smp_unet),
        ThirdPartyNetwork("MONAI AttentionUnet", _attention_unet, gate_attention_unet, (*VARIANTS, OWN)),
        ThirdPartyNetwork("MONAI BasicUNet", _basic_unet, gate_basic_unet),
        ThirdPartyNetwork("plain U-Net", _plain_unet, gate_plain_unet),
    )
}
"""The four networks by name."""


def compare_third_party(
    chosen: Sequence[ThirdPartyNetwork],
    config: TrainConfig,
    seeds: Sequence[int],
    dataset: PreparedDataset,
    image_size: int,
    output_dir: str | Path | None = None,
    *,
    device: str = "auto",
    look: Callable[[str, nn.Module], dict[str, Any]] | None = None,
) -> pd.DataFrame:
    """Train and score every variant of every network with every seed: the last step's weights, no selection.

    Returns one row per run: network, variant, seed, ``dsc`` (0 to 1) and ``hd95`` (voxels) as means over organs, final
    loss, parameters, minutes. output_dir, and ``look(variant, network)``, which sees every trained network: see
    `msa2net_lib.evaluation.experiments.cached_run`. Raises: `InputError` without networks or seeds.
    """
    if not chosen or not seeds:
        raise InputError("nothing to compare: give at least one network and one seed")
    rows = []
    for seed in seeds:
        for network in chosen:
            for variant in network.variants:
                key, run = {"network": network.name, "variant": variant, "seed": seed}, replace(config, seed=seed)
                settings = (key, network.source, run.to_dict(), dataset.digest(), image_size)
                make = partial(_run_once, network, variant, run, dataset, image_size, device)
                seen = None if look is None else partial(look, variant)
                rows.append(key | cached_run(make, settings, output_dir, look=seen))
    return pd.DataFrame(rows)


def _run_once(
    one: ThirdPartyNetwork, variant: str, config: TrainConfig, dataset: PreparedDataset, image_size: int, device: str,
    state: Path | None
) -> tuple[dict[str, Any], nn.Module]:  # fmt: skip
    classes = len(dataset.class_names) + 1
    made = adopt_network(one.make(variant, config.seed, classes), num_classes=classes, image_size=image_size)
    row, network = run_once(made, config, dataset, device=device, progress=False)
    return {name: value for name, value in row.items() if not name.startswith("dsc ")}, network


def cost_table(
    chosen: Sequence[ThirdPartyNetwork], image_size: int, batch: int, repeats: int, device: str = "auto"
) -> pd.DataFrame:
    """What a gate costs: one row per network and variant, against the network without gate.

    A training step is timed once per variant and round, so that a drifting clock touches all alike. Columns: network,
    variant, parameters, ``added`` (parameters), ``step_ms`` (median of a training step), ``ratio`` (median over rounds
    of its time to that without gate).
    """
    rows = []
    for network in chosen:
        made = {variant: network.make(variant, seed=0) for variant in network.variants}
        counts = {variant: count_parameters(one) for variant, one in made.items()}
        steps = {variant: _training_step(one, image_size, batch, device) for variant, one in made.items()}
        seconds = {variant: [] for variant in steps}
        for round_number in range(2 + repeats):  # two to warm up
            for variant, step in steps.items():
                started = time.perf_counter()
                step()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if round_number >= 2:
                    seconds[variant].append(time.perf_counter() - started)
        for variant, times in seconds.items():
            ratios = [one / other for one, other in zip(times, seconds[WITHOUT], strict=True)]
            rows.append(
                {
                    "network": network.name,
                    "variant": variant,
                    "parameters": counts[variant],
                    "added": counts[variant] - counts[WITHOUT],
                    "step_ms": round(1000 * statistics.median(times), 2),
                    "ratio": round(statistics.median(ratios), 3),
                }
            )
    return pd.DataFrame(rows)


def _training_step(network: Any, image_size: int, batch: int, device: str) -> Callable[[], None]:
    """Forward, loss, backward, optimizer, on noise and random labels."""
    where = choose_device(device)
    network = network.to(where, memory_format=torch.channels_last)
    loss, optimizer = build_loss("boundary_dou", CLASSES), build_optimizer(network, TrainConfig())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 1, image_size, image_size, generator=generator).to(where)
    target = torch.randint(0, CLASSES, (batch, image_size, image_size), generator=generator).to(where)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(network(images), target).backward()
        optimizer.step()

    return step


def effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Differences of DSC in points, paired by seed: one row per network and comparison.

    runs: as `compare_third_party` returns them. Compared: every variant with `WITHOUT`; "masag" with "constant", which
    is what the map is worth; and "masag" with `OWN`, the gate that a network comes with. Columns: network, variant,
    against, those of `evaluation.intervals.difference_row`, ``dots`` (the differences), ``holm`` and ``significance``,
    corrected over the comparisons of MASAG, which are what the lesson asks about, and over the others by themselves.
    """
    rows = []
    for network, own_runs in runs.groupby("network", sort=False):
        scores = own_runs.pivot(index="seed", columns="variant", values="dsc")
        pairs = [(variant, WITHOUT) for variant in own_runs.variant.unique() if variant != WITHOUT]
        for variant, against in [*pairs, ("masag", "constant"), ("masag", OWN)]:
            if variant not in scores or against not in scores:
                continue
            dots = list(100 * (scores[variant] - scores[against]))
            key = {"network": network, "variant": variant, "against": against}
            rows.append(key | difference_row(dots) | {"dots": dots})
    if not rows:
        return pd.DataFrame(columns=["network", "variant", "against"])
    table = pd.DataFrame(rows)
    families = [part for _, part in table.groupby(table.variant == "masag")]
    return pd.concat([corrected(part)[0] for part in families]).sort_index()


def sentences(table: pd.DataFrame) -> list[str]:
    """What `effects` say of MASAG, in words: a line per network and comparison, then how many networks it helps."""
    lines = []
    of_masag: pd.DataFrame = table.loc[table.variant == "masag"]
    for row in of_masag.to_dict("records"):
        known = row["significance"] != NOT_KNOWN
        interval = f", 95 % interval {row['low']:+.2f} to {row['high']:+.2f} (paired t)" if known else ""
        interval += f", Holm p {row['holm']:.2f}" if known else ""
        gain = f"{row['difference']:+.2f} points of DSC{interval}: {row['significance']}"
        small = f"; four in five would see {row['detectable']:.2f}" if known and row["significance"] != BEYOND else ""
        lines.append(f"{row['network']}: MASAG minus {row['against']}: {gain}{small}")
    for against, rows in of_masag.groupby("against", sort=False):
        signs = rows.difference[rows.significance == BEYOND]
        above, below, count = sum(signs > 0), sum(signs < 0), len(rows)
        neither = f"neither in {count - above - below} of {count} network(s)"
        lines.append(f"MASAG against {against}: beyond noise above in {above}, below in {below}, {neither}")
    return lines


@dataclass(frozen=True, eq=False)
class GateBlock:
    """Consecutive slices of a case as one gate of a network met them; make one with `gate_block`.

    image: (d, h, w) in about [0, 1] at the network's input size. x, g: (1, c, d, h', w') at the gate. gate: the 2-D
    gate. slices: z indices.
    """

    name: str
    image: NDArray[np.float32]
    x: Tensor
    g: Tensor
    gate: MASAG
    slices: range

    def slice_by_slice(self) -> Tensor:
        """The 2-D gate's attention maps of all slices, one after the other: (1, c, d, h', w')."""
        x, g = (rearrange(features, "1 c d h w -> d c h w") for features in (self.x, self.g))
        with torch.inference_mode():
            return rearrange(self.gate.attention(x, g), "d c h w -> 1 c d h w")

    @cached_property
    def influence_in_2d(self) -> pd.Series:
        """`slice_influence` of the 2-D gate at the middle of the block: the same for every 3-D gate beside it."""
        return slice_influence(inflated(self.gate), self, len(self.slices) // 2)

    def in_3d(self, gate: MASAG) -> Tensor:
        """A 3-D gate's attention maps of the whole block: (1, c, d, h', w')."""
        with torch.inference_mode():
            return gate.attention(self.x, self.g)


def gate_block(network: MSA2Net, case: Case, slices: range, level: int = 0) -> GateBlock:
    """Run consecutive slices of a case through a network and keep what one of its gates got.

    Raises: `InputError` for slices that the case does not have, and a level without MASAG.
    """
    if not slices or slices.step != 1 or slices[0] < 0 or slices[-1] >= len(case.image):
        raise InputError(f"{slices}: {case.name} has slices 0 to {len(case.image) - 1}; give a range of them")
    height, width = network.config.height_width
    image = resize_images(case.image[slices[0] : slices[-1] + 1], (height, width))
    with torch.inference_mode():
        traces = network.eval().trace_gates(network_input(network, image))
    if level not in traces:
        raise InputError(f"level {level} has no MASAG: use one of {', '.join(map(str, sorted(traces)))}")
    gate = network.decoder.levels[level].gate
    assert isinstance(gate, MASAG)
    trace = traces[level]
    # Copies outside of inference mode: influence is measured by gradient.
    x, g = (rearrange(features, "d c h w -> 1 c d h w").clone().cpu() for features in (trace.x, trace.g))
    return GateBlock(case.name, image, x, g, copy.deepcopy(gate).cpu().eval(), slices)


def with_depth(gate: MASAG, share: float = 0.25) -> MASAG:
    """A 3-D gate from a 2-D one whose two 3x3x3 kernels take ``share`` of their weight from the slice on either side.

    Made by hand and not trained: share 0 is `inflated`, 1/3 weighs three slices alike. Raises: `InputError` for a share
    outside 0 to 0.5.
    """
    if not 0 <= share <= 0.5:
        raise InputError(f"share={share}: give 0 to 0.5, the weight of the slice on either side")
    volume = inflated(gate)
    local = volume.fusion.local_context
    with torch.no_grad():
        for layer in (local.depthwise, local.dilated):
            middle = layer.weight[:, :, 1].clone()
            for plane, part in enumerate((share, 1 - 2 * share, share)):
                layer.weight[:, :, plane] = part * middle
    return volume


def slice_influence(gate: MASAG, block: GateBlock, z: int) -> pd.Series:
    """How much a slice's attention map hangs on x of every slice: mean absolute gradient, by distance in slices.

    z: position in the block. The largest value is set to 1.
    """
    with torch.inference_mode(False):
        x = block.x.clone().requires_grad_()
        gate.attention(x, block.g.clone())[:, :, z].sum().backward()
    assert x.grad is not None
    size = x.grad.abs().mean(dim=(0, 1, 3, 4)).numpy()
    return pd.Series(size / size.max(), index=np.arange(len(size)) - z)


def flicker(attention: Tensor) -> float:
    """Mean absolute difference of an attention map (1, c, d, h, w) from one slice to the next."""
    return float(attention.diff(dim=2).abs().mean())
