"""Skip gates for networks of other libraries: segmentation_models_pytorch's Unet, MONAI's AttentionUnet and BasicUNet.

Each function puts a gate on every skip connection of a network that is built already, changes it in place and returns
it. Weights keep their names; those of the gates come on top, so make the optimizer afterwards. Neither
library is imported here.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.nn.adapters import GatedSkip
from msa2net_lib.nn.gates import build_gate
from msa2net_lib.nn.masag import MASAG


def gate_smp_unet(unet: Any, gate: str = "masag") -> Any:
    """Gate the skips of segmentation_models_pytorch's Unet: x before it is concatenated, g the block's coarse input.

    gate: a name of the family. Raises: `InputError` for another network, or one that has gates already.
    """
    # Deepest block first. The encoder's first entry is the image, the last one starts the decoder: neither is a skip.
    blocks, skips = _parts(unet, "decoder.blocks"), _parts(unet, "encoder.out_channels")[1:-1][::-1]
    gated = {}
    for block, channels in zip(blocks, skips, strict=False):  # the last block has no skip
        if not hasattr(block, "conv1"):
            raise InputError(f"{type(unet).__name__} has another decoder than Unet: give a Unet")
        if channels:  # Mix Transformers have nothing at half the image's size
            gating_channels = _convolutions(block.conv1)[0].in_channels - channels
            gated[block] = GatedSkip(channels, gating_channels, build_gate(gate, channels))
    return _add_gates(unet, gated, smp_skip_through_gate)


def smp_skip_through_gate(block: Any, inputs: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Forward pre-hook of a decoder block: what it was called with, the skip gated."""
    return inputs, named | {"skip_connection": block.gate(named["skip_connection"], inputs[0])}


def gate_basic_unet(unet: Any, gate: str = "masag") -> Any:
    """Gate the skips of MONAI's BasicUNet, 2-D or 3-D: x before `UpCat` concatenates it, g what `UpCat` upsamples.

    gate: a name of the family; in 3-D MASAG only. Raises: `InputError` as for `gate_smp_unet`.
    """
    encoder = [_parts(unet, "conv_0"), *(_parts(unet, f"down_{level}") for level in (1, 2, 3))]
    gated = {}
    for level, stage in enumerate(encoder, start=1):
        block, channels = _parts(unet, f"upcat_{level}"), _convolutions(stage)[-1].out_channels
        upsampling, dims = _convolutions(block.upsample), _dims(block)
        mixed = _convolutions(block.convs)[0].in_channels
        gating_channels = upsampling[0].in_channels if upsampling else mixed - channels
        gated[block] = GatedSkip(channels, gating_channels, _gate(gate, channels, dims), dims)
    return _add_gates(unet, gated, upcat_skip_through_gate)


def upcat_skip_through_gate(block: Any, inputs: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Forward pre-hook of an `UpCat`: what it was called with, the skip gated."""
    decoder_features, skip = inputs
    return (decoder_features, block.gate(skip, decoder_features)), named


def gate_attention_unet(unet: Any, gate: str = "masag") -> Any:
    """Put another gate in place of every attention gate of MONAI's AttentionUnet, 2-D or 3-D.

    gate: a name of the family; in 3-D MASAG only. x and g have one shape there, and MONAI calls its gate as this
    library's are called. With "addition" the network has no gate at all. Raises: `InputError` for another network.
    """
    layers: list[Any] = [m for m in unet.modules() if hasattr(m, "attention") and hasattr(m, "upconv")]
    if not layers:
        raise InputError(f"{type(unet).__name__} has no AttentionLayer: give MONAI's AttentionUnet")
    for layer in layers:
        layer.attention = _gate(gate, _convolutions(layer.upconv)[-1].out_channels, _dims(layer))
    return unet


def _add_gates(network: Any, gated: dict[Any, nn.Module], hook: Any) -> Any:
    """Give each block its gate, through which ``hook`` sends the skip before the block's own forward; all or none."""
    for block in gated:
        if hasattr(block, "gate"):
            raise InputError(f"{type(block).__name__} has a gate already: start from a network without")
        if hook is smp_skip_through_gate and "skip_connection" not in inspect.signature(block.forward).parameters:
            raise InputError("this segmentation_models_pytorch passes skips in another way: install 0.5 or later")
    for block, gate in gated.items():
        block.add_module("gate", gate)
        block.register_forward_pre_hook(hook, with_kwargs=True)
    return network


def _gate(name: str, channels: int, dims: Literal[2, 3]) -> nn.Module:
    if dims == 2:
        return build_gate(name, channels)
    if name not in ("masag", "masag_3d"):
        raise InputError(f"gate={name!r} works on maps: for volumes there is masag")
    return MASAG(channels, dims=3)


def _convolutions(module: nn.Module) -> list[Any]:
    """Convolutions inside a module, transposed ones too, in the order in which they were put in."""
    return [m for m in module.modules() if isinstance(m, nn.modules.conv._ConvNd)]


def _dims(module: nn.Module) -> Literal[2, 3]:
    return 3 if _convolutions(module)[0].weight.ndim == 5 else 2


def _parts(network: Any, path: str) -> Any:
    found = network
    for name in path.split("."):
        found = getattr(found, name, None)
    if found is None:
        raise InputError(f"{type(network).__name__} has no {path}: give a network that the function names")
    return found
