"""Names of the released code's state dict, key by key, for networks built from the released presets.

Source: github.com/xmindflow/MSA-2Net, commit 209ca72. One map for all: each of our names is a chain of
prefixes, and each table here gives, for one kind of module, the released name of each part of it.
"""

from __future__ import annotations

from collections.abc import Iterable

# Part of the network -> (our prefix, released prefix) of its children, most specific first.
NETWORK = (
    ("encoder.backbone.", "backbone.backbone."),
    ("encoder.gray_stem.", "backbone.conv."),
    ("decoder.head.", "decoder_0.last_layer."),
    *((f"decoder.levels.{level}.", f"decoder_{level}.") for level in range(4)),
)
LEVEL = (
    ("linear.", "x1_linear."),
    ("gate.", "ag_attn."),
    ("norm.", "ag_attn_norm."),
    ("expand.", "layer_up."),
)
LEVEL_BLOCKS = {
    "lka": (("blocks.0.", "layer_lka_1."), ("blocks.1.", "layer_lka_2.")),
    "dual_attention": (("blocks.0.", "tran_layer1."), ("blocks.1.", "tran_layer2.")),
}
MASAG = (
    ("fusion.local_context.depthwise.", "multi.local.dconv.0."),
    ("fusion.local_context.depthwise_norm.", "multi.local.dconv.1."),
    ("fusion.local_context.dilated.", "multi.local.dconv.3."),
    ("fusion.local_context.dilated_norm.", "multi.local.dconv.4."),
    ("fusion.local_context.pointwise.", "multi.local.proj.0."),
    ("fusion.local_context.pointwise_norm.", "multi.local.proj.1."),
    ("fusion.global_context.mix.", "multi.global_.proj.0."),
    ("fusion.global_context.norm.", "multi.global_.proj.1."),
    ("fusion.norm.", "multi.bn."),
    ("selection.project.", "selection."),
    ("recalibration.attend.", "proj."),
    ("recalibration.attend_norm.", "bn."),
    ("recalibration.project.", "conv_block.0."),
    ("recalibration.project_norm.", "bn_2."),
)
LKA_BLOCK = (
    ("attention_norm.", "norm1."),
    ("attention.project_in.", "attn.proj_1."),
    ("attention.attention.depthwise.", "attn.spatial_gating_unit.conv0."),
    ("attention.attention.dilated.", "attn.spatial_gating_unit.conv_spatial."),
    ("attention.attention.pointwise.", "attn.spatial_gating_unit.conv1."),
    ("attention.project_out.", "attn.proj_2."),
    ("attention_scale", "layer_scale_1"),
    ("feed_forward_norm.", "norm2."),
    ("feed_forward.expand.", "mlp.fc1."),
    ("feed_forward.depthwise.", "mlp.dwconv.dwconv."),
    ("feed_forward.reduce.", "mlp.fc2."),
    ("feed_forward_scale", "layer_scale_2"),
)
DUAL_ATTENTION_BLOCK = (
    ("spatial_norm.", "norm1."),
    ("spatial_attention.project.", "attn.reprojection."),
    ("spatial_attention.", "attn."),
    ("feed_forward_1_norm.", "norm2."),
    ("channel_norm.", "norm3."),
    ("channel_attention.project.", "channel_attn.proj."),
    ("channel_attention.", "channel_attn."),
    ("feed_forward_2_norm.", "norm4."),
    *(
        (f"feed_forward_{i}.{ours}.", f"mlp{i}.{theirs}.")
        for i in (1, 2)
        for ours, theirs in (("expand", "fc1"), ("depthwise", "dwconv.dwconv"), ("reduce", "fc2"))
    ),
)
CHILDREN = {
    "ag_attn.": MASAG,
    "layer_lka_1.": LKA_BLOCK,
    "layer_lka_2.": LKA_BLOCK,
    "tran_layer1.": DUAL_ATTENTION_BLOCK,
    "tran_layer2.": DUAL_ATTENTION_BLOCK,
}


def _rename(key: str, table: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Split ``key`` by the first prefix of the table that fits: (released prefix, rest of our key)."""
    for ours, theirs in table:
        if key.startswith(ours):
            return theirs, key[len(ours) :]
    raise KeyError(f"{key!r} has no counterpart in the released code")


def official_level_key(key: str, block: str) -> str:
    """Released name of a parameter of one decoder level whose blocks are of kind ``block``."""
    prefix, rest = _rename(key, (*LEVEL, *LEVEL_BLOCKS[block]))
    if prefix in CHILDREN:
        child, rest = _rename(rest, CHILDREN[prefix])
        prefix += child
    return prefix + rest


def official_key(key: str, blocks: tuple[str, ...]) -> str:
    """Released name of an entry of `MSA2Net`'s state dict; ``blocks`` names the four levels' kinds.

    Raises: KeyError for an entry that the released network does not have.
    """
    prefix, rest = _rename(key, NETWORK)
    if prefix.startswith("decoder_") and not prefix.endswith("last_layer."):
        return prefix + official_level_key(rest, blocks[int(prefix[len("decoder_")])])
    return prefix + rest
