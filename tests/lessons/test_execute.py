"""The checkout is found from where a command runs, never from where the library is installed."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from msa2net_lib.batch.reproduce import find_workflow
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.execute import find_checkout, notebook_path, run_lesson, smaller


def test_the_checkout_is_the_nearest_folder_above_with_the_notebooks(root, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(root / "notebooks")
    assert find_checkout() == find_checkout(root / "tests" / "lessons") == root
    assert notebook_path(root, "10_training").is_file()
    monkeypatch.chdir(tmp_path)
    refused([tmp_path, "lies in no checkout", "notebooks/"], find_checkout)
    inner = tmp_path / "copy" / "results"
    inner.mkdir(parents=True)
    (tmp_path / "copy" / "notebooks").mkdir()
    (tmp_path / "copy" / "notebooks" / "00_start_here.ipynb").write_text("{}")
    assert find_checkout(inner) == tmp_path / "copy"
    monkeypatch.chdir(inner)
    refused([tmp_path, "no Snakefile there", "msa2net lessons DIR"], find_workflow)


def test_a_lesson_that_is_not_there_is_refused_in_one_line(tmp_path, refused):
    refused([tmp_path, "no such notebook"], run_lesson, tmp_path / "10_training.ipynb", "smoke", tmp_path, {})
    with pytest.raises(InputError, match=r"10_trainig.*did you mean 10_training\?"):
        notebook_path(tmp_path, "10_trainig")


@pytest.mark.parametrize("kind", ["map", "lines", "photograph"])
def test_a_committed_figure_is_small_and_looks_the_same(kind):
    figure, rng = Figure(figsize=(5, 3)), np.random.default_rng(0)
    FigureCanvasAgg(figure)
    if kind == "lines":
        for height in range(8):
            figure.gca().plot(rng.random(30) + height)
    elif kind == "map":
        figure.colorbar(figure.gca().imshow(rng.random((32, 32)), cmap="RdBu_r"))
    else:
        smooth = np.kron(rng.random((4, 6, 3)), np.ones((40, 40, 1)))
        figure.gca().imshow(np.clip(smooth + 0.03 * rng.standard_normal(smooth.shape), 0, 1))
    figure.savefig(buffer := io.BytesIO(), format="png", dpi=100)
    before = b64encode(buffer.getvalue()).decode()
    after = smaller(before)
    old, new = (np.asarray(Image.open(io.BytesIO(b64decode(png))).convert("RGB"), float) for png in (before, after))
    assert old.shape == new.shape
    assert np.sqrt(((old - new) ** 2).mean()) < 4  # of 255
    assert len(after) < 0.7 * len(before)
    assert smaller(after) == after


@pytest.mark.parametrize(
    ("size", "margin", "expected"), [((944, 400), 12, 930), ((944, 400), 3, 938), ((700, 400), 12, 700)]
)
def test_white_margin_beyond_the_page_is_cut_and_nothing_else(size, margin, expected):
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    pixels[margin:-margin, margin:-margin] = np.random.default_rng(0).integers(0, 2, 3) * 100
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    once = smaller(b64encode(buffer.getvalue()).decode())
    found = Image.open(io.BytesIO(b64decode(once)))
    assert found.size == (expected, size[1])
    assert (np.asarray(found.convert("RGB")) < 255).all(axis=2).sum() == (size[0] - 2 * margin) * (size[1] - 2 * margin)
