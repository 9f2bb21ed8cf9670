"""Inference by the released protocol: each slice is resized, segmented, and its label map resized back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from msa2net_lib.data.resize import normalise, resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msa2net_lib.nn.network import MSA2Net


@contextmanager
def evaluation_mode(network: MSA2Net) -> Iterator[None]:
    """Put a network into evaluation mode for a while: predicting must not move its batch norms' statistics."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


@torch.inference_mode()
def predict_volume(
    network: MSA2Net, volume: NDArray, *, batch_size: int = 16, progress: bool = False
) -> NDArray[np.uint8]:
    """Label map of a volume, slice by slice.

    volume: (z, y, x), windowed to [0, 1]. Each slice goes through cubic zoom to the network's size,
    (x - 0.5) / 0.5, argmax over classes and nearest zoom back (released code). Runs on the network's own
    device, in evaluation mode. Returns (z, y, x) class ids. Errors: `InputError` for another shape or
    range.
    """
    if volume.ndim != 3:
        raise InputError(f"volume of shape {volume.shape}: give (slices, rows, columns)")
    if not (np.isfinite(volume).all() and volume.min() >= 0 and volume.max() <= 1):
        raise InputError("volume has values outside [0, 1]: window it first (data.volumes.window)")
    device = next(network.parameters()).device
    labels = np.zeros(volume.shape, dtype=np.uint8)
    bar = progress_bar(total=len(volume), desc="predicting", unit="slice", enabled=progress)
    with bar, evaluation_mode(network):
        for start in range(0, len(volume), batch_size):
            slices = [resize_image(image, network.config.height_width) for image in volume[start:][:batch_size]]
            batch = torch.from_numpy(normalise(np.stack(slices))).float().to(device)
            classes = network(batch[:, None]).argmax(dim=1).byte().cpu().numpy()
            for offset, predicted in enumerate(classes):
                labels[start + offset] = resize_label(predicted, volume.shape[1:])
            bar.update(len(slices))
    return labels


@torch.inference_mode()
def predict_image(network: MSA2Net, image: NDArray) -> NDArray[np.uint8]:
    """Label map of one picture: (y, x) grey or (y, x, 3) RGB in [0, 1] -> (y, x) class ids.

    Resized as in `predict_volume`. Errors: `InputError` for another shape or range.
    """
    if image.ndim == 2:
        return predict_volume(network, image[None])[0]
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image of shape {image.shape}: give (rows, columns) grey or (rows, columns, 3) RGB")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise InputError("image has values outside [0, 1]: divide by 255 first")
    channels = [resize_image(image[..., channel], network.config.height_width) for channel in range(3)]
    batch = torch.from_numpy(normalise(np.stack(channels))).float()[None]
    with evaluation_mode(network):
        logits = network(batch.to(next(network.parameters()).device))
    return resize_label(logits.argmax(dim=1)[0].byte().cpu().numpy(), image.shape[:2])
