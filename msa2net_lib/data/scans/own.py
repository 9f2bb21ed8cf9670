"""Prepare your own scans: a folder of images, a folder of label maps, and the names of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from msa2net_lib.data.placement import PlaneOption, check_plane
from msa2net_lib.data.scans.files import check_cases, check_pairs, find_scans
from msa2net_lib.data.scans.gray_values import check_values
from msa2net_lib.data.scans.prepare import ScanJob, prepare_scans, prepared_name
from msa2net_lib.data.scans.recipe import ScanRecipe, case_flips, choose_window
from msa2net_lib.data.volumes import SUFFIXES
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset


def prepare_pairs(
    images: str | Path,
    labels: str | Path,
    destination: str | Path,
    *,
    classes: Mapping[str, int | Sequence[int]],
    test: Sequence[str] = (),
    validation: Sequence[str] = (),
    modality: str = "CT",
    window: tuple[float, float] | None = None,
    others_are_background: bool = False,
    allow_empty: bool = False,
    values: str = "auto",
    plane: PlaneOption = "auto",
    flip: str | Mapping[str, str] = "none",
    workers: int | None = None,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare a folder of images and one of label maps for training and evaluation, and return the prepared data.

    A case is an image (NIfTI, NRRD, MetaImage, or a folder with one DICOM series) and the label map whose name is
    the same without the suffix: ``images/anna.nrrd`` with ``labels/anna.nii.gz``. ``classes``: name -> id in the
    label maps, or several ids that become one class; they are numbered 1, 2, ... in this order. Any other id
    but 0 is an error, or background too with ``others_are_background``. ``test``: names of the cases to score on;
    all others are trained on; of these ``validation`` names some for ``PreparedDataset.hold_out``, in the result's
    ``dataset.json``.

    ``values``: what a CT's gray values are. "auto" takes HU and refuses anything else by name; "hu" takes them as HU
    whatever they look like; "shifted": where none is negative, HU + 1024; "windowed": where all are 0 to 1 or 0 to 255,
    windowed already. ``plane``: "auto" prepares axial slices and refuses a scan whose own slices are thick and not
    axial; "stored" prepares its own slices, "axial" cuts axial ones all the same. ``flip``: how to turn scans whose
    headers lie (``contract.flips``), one for all or case -> flip.

    ``window``: the values that become 0 and 1. Without it, [-125, 275] HU if ``modality`` is "CT", and for any
    other the percentiles 0.5 and 99.5 of each volume, which its record then holds. A case without any voxel of
    the classes is most often a mistake and stops the run, unless ``allow_empty``; run again, finished cases stay.
    ``destination`` and ``workers`` as for ``scans.prepare_scans``. Raises InputError, in one line with the file's
    name, for whatever is wrong.
    """
    images, labels, destination = Path(images), Path(labels), Path(destination)
    pairs = _find_pairs(images, labels, destination)
    tested = check_cases(test, pairs, "test")
    train = [case for case in pairs if case not in tested]
    held_out = check_cases(validation, train, "validation")
    recipe = ScanRecipe(
        modality=modality,
        window=choose_window(modality, window),
        classes=_ids(classes),
        background=None if others_are_background else (),
        advice="classes does not name them; add them there, or give others_are_background=True",
        allow_empty=allow_empty,
        values=check_values(values),
        plane=check_plane(plane),
        flips=case_flips(flip, pairs),
        otherwise="--modality MR prepares each scan by its percentiles",
        facts={"source_format": "pairs", "validation": [*map(prepared_name, held_out)]},
    )
    jobs = [
        ScanJob(str(destination), case, part, *pairs[case])
        for part, cases in (("train", train), ("test", tested))
        for case in cases
    ]
    return prepare_scans(jobs, destination, recipe, workers=workers, progress=progress)


def _find_pairs(images: Path, labels: Path, destination: Path) -> dict[str, tuple[Path, Path]]:
    """Return case id -> image and label map, sorted; InputError if there are none, or one has no other."""
    if images.resolve() == labels.resolve():
        raise InputError(f"{images}: images and label maps are in one folder; put the label maps into their own")
    for folder in (images, labels):
        if destination.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{destination}: lies within {folder}, whose folders are scans; choose another folder")
    image_of, label_of = find_scans(images, folders=True), find_scans(labels, folders=True)
    for folder, found in ((images, image_of), (labels, label_of)):
        if not found:
            raise InputError(f"{folder}: holds no volume ({', '.join(SUFFIXES)} or a DICOM folder)")
    if not image_of.keys() & label_of.keys():
        raise InputError(
            f"{labels}: no label map is named like an image ({next(iter(label_of.values())).name}, but "
            f"{next(iter(image_of.values())).name}); give both the same name before the suffix"
        )
    check_pairs(image_of, label_of, f"in {images}", f"in {labels}")
    return {case: (image, label_of[case]) for case, image in image_of.items()}


def _ids(classes: Mapping[str, int | Sequence[int]]) -> dict[str, list[int]]:
    """Return class -> list of ids; what is no whole number stays as it is, to be refused by its name."""
    if not isinstance(classes, Mapping):
        raise InputError(f"classes={classes!r}: give name -> id in the label maps, such as {{'liver': 1}}")
    listed = {name: ids if isinstance(ids, Sequence) else [ids] for name, ids in classes.items()}
    return {name: [int(n) if isinstance(n, Integral) else n for n in ids] for name, ids in listed.items()}
