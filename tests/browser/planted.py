"""A test of the test: notebooks with a known fault, each of which the check must refuse in its own words."""

from __future__ import annotations

from pathlib import Path

import nbformat

SOUND = """
from matplotlib.figure import Figure
from msa2net_lib.viz.explorer import explorer

def draw(level, outlines):
    figure = Figure(figsize=(3, 1))
    figure.text(0.1, 0.5, f"{level} {outlines}")
    return figure
"""

CASE = """
import numpy as np
from msa2net_lib.data.datasets import Case
from msa2net_lib.viz.browsers import volume_browser

z, y, x = np.ogrid[:12, :40, :50]
label = np.where((z - 6) ** 2 + (y - 20) ** 2 / 9 + (x - 25) ** 2 / 16 < 16, 5, 0).astype(np.uint8)
shifted = np.roll(label, 5, axis=2)
case = Case("ball", (0.3 + label / 10 + z / 40).astype(np.float32), label, (3.0, 1.0, 1.0))
"""

RAISES = """
def broken(level):
    if level:
        raise RuntimeError("drawing failed")
    return draw(level, True)
"""

PLANTED = {
    "sound": ([SOUND, "explorer(draw, level=(0, 9), outlines=True)"], None),
    "slices": ([CASE, "volume_browser(case, viewer='slices')"], None),
    "niivue": ([CASE, "volume_browser(case, {'shifted': shifted}, viewer='niivue')"], None),
    "a_callback_raises": (
        [SOUND, RAISES, "explorer(broken, level=[0, 1])"],
        "the picture did not change within 10 s: RuntimeError: drawing failed",
    ),
    "a_callback_does_nothing": ([SOUND, "explorer(lambda level: draw(0, True), level=(0, 9))"], "did not change"),
    "a_cell_raises": ([SOUND, "explorer(draw, level=(0, 9), outlines=True)", "1 / 0"], "ZeroDivisionError"),
    "no_widget": (["print('nothing to move')"], "no explorer is on the page"),
}
"""By name: the cells, and what the check must say of them (None: nothing is wrong)."""


def write_planted(folder: Path) -> None:
    """Write the notebooks into ``folder``."""
    folder.mkdir()
    for name, (cells, _) in PLANTED.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / f"{name}.ipynb")
