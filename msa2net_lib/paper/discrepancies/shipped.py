"""Differences in what ships around the code: options, README, requirements, saved files, and the sizes in the text."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd
import SimpleITK as sitk  # noqa: N813

from msa2net_lib.data.labels import ORGANS
from msa2net_lib.paper import reference_implementation as released
from msa2net_lib.paper.discrepancies.evidence import Evidence, patient
from msa2net_lib.paper.recorded import recorded_count


def unread_options(_: Path) -> Evidence:
    table = pd.DataFrame({"read": released.TRAIN_OPTIONS}).rename_axis("option of train.py")
    unread = list(table.index[~table.read])
    says = f"what is given to {len(unread)} of {len(table)} options changes nothing: {', '.join(unread)}"
    return Evidence(says, table, len(unread) > 0)


def pythons(_: Path) -> Evidence:
    versions = [(3, minor) for minor in range(7, 13)]
    readme, pins, encoder = released.PYTHONS
    rules = {
        "the README": lambda version: version >= readme,
        "the pinned SciPy": lambda version: version >= pins,
        "the encoder's file": lambda version: version < encoder,
    }
    table = pd.DataFrame({name: [rule(version) for version in versions] for name, rule in rules.items()})
    table.index = pd.Index([f"3.{minor}" for _, minor in versions], name="Python")
    both = list(table.index[table.all(axis=1)])
    says = (
        f"of {len(versions)} Pythons that the README allows, {len(both)} suit the pins and the code "
        f"({', '.join(both)}); {len(released.UNPINNED)} of the README's {len(released.README_PACKAGES)} packages "
        f"({', '.join(released.UNPINNED)}) are not in requirements.txt"
    )
    return Evidence(says, table, not table.all(axis=None))


def weights_path(_: Path) -> Evidence:
    parser = argparse.ArgumentParser()
    for name in {*released.TEST_COMMAND, "weights_fpath"}:
        parser.add_argument(f"--{name}", type=str)
    given = parser.parse_args([f"--{name}={value}" for name, value in released.TEST_COMMAND.items()])
    try:
        Path(given.output_dir).joinpath(given.weights_fpath)
        stopped = "nothing"
    except TypeError as error:
        stopped = f"TypeError: {error}"
    table = pd.DataFrame({"given": {name: str(value) for name, value in vars(given).items()}})
    says = f"with the README's {len(released.TEST_COMMAND)} arguments, joining folder and file ends in {stopped}"
    return Evidence(says, table, stopped != "nothing")


def saved_spacing(data_dir: Path) -> Evidence:
    _, label, spacing = patient(data_dir, 2)
    with tempfile.TemporaryDirectory() as folder:
        image = sitk.GetImageFromArray(label)
        image.SetSpacing([float(step) for step in released.SAVED_SPACING])
        sitk.WriteImage(image, f"{folder}/saved.nii.gz")
        saved = sitk.ReadImage(f"{folder}/saved.nii.gz").GetSpacing()
    voxels = int((label == ORGANS.index("liver") + 1).sum())
    sizes = {"the scan": spacing[::-1], "saved as the code does": saved}
    volume = {name: voxels * steps[0] * steps[1] * steps[2] / 1000 for name, steps in sizes.items()}
    table = pd.DataFrame(sizes, index=list("xyz")).T.assign(**{"liver (ml)": pd.Series(volume)})
    true, wrong = table["liver (ml)"]
    says = (
        f"the liver in real patient 2's 20 slices has {true:.0f} ml with the scan's spacing and {wrong:.0f} ml in a "
        f"file saved with {released.SAVED_SPACING}"
    )
    return Evidence(says, table.rename_axis("spacing (mm)"), abs(wrong / true - 1) > 0.01)


def figures(_: Path) -> Evidence:
    rows = {
        shows: {"in the repository": ", ".join(names[:-1]), "in the README": names[-1]}
        for shows, names in released.PICTURES.items()
    }
    table = pd.DataFrame(rows).T.rename_axis("shows, by its name")
    own = [names[-1] for names in released.PICTURES.values() if names[-1] not in names[:-1] and "-git" in names[-1]]
    says = f"the README embeds {len(rows)} pictures, {len(own)} of them files of its own beside the paper's"
    return Evidence(says, table, len(own) > 0)


def gate_share(_: Path) -> Evidence:
    gates = [recorded_count("published", f"decoder_{level}.ag_attn.") for level in range(4)]
    never = recorded_count("published", "decoder_3.", ("decoder_3.layer_up.",)) + recorded_count(
        "published", "backbone.conv."
    )
    total = recorded_count("published")
    rows = {"all that is counted": (sum(gates), total), "what runs": (sum(gates[:3]), total - never)}
    table = pd.DataFrame(
        {name: {"gates (M)": g / 1e6, "network (M)": n / 1e6, "share": g / n} for name, (g, n) in rows.items()}
    ).T
    counted, running = table.share
    says = f"four gates are {counted:.1%} of all parameters; the three that run are {running:.1%} of those that run"
    return Evidence(says, table, round(100 * running) != round(100 * counted))
