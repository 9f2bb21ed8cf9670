"""What one image meets on its way through a network, step by step, and parameters or work summed for the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import torch
from einops import reduce
from torch import Tensor, nn

from msa2net_lib.analysis.complexity import evaluating, network_parts
from msa2net_lib.errors import InputError
from msa2net_lib.nn.layout import PatchExpand, tokens_to_map
from msa2net_lib.nn.network import MSA2Net, count_parameters

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Step:
    """One part of a network, as one image met it.

    kind: one of those in `COLUMNS`. level: 0 (finest) to 3. shape: the output as (channels, height, width), None
    if the part did not run. what: its classes and how many of each. thumbnail: the output as one map, see `walk`.
    """

    name: str
    kind: str
    level: int
    shape: tuple[int, ...] | None
    parameters: int
    runs: bool
    what: str
    thumbnail: NDArray | None = field(default=None, repr=False, compare=False)


def walk(network: MSA2Net, image: Float[Tensor, "1 ch h w"]) -> list[Step]:
    """Run the network once, in evaluation mode, and list its parts in order of data flow, with what each put out.

    A part runs if its forward hook was called; each parameter belongs to one step. Hooks are removed and modes
    restored whatever happens. thumbnail: how far each pixel's features are from the map's average, root mean square
    over channels (from zero it would be almost flat after a layer norm, which makes features equally long); of the
    input, the image itself. With ``config.layout`` "reinterpreted" the decoder mixes pixels and channels, a pixel of
    its maps is no place in the image, and its steps have no thumbnail but the logits', which the loss compares with
    the label pixel by pixel. Raises: `InputError` if ``image`` is not one image of the network's size.
    """
    if image.ndim != 4 or image.shape[0] != 1:
        raise InputError(f"input of shape {tuple(image.shape)}: give one image, (1, channels, height, width)")
    parts, outputs = network_parts(network), {}
    with evaluating(network) as undo, torch.no_grad():
        for name, modules in parts.items():
            hook = modules[-1].register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out}))
            undo.enter_context(hook)
        network(image)
    gray = reduce(image, "1 ch h w -> h w", "mean").float().cpu().numpy()
    steps = [Step("input", "input", 0, tuple(image.shape[1:]), 0, True, "image", gray)]
    grids: dict[int, tuple[int, int]] = {}
    for name, modules in parts.items():
        kind, level = _place(name)
        output, words, shape, thumbnail = outputs.get(name), _words(modules), None, None
        if output is not None:
            if output.ndim == 3:  # tokens
                scale = getattr(modules[-1], "scale", 1)  # of an expansion
                output = tokens_to_map(output, scale * grids[level][0], scale * grids[level][1])
            shape = tuple(output.shape[1:])
            if kind == "encoder":
                grids[level] = (shape[1], shape[2])
            if kind == "norm":  # the step before it is the gate
                words += "(g + y)" if steps[-1].runs else "(g + x)"
            if network.config.layout == "grid" or kind in ("stem", "encoder", "head"):
                difference = output[0].float() - reduce(output[0].float(), "c h w -> c 1 1", "mean")
                thumbnail = reduce(difference.square(), "c h w -> h w", "mean").sqrt().cpu().numpy()
        parameters = sum(count_parameters(module) for module in modules)
        steps.append(Step(name, kind, level, shape, parameters, output is not None, words, thumbnail))
    return steps


def _place(part: str) -> tuple[str, int]:
    """Kind and decoder level of a part: "encoder stage 2" is ("encoder", 1), "gate 2" is ("gate", 2)."""
    kind, _, number = part.rpartition(" ")
    if not number.isdigit():
        return part, 0
    return ("encoder", int(number) - 1) if kind == "encoder stage" else (kind, int(number))


def _words(modules: Iterable[nn.Module]) -> str:
    """Class names, such as "LKABlock × 2"."""
    counts = Counter(_name(module) for module in modules)
    return ", ".join(name if count == 1 else f"{name} × {count}" for name, count in counts.items())


def _name(module: nn.Module) -> str:
    blocks = getattr(module, "blocks", module)  # of a stage of the encoder
    if isinstance(blocks, nn.Sequential):
        return _words(blocks)
    return f"PatchExpand, grid × {module.scale}" if isinstance(module, PatchExpand) else type(module).__name__


ROWS = (
    *("gray stem", "encoder stem"),
    *(f"encoder stage {i}" for i in range(1, 5)),
    *(f"level {i}: {kind}" for i in (3, 2, 1, 0) for kind in ("gate", "blocks", "rest")),
)


def rows_of(counts: pd.DataFrame) -> pd.DataFrame:
    """Sum parts (index as in `analysis.complexity.network_parts`) to the rows of the figures.

    The encoder's five parts stay as they are; a decoder level becomes its gate, its blocks and the rest; the head,
    873 parameters in `published`, is added to level 0's rest. A part that a network lacks leaves its row at zero.
    """
    rows = pd.Series([_row(str(part)) for part in counts.index], index=counts.index)
    return pd.DataFrame({column: [counts[column][rows == row].sum() for row in ROWS] for column in counts}, index=ROWS)


def _row(part: str) -> str:
    kind, level = _place(part)
    if kind in ("linear", "norm", "expansion", "head"):
        return f"level {level}: rest"
    return {"stem": "encoder stem", "gate": f"level {level}: gate", "blocks": f"level {level}: blocks"}.get(kind, part)
