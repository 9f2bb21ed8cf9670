"""What was recorded and ships: keys and shapes of the networks that the authors' source builds, and what rows cost."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from math import prod

from msa2net_lib.errors import InputError

FORMS = ("published", "released")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def recorded_shapes(form: str) -> dict[str, tuple[int, ...]]:
    """Return key and shape of every entry of a state dict of the authors' source, in order; statistics included.

    form: "released" (the source as it runs) or "published" (with the second of the deep level's two definitions
    taken out, which gives Table 1's network). Raises: `InputError` for another form. Source:
    github.com/xmindflow/MSA-2Net, commit 209ca72, run once with PyTorch 2.15.
    """
    if form not in FORMS:
        raise InputError(f"form={form!r} is unknown: use one of {', '.join(FORMS)}")
    shapes = json.loads((files(__name__) / f"{form}.json").read_text(encoding="utf-8"))
    return {key: tuple(shape) for key, shape in shapes.items()}


def recorded_count(form: str, prefix: str = "", without: tuple[str, ...] = ()) -> int:
    """Return the number of parameters under ``prefix``, those under the prefixes ``without`` left out."""
    return sum(
        prod(shape)
        for key, shape in recorded_shapes(form).items()
        if key.startswith(prefix) and not key.startswith(without or ("\0",)) and not key.endswith(_BUFFERS)
    )


@cache
def recorded_costs(table: str) -> dict[str, dict[str, float]]:
    """Return what each network of the rows of Table "1" or "2" costs, as `side_by_side.counted` counts it in seconds.

    By network: ``counted_m``, parameters that are learned in M, and ``counted_g``, multiply-adds in G at 224 x 224.
    """
    return json.loads((files(__name__) / "row_costs.json").read_text(encoding="utf-8"))[table]
