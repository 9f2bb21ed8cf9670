"""Differences inside the modules: convolutions, norms, heads, and the encoder."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from einops import rearrange
from torch import Tensor, nn

from msa2net_lib.analysis.token_layout import GATED_LEVELS
from msa2net_lib.nn.dual_attention import EfficientAttention
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.paper.discrepancies.evidence import Evidence
from msa2net_lib.paper.recorded import recorded_count, recorded_shapes

LISTED_HEADS = {3: 32, 2: 16, 1: 1, 0: 1}
"""Heads by decoder level, as the released network lists them and never uses them."""
DRAWN_BLOCKS = 2
"""MaxViT blocks that Figure 1 draws in each stage."""


def dense_convolution(_: Path) -> Evidence:
    shapes = recorded_shapes("published")
    recorded = [shapes[f"decoder_{level}.ag_attn.multi.local.dconv.3.weight"] for level in range(4)]
    with torch.device("meta"):
        meant = [tuple(MASAG(shape[0]).fusion.local_context.dilated.weight.shape) for shape in recorded]
        three = sum(count_parameters(MASAG(shape[0])) for shape in recorded[:3])
    table = pd.DataFrame({"recorded kernel": map(str, recorded), "depthwise kernel": map(str, meant)})
    running = sum(recorded_count("published", f"decoder_{level}.ag_attn.") for level in range(3))
    says = (
        f"the recorded kernel at level 0 is {recorded[0]}, a depthwise one {meant[0]}; the three gates that run hold "
        f"{running / 1e6:.4f} M parameters, {three / 1e6:.4f} M with depthwise kernels"
    )
    return Evidence(says, table.rename_axis("level"), recorded != meant)


@dataclass
class _Settings:
    """Stands for any settings object that another dataclass takes as a default."""


def imports_today(_: Path) -> Evidence:
    try:
        make_dataclass("Config", [("block", _Settings, _Settings())])
        default = True
    except ValueError:
        default = False
    works = {
        "a settings object as a dataclass default (vendored encoder; refused from Python 3.11)": default,
        "numpy.sctypes (imgaug; gone from NumPy 2)": hasattr(np, "sctypes"),
    }
    table = pd.DataFrame({"works here": works})
    says = (
        f"{sum(works.values())} of {len(works)} things that the released code needs on import work with this Python "
        f"and NumPy {np.__version__}"
    )
    return Evidence(says, table, not all(works.values()))


def batch_norms(_: Path) -> Evidence:
    keys = [key for key in recorded_shapes("published") if key.startswith("decoder_0.ag_attn.")]
    norms = [key.removesuffix(".running_mean") for key in keys if key.endswith("running_mean")]
    sizes = {name: recorded_shapes("published")[f"{name}.running_mean"][0] for name in norms}
    table = pd.DataFrame({"channels": sizes})
    return Evidence(f"{len(norms)} batch norms are recorded in one gate", table, len(norms) > 0)


def head_count(_: Path) -> Evidence:
    torch.manual_seed(0)
    attention, x = EfficientAttention(GATED_LEVELS[2][0]), torch.randn(1, *GATED_LEVELS[2])
    with torch.no_grad():
        built = attention(x)
        gaps = {
            heads: (_many_heads(attention, x, heads) - built).norm() / built.norm()
            for heads in sorted(set(LISTED_HEADS.values()))
        }
    table = pd.DataFrame({"relative difference from what is built": {h: float(g) for h, g in gaps.items()}})
    listed = LISTED_HEADS[2]
    says = (
        f"with {listed} heads, as listed for level 2, the same random weights give an output "
        f"{table.loc[listed].item():.0%} away from what is built; with one head {table.loc[1].item():.1g}"
    )
    return Evidence(says, table.rename_axis("heads"), bool(gaps[listed] > 0.01 and gaps[1] < 1e-5))


def _many_heads(attention: EfficientAttention, x: Tensor, heads: int) -> Tensor:
    """Efficient attention with its channels dealt to ``heads``; one head is what the library builds."""
    parts: list[nn.Module] = [attention.keys, attention.queries, attention.values]
    keys, queries, values = (rearrange(part(x), "b (h c) y x -> b h c (y x)", h=heads) for part in parts)
    context = keys.softmax(dim=3) @ values.transpose(2, 3)
    attended = context.transpose(2, 3) @ queries.softmax(dim=2)
    return attention.project(rearrange(attended, "b h c (y x) -> b (h c) y x", y=x.shape[2]))


def encoder_name(_: Path) -> Evidence:
    names = ("maxvit_rmlp_small_rw_224", "maxvit_base_tf_224", "maxvit_rmlp_base_rw_224")
    counts = {"recorded encoder": recorded_count("published", "backbone.backbone.")}
    counts |= {name: _timm_parameters(name) for name in names}
    table = pd.DataFrame({"parameters (M)": pd.Series(counts) / 1e6})
    same = [name for name in names if counts[name] == counts["recorded encoder"]]
    says = (
        f"the recorded encoder has {counts['recorded encoder']} parameters, exactly as {', '.join(same)}; a base model "
        f"has {counts[names[1]] / 1e6:.1f} M"
    )
    return Evidence(says, table, same == [names[0]])


@cache
def _timm_parameters(name: str) -> int:
    with torch.device("meta"):
        return count_parameters(timm.create_model(name, num_classes=0))


def hidden_mismatch(_: Path) -> Evidence:
    with torch.device("meta"):  # names and shapes decide; no weights are needed
        weights = timm.create_model("maxvit_pico_rw_256", num_classes=0).state_dict()
        network = timm.create_model("maxvit_pico_rw_256", features_only=True)
    network.load_state_dict(weights, strict=False, assign=True)  # its "missing" lacks batch norms' counters
    total, filled = len(network.state_dict()), sum(name in weights for name in network.state_dict())
    table = pd.DataFrame({"entries": {"filled": filled, "left as initialized": total - filled}})
    says = (
        f"with strict=False another extractor of timm, which names its stages otherwise, takes {filled} of {total} "
        "entries and raises nothing"
    )
    return Evidence(says, table, filled < total)


def encoder_depths(_: Path) -> Evidence:
    inside = "backbone.backbone.stages."
    blocks = {tuple(key.split(".")[3:6:2]) for key in recorded_shapes("published") if key.startswith(inside)}
    depths = pd.Series([stage for stage, _ in blocks]).value_counts().sort_index()
    table = pd.DataFrame({"recorded blocks": depths, "drawn": DRAWN_BLOCKS}).rename_axis("stage")
    says = (
        f"the recorded encoder has {', '.join(map(str, depths))} blocks in its stages; {DRAWN_BLOCKS} are drawn in each"
    )
    return Evidence(says, table, bool((table["recorded blocks"] != DRAWN_BLOCKS).any()))


def drawn_gate(_: Path) -> Evidence:
    shapes = recorded_shapes("published")
    convolutions = [key for key in shapes if key.endswith("ag_attn.selection.weight")]
    norms = [key for key in shapes if ".ag_attn." in key and key.endswith(".running_mean") and shapes[key] == (2,)]
    linears = {key: shapes[key] for key in shapes if key.endswith(".x1_linear.weight")}
    table = pd.DataFrame({"recorded shape": {key: str(shape) for key, shape in linears.items()}})
    says = (
        f"{len(convolutions)} selection convolutions are recorded, {len(norms)} batch norms over their 2 channels, and "
        f"{len(linears)} linear layers before G"
    )
    return Evidence(says, table, not norms and len(linears) > 0)
