"""The network as a drawing: one image walks through it, and every number on the sheet comes from that walk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from einops import reduce
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.nn.expand import PatchExpand
from msa2net_lib.nn.layout import tokens_to_map
from msa2net_lib.nn.network import MSA2Net, count_parameters
from msa2net_lib.viz.plots import stamp

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Step:
    """One part of a network, as one image met it.

    kind: one of those in `COLUMNS`. level: 0 (finest) to 3. shape: the output as (channels, height, width), None
    if the part did not run. what: its classes and how many of each. picture: the output as one image, see `walk`.
    """

    name: str
    kind: str
    level: int
    shape: tuple[int, ...] | None
    parameters: int
    runs: bool
    what: str
    picture: NDArray | None = field(default=None, repr=False, compare=False)


def walk(network: MSA2Net, image: Float[Tensor, "1 ch h w"]) -> list[Step]:
    """Run the network once, in evaluation mode, and list its parts in order of data flow, with what each put out.

    A part runs if its forward hook was called; each parameter belongs to one step. Hooks are removed and modes
    restored whatever happens. picture: how far each pixel's features are from the map's average, root mean square
    over channels (from zero it would be almost flat after a layer norm, which makes features equally long); of the
    input, the image itself. With ``config.layout`` "reinterpreted" the decoder mixes pixels and channels, a pixel of
    its maps is no place in the image, and its steps have no picture but the logits', which the loss compares with
    the label pixel by pixel. Raises: `InputError` if ``image`` is not one image of the network's size.
    """
    if image.ndim != 4 or image.shape[0] != 1:
        raise InputError(f"input of shape {tuple(image.shape)}: give one image, (1, channels, height, width)")
    parts, outputs = list(_parts(network)), {}
    with ExitStack() as undo, torch.no_grad():
        for module in network.modules():
            undo.callback(setattr, module, "training", module.training)
        for *_, module in parts:
            last = module[-1] if isinstance(module, nn.ModuleList) else module
            undo.enter_context(last.register_forward_hook(lambda _, __, out, key=module: outputs.update({key: out})))
        network.eval()(image)
    gray = reduce(image, "1 ch h w -> h w", "mean").float().cpu().numpy()
    steps = [Step("input", "input", 0, tuple(image.shape[1:]), 0, True, "image", gray)]
    grids: dict[int, tuple[int, int]] = {}
    for name, kind, level, module in parts:
        output, words, shape, picture = outputs.get(module), _words(module), None, None
        if output is not None:
            if output.ndim == 3:  # tokens
                scale = module.scale if isinstance(module, PatchExpand) else 1
                output = tokens_to_map(output, scale * grids[level][0], scale * grids[level][1])
            shape = tuple(output.shape[1:])
            if kind == "encoder":
                grids[level] = (shape[1], shape[2])
            if kind == "norm":  # the step before it is the gate
                words += "(g + y)" if steps[-1].runs else "(g + x)"
            if network.config.layout == "grid" or kind in ("stem", "encoder", "head"):
                difference = output[0].float() - reduce(output[0].float(), "c h w -> c 1 1", "mean")
                picture = reduce(difference.square(), "c h w -> h w", "mean").sqrt().cpu().numpy()
        steps.append(Step(name, kind, level, shape, count_parameters(module), output is not None, words, picture))
    return steps


def _parts(network: MSA2Net) -> Iterator[tuple[str, str, int, nn.Module]]:
    """Each part as (name, kind, level, module), in order of data flow; a module list puts out what its last does."""
    backbone, levels = network.encoder.backbone, network.decoder.levels
    if network.encoder.gray_stem is not None:
        yield "gray stem", "gray stem", 0, network.encoder.gray_stem
    yield "stem", "stem", 0, backbone.stem
    for i, stage in enumerate(backbone.stages):
        yield f"encoder stage {i + 1}", "encoder", i, nn.ModuleList([stage, backbone.norm]) if i == 3 else stage
    for i in (3, 2, 1, 0):
        own: Any = levels[i]
        modules = (own.linear, own.gate, own.norm, own.blocks or None, own.expand)
        for kind, module in zip(("linear", "gate", "norm", "blocks", "expansion"), modules, strict=True):
            if module is not None:
                yield f"{kind} {i}", kind, i, module
    yield "head", "head", 0, network.decoder.head


def _words(module: nn.Module) -> str:
    """Class names, such as "LKABlock × 2"."""
    if isinstance(module, nn.ModuleList | nn.Sequential):
        counts = Counter(_words(child) for child in module)
        return ", ".join(name if count == 1 else f"{name} × {count}" for name, count in counts.items())
    if isinstance(blocks := getattr(module, "blocks", None), nn.Sequential):  # a stage of the encoder
        return _words(blocks)
    return f"PatchExpand, grid × {module.scale}" if isinstance(module, PatchExpand) else type(module).__name__


class _Box(NamedTuple):
    """A rectangle on the sheet, in inches; ``at`` gives a point of it by its shares of width and height."""

    left: float
    bottom: float
    width: float
    height: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.left + x * self.width, self.bottom + y * self.height


WIDTH, ROW, BETWEEN_ROWS, PAD, BETWEEN_BANDS, HEADER = 10.8, 0.66, 0.2, 0.08, 0.22, 0.72
COLUMNS = (  # heading, left edge, width, color, what stands there
    ("encoder", 0.45, 2.15, "#DCE8F4", ("input", "stem", "encoder")),
    ("skip connections", 3.15, 2.15, "#FADFC4", ("gray stem", "gate")),
    ("", 5.9, 1.75, "#E4F0E0", ("linear", "norm")),
    ("decoder", 8.25, 2.4, "#E4F0E0", ("blocks", "expansion", "head")),
)


def draw(steps: Sequence[Step], title: str, source: str, thumbnails: bool = True) -> Figure:
    """Draw the steps of `walk`: the encoder goes down on the left, the decoder up on the right, gates between.

    A band holds what has one grid size; parts that did not run are hatched. source: `plots.VIRTUAL`, `plots.REAL`
    or another line on where the image is from. thumbnails: show the steps' pictures.
    """
    boxes, bands = _boxes(steps)
    height = bands[-1].at(0, 1)[1] + HEADER
    figure = plt.figure(figsize=(WIDTH, height))
    plt.close(figure)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    ax.set_axis_off()
    gray: dict[str, Any] = {"ha": "center", "va": "center", "color": "0.3"}
    for band in bands.values():
        ax.add_patch(Rectangle(band[:2], band.width, band.height, color="0.955"))
    for step in steps:
        _draw_step(ax, step, boxes[step.name], thumbnails)
        if step.kind == "encoder" and step.shape:
            words = f"level {step.level}\n{step.shape[1]} × {step.shape[2]}"
            ax.text(0.25, bands[step.level].at(0, 0.5)[1], words, rotation=90, fontsize=7.5, **gray)
    _draw_flow(ax, {(step.kind, step.level): boxes[step.name] for step in steps if step.runs}, boxes)
    for heading, left, width, *_ in COLUMNS:
        ax.text(left + width / 2, height - HEADER + 0.12, heading, fontsize=8.5, style="italic", **gray)
    ax.text(0.12, height - 0.38, title, fontsize=10.5, va="center", weight="bold")
    ax.text(COLUMNS[1][1], bands[-1].bottom + PAD, _legend(steps, thumbnails), fontsize=7.5, va="bottom", color="0.2")
    return stamp(figure, source)


def _boxes(steps: Sequence[Step]) -> tuple[dict[str, _Box], dict[int, _Box]]:
    """Where each step (by name) and each band (by level, -1 for the image's) goes, built from the bottom up."""
    boxes, bands, bottom = {}, {}, 0.12
    for band in (3, 2, 1, 0, -1):
        rows = 2 if band < 3 or any(step.name == "linear 3" for step in steps) else 1  # the linear is in the lower row
        bands[band] = _Box(0.08, bottom, WIDTH - 0.16, rows * ROW + (rows - 1) * BETWEEN_ROWS + 2 * PAD)
        bottom = bands[band].at(0, 1)[1] + BETWEEN_BANDS
    for step in steps:
        left, width = next(column[1:3] for column in COLUMNS if step.kind in column[-1])
        level = step.level - (step.kind == "expansion")  # whose output has the next finer grid
        band = bands[-1 if step.kind in ("input", "gray stem", "stem", "head") else level]
        low, high = band.bottom + PAD, band.at(0, 1)[1] - PAD
        if step.kind not in ("encoder", "gate"):  # which take both rows
            low = low if step.kind in ("stem", "linear", "expansion") else high - ROW
            high = low + ROW
        boxes[step.name] = _Box(left, low, width, high - low)
    return boxes, bands


def _draw_step(ax: Axes, step: Step, box: _Box, thumbnails: bool) -> None:
    look: dict[str, Any] = {"edgecolor": "0.6", "facecolor": "0.93", "linestyle": "--", "hatch": "////"}
    if step.runs:
        look = {"edgecolor": "0.25", "facecolor": next(c[3] for c in COLUMNS if step.kind in c[-1])}
    ax.add_patch(Rectangle(box[:2], box.width, box.height, **look))
    left, y = box.left, box.at(0, 0.5)[1]
    if thumbnails and step.picture is not None:
        side = min(box.height - 0.12, 0.94)
        h, w = (side * pixels / max(step.picture.shape) for pixels in step.picture.shape)
        x = left + 0.06 + side / 2
        where, cmap = (x - w / 2, x + w / 2, y - h / 2, y + h / 2), "gray" if step.kind == "input" else "viridis"
        ax.imshow(step.picture, cmap, extent=where, aspect="auto", interpolation="nearest", zorder=2)
        left += side + 0.06
    room = box.at(1, 0)[0] - left
    size = " × ".join(map(str, step.shape)) if step.shape else "never runs"
    details = f"{fill(step.what, int(room / 0.058))}\n{size}\n{_short(step.parameters)} parameters"
    x, lines = left + room / 2, 2 + details.count("\n")
    if not step.runs:
        ax.add_patch(Rectangle((x - 0.68, y - 0.068 * lines), 1.36, 0.136 * lines, color="white"))
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": "black" if step.runs else "0.3"}
    ax.text(x, y + 0.0625 * (lines - 1), step.name, fontsize=8, weight="bold", **style)
    ax.text(x, y - 0.065, details, fontsize=7.5, **style)


def _draw_flow(ax: Axes, running: Mapping[tuple[str, int], _Box], boxes: Mapping[str, _Box]) -> None:
    """Arrows from each running step to those that read it, around those that do not run."""

    def arrow(*points: tuple[float, float], label: str = "") -> None:
        ax.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=9, color="0.15"))
        (x0, y0), (x1, y1) = points[-2:]
        x, y = (x0 + x1) / 2 + 0.09 * (x0 == x1), (y0 + y1) / 2 + 0.09 * (y0 == y1)
        ax.text(x, y, label, fontsize=8, style="italic", ha="center", va="center")

    def around(start: _Box, goal: tuple[float, float], label: str = "") -> None:
        (x, y), lane = start.at(1, 0.5), start.at(0, 1)[1] + PAD + BETWEEN_BANDS / 2
        arrow((x, y), (x + 0.25, y), (x + 0.25, lane), (goal[0], lane), goal, label=label)

    for start, end in pairwise([running["input", 0], running["stem", 0], *(running["encoder", i] for i in range(4))]):
        arrow(start.at(0.5, 0), end.at(0.5, 1))
    for level in (3, 2, 1, 0):
        skip, expansion = running["encoder", level], running["expansion", level]
        source = running["expansion", level + 1] if level < 3 else skip
        if norm := running.get(("norm", level)):
            linear = running["linear", level]
            arrow(source.at(0, 0.5), linear.at(1, 0.5))
            arrow(linear.at(0.5, 1), norm.at(0.5, 0), label="g")
            if gate := running.get(("gate", level)):
                low = ROW / 2 / gate.height
                arrow(linear.at(0, 0.5), gate.at(1, low), label="g")
                arrow(skip.at(1, 0.5), gate.at(0, 0.5), label="x")
                arrow(gate.at(1, 1 - low), norm.at(0, 0.5), label="y")
            else:
                around(skip, norm.at(0.5, 1), "x")
            source = norm
        blocks = running.get(("blocks", level))
        if blocks is None or (level == 3 and "norm 3" in boxes):
            around(source, blocks.at(0.2, 1) if blocks else expansion.at(0.5, 0))
        else:
            arrow(source.at(1, 0.5), blocks.at(0, 0.5))
        if blocks:
            arrow(blocks.at(0.5, 1), expansion.at(0.5, 0))
    head = running["head", 0]
    arrow(running["expansion", 0].at(0.5, 1), head.at(0.5, 0))
    arrow(head.at(0, 0.5), head.at(-0.23, 0.5), label="logits")


def _legend(steps: Sequence[Step], thumbnails: bool) -> str:
    lines = "Box: name, classes, output as channels × height × width, parameters.\n"
    lines += "Arrows: x skip features, g gating features, y gated skip features.\n"
    if thumbnails:
        lines += "Maps: how far a pixel's features are from the map's average, bright is far, scales differ.\n"
    total, unused = sum(step.parameters for step in steps), sum(step.parameters for step in steps if not step.runs)
    never = f"; the hatched boxes' {_short(unused)} never run" if unused else ""
    return f"{lines}{_short(total)} parameters in all{never}."


def _short(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 999_950 else f"{count / 1e3:.1f} k" if count >= 1000 else str(count)
