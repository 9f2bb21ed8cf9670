"""Attention U-Net: the U-Net of `baselines.unet` with an additive gate on each skip."""

from __future__ import annotations

from msa2net_lib.baselines.unet import OFFICIAL_KEYS, UNet

__all__ = ["OFFICIAL_KEYS", "AttUNet"]


class AttUNet(UNet):
    """AttU-Net, as in LeeJunHyun/Image_Segmentation: (b, 1|3, h, w) -> logits (b, k, h, w); h and w multiples of 16.

    The paper (Oktay et al. 2018) gates with the coarser decoder features, strides the skip's 1x1 convolution, resamples
    the map and ends with a 1x1 convolution; this code gates with features that are upsampled already, on the skip's own
    grid, and does none of that.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        gate: str = "attention",
    ):
        super().__init__(num_classes, image_size, widths, gate)
