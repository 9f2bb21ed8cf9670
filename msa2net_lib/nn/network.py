"""MSA²Net: encoder, gated skips and decoder in one module."""

from __future__ import annotations

from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from msa2net_lib.config import NetworkConfig
from msa2net_lib.nn.decoder import Decoder
from msa2net_lib.nn.encoder import Encoder
from msa2net_lib.nn.gates import find_gate
from msa2net_lib.nn.masag import MASAG, MASAGTrace


class MSA2Net(nn.Module):
    """The segmentation network: MaxViT encoder, gated skips and decoder.

    Build it by name, ``MSA2Net.from_preset("paper" | "published" | "released" | "tiny", **overrides)``, or
    from a `NetworkConfig`.

    Args:
        config: what it is made of.

    Returns:
        Called with images (B, 1 or 3, H, W) of the config's ``image_size``, normalized from [0, 1] by (x - 0.5) / 0.5:
        logits (B, K, H, W).

    Raises:
        InputError: unknown presets, gates and encoders, sizes and numbers of channels that do not fit.

    Example:
        >>> import torch
        >>> from msa2net_lib import MSA2Net
        >>> network = MSA2Net.from_preset("tiny", num_classes=3, image_size=64)
        >>> network(torch.randn(2, 1, 64, 64)).shape
        torch.Size([2, 3, 64, 64])

    Source: paper, section 3 and Figure 1.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        for gate in {level.gate for level in config.levels} - {"none"}:
            find_gate(gate)  # before an encoder is built, or its weights are downloaded
        self.config = config
        self.encoder = Encoder(
            config.encoder,
            config.height_width,
            config.encoder_options,
            config.pretrained,
            config.gray_stem,
            config.position_dropout,
        )
        self.decoder = Decoder(self.encoder.channels, config)

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> MSA2Net:
        """Build a preset, with any field of `NetworkConfig` changed by keyword; ``gate`` as in its `with_gate`."""
        return cls(NetworkConfig.from_preset(preset, **overrides))

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        return self.decoder(self.encoder(image))

    def trace_gates(self, image: Float[Tensor, "b ch h w"]) -> dict[int, MASAGTrace]:
        """Trace every MASAG that runs on ``image``: decoder level (0 is finest) -> `MASAGTrace`."""
        traces: dict[int, MASAGTrace] = {}

        def record(index: int, gate: MASAG, inputs: tuple[Tensor, Tensor]) -> None:
            traces[index] = gate.trace(*inputs)

        hooks = [
            level.gate.register_forward_pre_hook(partial(record, index))
            for index, level in enumerate(self.decoder.levels)
            if isinstance(level.gate, MASAG)
        ]
        try:
            self(image)
        finally:
            for hook in hooks:
                hook.remove()
        return traces


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, trained or not; batch-norm statistics are not parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
