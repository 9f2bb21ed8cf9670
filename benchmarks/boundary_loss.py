"""How much faster is BoundaryDoULoss than a loop over classes and samples, and is it the same loss?

The loop is written here in the way in which the authors' released code works: class after class, a sample's boundary
is found by a convolution with a 3 x 3 cross, and the fraction is formed from sums over the batch. Both are timed in
turn, forward and backward, on one batch of logits; loss and gradient must agree to 1e-5, or the exit status is 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from measure import NOT_MEASURED, RESULTS, in_turn, parser_of, ratio, write_record
from torch import Tensor

from msa2net_lib.losses import BoundaryDoULoss

LOOP, TOGETHER = "loop over classes and samples", "BoundaryDoULoss"
SMOOTH, TOLERANCE = 1e-5, 1e-5


def looped_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the loss of logits (b, k, h, w) and target (b, h, w), one class and one sample at a time."""
    probability = logits.softmax(dim=1)
    losses = [_class_loss(probability[:, k], (target == k).float()) for k in range(logits.shape[1])]
    return torch.stack(losses).mean()


def _class_loss(probability: Tensor, truth: Tensor) -> Tensor:
    """Compute one class's fraction from its probabilities and its 0/1 target, both (b, h, w)."""
    boundary = torch.stack([_boundary_pixels(sample) for sample in truth]).sum()
    alpha = min(2 * (1 - (boundary + SMOOTH) / (truth.sum() + SMOOTH)) - 1, torch.tensor(0.8))
    overlap = (probability * truth).sum()
    both = (probability * probability).sum() + (truth * truth).sum()
    return (both - 2 * overlap + SMOOTH) / (both - (1 + alpha) * overlap + SMOOTH)


def _boundary_pixels(sample: Tensor) -> Tensor:
    """Count the pixels of a mask (h, w) of which a neighbor, above, below, left or right, is not in it."""
    cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]], device=sample.device)
    neighbors = F.conv2d(sample[None, None], cross[None, None], padding=1)[0, 0]
    return ((sample > 0) & (neighbors < cross.sum())).sum()


def random_organs(batch: int, classes: int, size: int) -> tuple[Tensor, Tensor]:
    """Return logits (b, k, h, w) and label maps (b, h, w) of smooth blobs, so that classes have insides and borders."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(batch, classes, max(2, size // 16), max(2, size // 16), generator=generator)
    scores = F.interpolate(coarse, (size, size), mode="bilinear")
    return scores + torch.randn(scores.shape, generator=generator), scores.argmax(dim=1)


def measure_device(device: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each way on this device, and in the faster one's how far the two are apart."""
    if device == "cuda" and not torch.cuda.is_available():
        reason = "no CUDA device at hand"
        return [{"name": n, "device": device, "seconds": NOT_MEASURED, "reason": reason} for n in (LOOP, TOGETHER)]
    logits, target = random_organs(arguments.batch_size, arguments.classes, arguments.size)
    logits, target = logits.to(device).requires_grad_(), target.to(device)
    ways = {LOOP: looped_loss, TOGETHER: BoundaryDoULoss(arguments.classes)}
    values = {name: _value_and_gradient(loss, logits, target) for name, loss in ways.items()}
    (loop, loop_gradient), (loss, gradient) = values[LOOP], values[TOGETHER]
    difference = float((loss - loop).abs())
    gradient_difference = float((gradient - loop_gradient).abs().max() / loop_gradient.abs().max())
    calls = {name: lambda loss=loss: _value_and_gradient(loss, logits, target) for name, loss in ways.items()}
    seconds = in_turn(calls, arguments.repeats)
    rows = [
        {
            "name": name,
            "device": device,
            "seconds": round(statistics.median(each), 5),
            "ratio": round(ratio(seconds[LOOP], each), 2),
            "loss": values[name][0].item(),
        }
        for name, each in seconds.items()
    ]
    rows[1] |= {"difference": difference, "gradient_difference": gradient_difference}
    return rows


def _value_and_gradient(loss: Callable[..., Tensor], logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(logits, target)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def main() -> int:
    """Measure, compare, print and write; return the exit status."""
    arguments = _parse_arguments()
    devices = ("cpu", "cuda") if arguments.device == "both" else (arguments.device,)
    rows = [row for device in devices for row in measure_device(device, arguments)]
    for row in rows:
        measured = f"{row['seconds']:.4f} s {row['ratio']:6.1f}x" if "ratio" in row else row["seconds"]
        print(f"{row['device']:5}{row['name']:32}{measured}")
    compared = [row[key] for row in rows for key in ("difference", "gradient_difference") if key in row]
    same = all(difference <= TOLERANCE for difference in compared)
    content = {
        "case": {
            "batch": arguments.batch_size,
            "classes": arguments.classes,
            "size": arguments.size,
            "timed": "forward and backward",
            "repeats": arguments.repeats,
        },
        "baseline": LOOP,
        "rows": rows,
        "same_within": TOLERANCE if same else "no: they differ",
    }
    if arguments.output is not None:
        write_record(arguments.output, "BoundaryDoULoss against a loop over classes and samples", content)
    if not same:
        print(f"loss or gradient differ by {max(compared):.2g}, more than {TOLERANCE:.0e}", file=sys.stderr)
    return 0 if same else 1


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--batch-size", type=int, default=20, metavar="N", help="samples (default 20)")
    parser.add_argument("--classes", type=int, default=9, metavar="K", help="background included (default 9)")
    parser.add_argument("--size", type=int, default=224, metavar="PIXELS", help="a side, in pixels (default 224)")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="rounds that count (default 10)")
    parser.add_argument("--device", choices=("cpu", "cuda", "both"), default="both", help="(default both)")
    arguments = parser.parse_args()
    if min(arguments.batch_size, arguments.size, arguments.repeats) < 1 or arguments.classes < 2:
        parser.error("give at least one sample, one pixel and one round, and two classes")
    given = {key for key, value in vars(arguments).items() if value != parser.get_default(key)}
    if arguments.output is None and given <= {"device", "repeats"}:
        name = "boundary_loss_cuda.json" if arguments.device == "cuda" else "boundary_loss.json"
        arguments.output = RESULTS / name
    return arguments


if __name__ == "__main__":
    sys.exit(main())
