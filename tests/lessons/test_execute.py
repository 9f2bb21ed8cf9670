"""The checkout is found from where a command runs, never from where the library is installed."""

from __future__ import annotations

import pytest

from msa2net_lib.batch.reproduce import find_workflow
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.execute import find_checkout, notebook_path, run_lesson


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
