"""Inference by the released protocol: each slice is resized, segmented, and its label map resized back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from msa2net_lib.baselines.spec import config_of
from msa2net_lib.data.resize import (
    Resampling,
    check_resampling,
    normalize,
    resize_back,
    resize_image,
    resize_images,
)
from msa2net_lib.data.resize_matrix import resize_on_device
from msa2net_lib.errors import InputError
from msa2net_lib.utils.devices import keep_freed_memory
from msa2net_lib.utils.progress import progress_bar
from msa2net_lib.utils.torch_files import require_finite_logits

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray


InferencePrecision = Literal["fp32", "bf16"]
BATCH_SIZE = 16
IN_FLIGHT = 2
"""Batches that OpenVINO has at once: its threads go on with one while the other is made ready, or made a label map."""

NOT_CLINICAL = "research and teaching only, not for clinical use"
"""What stands on everything that a network predicts here, and in every exported file."""


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a while: predicting must not move its batch norms' statistics."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def predict_volume(
    network: nn.Module,
    volume: NDArray,
    *,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    resampling: Resampling = "scipy",
    precision: InferencePrecision = "fp32",
) -> NDArray[np.uint8]:
    """Predict the label map of a volume, slice by slice.

    Each slice goes through cubic zoom to the network's size, (x - 0.5) / 0.5, argmax over classes and back by the
    nearest pixel. Runs on the network's own device, in evaluation mode. On a CPU with glibc the process keeps, until it
    ends, the memory that it once needed for that, so that no batch waits for it (`utils.devices.keep_freed_memory`).

    Args:
        network: an `MSA2Net`, a network of `build_network` or `adopt_network`, or what `optimize_for_inference` made
            of one.
        volume: (Z, Y, X), windowed to [0, 1].
        batch_size: slices at a time.
        progress: show a bar.
        resampling: "scipy" zooms on the CPU, as the reference implementation does; "matrix" on the network's device,
            equal to 1e-4.
        precision: "bf16" is mixed precision, faster on recent hardware and no longer the same to the last label.

    Returns:
        (Z, Y, X) class ids.

    Raises:
        InputError: another shape, range, resampling or precision, and a network whose logits are not finite.

    Example:
        >>> import numpy as np
        >>> from msa2net_lib import MSA2Net, predict_volume
        >>> network = MSA2Net.from_preset("tiny", num_classes=2, image_size=64)
        >>> labels = predict_volume(network, np.random.default_rng(0).random((3, 50, 70)))
        >>> labels.shape, labels.dtype
        ((3, 50, 70), dtype('uint8'))

    Source: the reference implementation's test script.
    """
    if volume.ndim != 3 or volume.size == 0:
        raise InputError(f"volume of shape {volume.shape}: give (slices, rows, columns)")
    if not (np.isfinite(volume).all() and volume.min() >= 0 and volume.max() <= 1):
        raise InputError("volume has values outside [0, 1]: window it first (data.volumes.window)")
    check_resampling(resampling)
    labels = np.zeros(volume.shape, dtype=np.uint8)
    batch_size = min(batch_size, len(volume))
    bar = progress_bar(total=len(volume), desc="predicting", unit="slice", enabled=progress)
    running: deque[tuple[int, Future[NDArray[np.uint8]]]] = deque()

    def place(start: int, classes: NDArray[np.uint8]) -> None:
        labels[start : start + len(classes)] = resize_back(classes, (volume.shape[1], volume.shape[2]))
        bar.update(len(classes))

    with bar, ThreadPoolExecutor(IN_FLIGHT) as pool:
        for start in range(0, len(volume), batch_size):
            images = _network_input(network, volume[start : start + batch_size], resampling)
            if getattr(network, "way", "eager") != "openvino":
                place(start, predict_classes(network, images, batch_size, precision))
                continue
            running.append((start, pool.submit(predict_classes, network, images, batch_size, precision)))
            if len(running) == IN_FLIGHT:
                start, classes = running.popleft()
                place(start, classes.result())
        for start, classes in running:
            place(start, classes.result())
    return labels


def predict_classes(
    network: nn.Module,
    images: Float[Tensor, "n ch h w"],
    batch_size: int = BATCH_SIZE,
    precision: InferencePrecision = "fp32",
) -> NDArray[np.uint8]:
    """Class maps (n, h, w) of slices or images as the network takes them: its size, normalized, on any device."""
    batches = images.split(batch_size)  # the logits of one at a time are kept
    logits = (predict_logits(network, batch, batch_size, precision) for batch in batches)
    # The same classes as argmax, which takes three times as long where classes are not last in memory.
    return torch.cat([of_one.max(dim=1).indices.byte().cpu() for of_one in logits]).numpy()


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    images: Float[Tensor, "n ch h w"],
    batch_size: int = BATCH_SIZE,
    precision: InferencePrecision = "fp32",
) -> Float[Tensor, "n k h w"]:
    """Logits of slices or images, float32, on the network's device and in evaluation mode, batch after batch.

    Raises: `InputError` for an unknown precision, for "bf16" on a network that OpenVINO runs in float32, and for logits
    that are not finite.
    """
    way = getattr(network, "way", "eager")
    if precision not in ("fp32", "bf16"):
        raise InputError(f"precision={precision!r} is unknown: use fp32 or bf16")
    if precision == "bf16" and way == "openvino":
        raise InputError("precision='bf16' on a network optimized for float32: use fp32, or the original network")
    device = next(network.parameters()).device
    keep_freed_memory(device)
    logits = []
    with evaluation_mode(network), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for batch in images.split(batch_size):
            # For every new batch size torch.compile compiles anew, for minutes; some slices too many take none.
            missing = batch_size - len(batch) if way == "torch.compile" else 0
            filled = torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)]) if missing else batch
            logits.append(network(filled.to(device))[: len(batch)].float())
    return require_finite_logits(torch.cat(logits), "use another checkpoint" if precision == "fp32" else "use fp32")


def predict_image(network: nn.Module, image: NDArray) -> NDArray[np.uint8]:
    """Predict the label map of one image, resized as in `predict_volume`.

    Args:
        network: an `MSA2Net`, a network of `build_network` or `adopt_network`, or what `optimize_for_inference` made
            of one.
        image: (H, W) gray or (H, W, 3) RGB, in [0, 1].

    Returns:
        (H, W) class ids.

    Raises:
        InputError: another shape or range, and a network whose logits are not finite.

    Example:
        >>> import numpy as np
        >>> from msa2net_lib import MSA2Net, predict_image
        >>> network = MSA2Net.from_preset("tiny", num_classes=2, image_size=64)
        >>> predict_image(network, np.random.default_rng(0).random((50, 70, 3))).shape
        (50, 70)

    Source: the reference implementation's test script, for volumes.
    """
    if image.ndim == 2:
        return predict_volume(network, image[None])[0]
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image of shape {image.shape}: give (rows, columns) gray or (rows, columns, 3) RGB")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise InputError("image has values outside [0, 1]: divide by 255 first")
    channels = [resize_image(image[..., channel], config_of(network).height_width) for channel in range(3)]
    batch = torch.from_numpy(normalize(np.stack(channels))).float()
    return resize_back(predict_classes(network, batch[None], batch_size=1)[0], (image.shape[0], image.shape[1]))


def _network_input(network: nn.Module, slices: NDArray, resampling: Resampling) -> Float[Tensor, "n 1 h w"]:
    """Slices (n, y, x) in [0, 1] as the network takes them."""
    size = config_of(network).height_width
    if resampling == "scipy":
        resized = torch.from_numpy(normalize(resize_images(slices, size)))
    else:
        device = next(network.parameters()).device
        images = torch.tensor(np.ascontiguousarray(slices), dtype=torch.float32, device=device)
        resized = (resize_on_device(images, size) - 0.5) / 0.5
    return rearrange(resized, "n h w -> n 1 h w")
