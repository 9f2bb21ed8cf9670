"""Every public name says what it takes, gives and refuses, shows it, and tells where it comes from; examples run."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import sys

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

import msa2net_lib
from msa2net_lib import prepare_synapse
from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.data.isic import IMAGES, MASKS

NAMES = [name for name in msa2net_lib.__all__ if callable(getattr(msa2net_lib, name))]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """The files that examples name: two scans in the BTCV layout, raw and prepared, one scan alone, four images."""
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)

    def write(name, array):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / name))

    y, x = np.mgrid[:64, :64] - 32
    body = np.where(y**2 + x**2 < 28**2, 40, -1000).astype(np.int16)
    for case in ("0005", "0008"):
        write(f"btcv/img/img{case}.nii.gz", np.stack([body, body]))
        write(f"btcv/label/label{case}.nii.gz", np.stack([6 * (body > 0), 8 * (body > 0)]).astype(np.uint8))
    write("scan.nii.gz", np.stack([body, body]))
    options = {"train_cases": ["0005"], "test_cases": ["0008"], "workers": 1, "progress": False}
    prepare_synapse(folder / "btcv", folder / "data" / DATASETS["synapse"].folder, **options)
    for name in (IMAGES, MASKS):
        (folder / "isic" / name).mkdir(parents=True)
    for number in range(4):
        pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "isic" / IMAGES / f"ISIC_{number:07}.jpg")
        mask = Image.fromarray(np.where(pixels[..., 0] > 99, 255, 0).astype(np.uint8))
        mask.save(folder / "isic" / MASKS / f"ISIC_{number:07}_segmentation.png")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_a_docstring_are_there_and_its_example_runs(name, workplace, monkeypatch):
    public = getattr(msa2net_lib, name)
    text = inspect.getdoc(public)
    parts = ["Example:", "Source:"]
    if name != "InputError" and inspect.signature(public).parameters:
        parts += ["Args:", "Raises:"]
        described = text.partition("Args:\n")[2].partition("\n\n")[0]
        for parameter in inspect.signature(public).parameters:
            assert f"    {parameter}: " in f"\n{described}", f"{name}({parameter}) is not described"
    if name != "InputError" and not dataclasses.is_dataclass(public):
        parts.append("Returns:")
    assert [part for part in parts if f"\n{part}" not in text] == []
    assert text.splitlines()[0].endswith("."), "the first line is one sentence"
    monkeypatch.chdir(workplace)
    [example] = doctest.DocTestFinder(recurse=False).find(public, name, module=sys.modules[public.__module__])
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert tried, "no example"
    assert not failed, "".join(said)
