"""Differences in the network: which of its parts run, and how they are put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from einops import rearrange
from torch import Tensor, nn

from msa2net_lib.analysis.complexity import gradients
from msa2net_lib.analysis.token_layout import GATED_LEVELS, share_of_true_neighbors
from msa2net_lib.config import PRESETS
from msa2net_lib.nn.decoder import DecoderLevel
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.paper.discrepancies.evidence import Evidence
from msa2net_lib.paper.recorded import recorded_count, recorded_shapes
from msa2net_lib.paper.tables import table_a


def gates(_: Path) -> Evidence:
    network, ran = _small("published"), set()
    hooks = [
        level.gate.register_forward_hook(lambda *_, index=index: ran.add(index))
        for index, level in enumerate(network.decoder.levels)
        if isinstance(level.gate, MASAG)
    ]
    network(_image(network))
    for hook in hooks:
        hook.remove()
    counts = [recorded_count("published", f"decoder_{level}.ag_attn.") for level in range(4)]
    table = pd.DataFrame({"parameters": counts, "runs": [level in ran for level in range(4)]}).rename_axis("level")
    says = (
        f"{(table.parameters > 0).sum()} gates with {sum(counts) / 1e6:.4f} M parameters are recorded (Table A: "
        f"{table_a()['Skip Connection', 'MASAG']}), {len(ran)} of them with "
        f"{table.parameters[table.runs].sum() / 1e6:.4f} M run"
    )
    return Evidence(says, table, len(ran) < len(counts))


def unused_level(_: Path) -> Evidence:
    deepest = {
        name: gradient
        for name, gradient in gradients(_small("published")).items()
        if name.startswith("decoder.levels.3.")
    }
    unused = sum(gradient is None for gradient in deepest.values())
    millions = {
        "level 3 but its expansion": recorded_count("published", "decoder_3.", ("decoder_3.layer_up.",)) / 1e6,
        "gray stem of the encoder": recorded_count("published", "backbone.conv.") / 1e6,
        "whole network": recorded_count("published") / 1e6,
    }
    table = pd.DataFrame({"recorded parameters (M)": millions})
    never = table.iloc[:2].sum().item()
    says = (
        f"{unused} of {len(deepest)} tensors of level 3 get no gradient; at full size they and the gray stem are "
        f"{never:.2f} M of {millions['whole network']:.2f} M"
    )
    return Evidence(says, table, unused > 0)


def defined_twice(_: Path) -> Evidence:
    forms = {form: recorded_shapes(form) for form in ("published", "released")}
    parts = ("decoder_2.tran_layer", "decoder_2.layer_lka", "decoder_3.tran_layer", "decoder_3.layer_lka", "")
    table = pd.DataFrame(
        {form: [recorded_count(form, part) / 1e6 for part in parts] for form in forms},
        index=[part or "whole network" for part in parts],
    ).rename_axis("parameters (M)")
    whole = table.loc["whole network"]
    dual = any("tran_layer" in key for key in forms["released"])
    says = (
        f"keeping the first definition gives {whole['published']:.2f} M parameters with dual-attention blocks, running "
        f"the file gives {whole['released']:.2f} M, {'with' if dual else 'without'} any dual-attention block"
    )
    return Evidence(says, table, not dual)


def scrambled_layout(_: Path) -> Evidence:
    shares = [share_of_true_neighbors(*level) for level in GATED_LEVELS]
    table = pd.DataFrame(
        {
            "neighbors of the same channel": [share.same_channel for share in shares],
            "neighbors that are the same pixel": [share.same_pixel for share in shares],
            "different cells in a 3 x 3 window": [share.pixels_seen for share in shares],
        }
    ).rename_axis("level")
    seen = ", ".join(f"{share.pixels_seen:.2f}" for share in shares)
    says = f"a 3 x 3 window of the map that the gate sees holds {seen} different cells (levels 0, 1, 2) instead of 9"
    return Evidence(says, table, bool((table["neighbors of the same channel"] == 0).all()))


def added_and_normalized(_: Path) -> Evidence:
    torch.manual_seed(0)
    level = DecoderLevel(24, PRESETS["paper"].levels[0]).eval()
    tokens, skip = torch.randn(1, 64, 24), torch.randn(1, 24, 8, 8)
    assert level.gate is not None
    assert level.norm is not None
    with torch.no_grad():
        merged = level.merge(tokens, skip)
        gate_only = rearrange(level.gate(skip, level.gating_features(tokens, (8, 8))), "b c h w -> b (h w) c")
        gap = float((merged - level.norm(gate_only)).norm() / merged.norm())
    norms = [key for key in recorded_shapes("published") if "ag_attn_norm.weight" in key]
    table = pd.DataFrame({"recorded shape": [str(recorded_shapes("published")[key]) for key in norms]}, index=norms)
    says = (
        f"{len(norms)} layer norms after a gate are recorded; leaving out the sum moves a level's input by {gap:.0%} "
        "(random weights)"
    )
    return Evidence(says, table, len(norms) > 0 and gap > 0)


def hidden_dropout(_: Path) -> Evidence:
    with torch.device("meta"):
        network = MSA2Net.from_preset("published")
    shares = [module.p for module in network.modules() if isinstance(module, nn.Dropout) and module.p > 0]
    differ = {}
    for share in (network.config.position_dropout, 0.0):
        torch.manual_seed(0)
        trained = _small("published", position_dropout=share).train()
        with torch.no_grad():
            first, second = (trained(_image(trained)) for _ in range(2))
        differ[f"dropout {share:g}"] = float((first - second).abs().max() / first.abs().max())
    table = pd.DataFrame({"two passes differ by": differ}).rename_axis("of relative positions")
    apart, repeated = differ.values()
    says = (
        f"{len(shares)} dropouts of {max(shares)} act although every drop rate is 0; two passes of a small network "
        f"in training mode differ by {apart:.1e} of the largest logit, without them by {repeated:g}"
    )
    return Evidence(says, table, apart > repeated == 0)


def notation(_: Path) -> Evidence:
    network = _small("paper").eval()
    with torch.no_grad():
        trace = network.trace_gates(_image(network))[0]
    table = pd.DataFrame({"shape of one": {name: str(tuple(getattr(trace, name).shape)) for name in ("weight_x", "x")}})
    both = float((trace.weight_x + trace.weight_g).max())
    says = f"one selection weight has {trace.weight_x.shape[1]} channel, not 2; the two add up to {both:.3f} everywhere"
    return Evidence(says, table, trace.weight_x.shape[1] == 1)


def _small(form: str, **changed: Any) -> MSA2Net:
    """A form of the network at laptop size: its decoder on the tiny encoder, 64 x 64 pixels."""
    tiny = PRESETS["tiny"]
    encoder = {"encoder": tiny.encoder, "encoder_options": tiny.encoder_options}
    return MSA2Net.from_preset(form, **encoder, image_size=64, **changed)


def _image(network: MSA2Net) -> Tensor:
    return torch.randn(1, 1, *network.config.height_width, generator=torch.Generator().manual_seed(0))
