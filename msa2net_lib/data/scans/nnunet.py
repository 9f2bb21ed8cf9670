"""Prepare a folder in nnU-Net's raw format: https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md.

Read are version 2 (``channel_names``, ``labels`` as name -> id), version 1 (``modality``, ``labels`` as id ->
name) and the Medical Segmentation Decathlon, which is version 1 without the channel in the images' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.data.placement import PlaneOption, check_plane
from msa2net_lib.data.scans.files import check_cases, check_pairs, find_scans
from msa2net_lib.data.scans.gray_values import check_values
from msa2net_lib.data.scans.prepare import ScanJob, prepare_scans, prepared_name
from msa2net_lib.data.scans.recipe import ScanRecipe, case_flips, choose_window
from msa2net_lib.data.volumes import SUFFIXES
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset


@dataclass(frozen=True)
class NnunetDescription:
    """What ``dataset.json`` says: ``channels`` number -> name, ``classes`` name -> id without background.

    ``ending`` of all files' names; ``training`` is the number of training cases, None where it is not given.
    """

    channels: dict[int, str]
    classes: dict[str, int]
    ending: str
    training: int | None


def prepare_nnunet(
    source: str | Path,
    destination: str | Path,
    *,
    test_cases: Sequence[str] | None = None,
    validation: Sequence[str] = (),
    channel: int | None = None,
    window: tuple[float, float] | None = None,
    allow_empty: bool = False,
    values: str = "auto",
    plane: PlaneOption = "auto",
    flip: str | Mapping[str, str] = "none",
    workers: int | None = None,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare an nnU-Net data set for training and evaluation, and return the prepared data.

    ``source`` holds ``dataset.json``, ``imagesTr/CASE_0000.nii.gz`` with ``labelsTr/CASE.nii.gz``, and to test on
    ``imagesTs/`` with ``labelsTs/``; test images without label maps cannot be scored and are left alone.
    ``test_cases``: ids to test on instead, from either part; those of ``labelsTs`` not among them are left out.
    ``validation``: training cases to validate on; they are prepared like the others, and ``validation`` in the
    result's ``dataset.json`` names them for ``PreparedDataset.hold_out``. ``channel`` chooses one of several.

    ``values``: what a CT's gray values are. "auto" takes HU and refuses anything else by name; "hu" takes them as HU
    whatever they look like; "shifted": where none is negative, HU + 1024; "windowed": where all are 0 to 1 or 0 to 255,
    windowed already. ``plane``: "auto" prepares axial slices and refuses a scan whose own slices are thick and not
    axial; "stored" prepares its own slices, "axial" cuts axial ones all the same. ``flip``: how to turn scans whose
    headers lie (``contract.flips``), one for all or case -> flip.

    ``window``: the values that become 0 and 1. Without it, [-125, 275] HU for a channel called CT, and for any
    other the percentiles 0.5 and 99.5 of each volume, which its record then holds. A case without any labeled
    voxel is most often a mistake and stops the run, unless ``allow_empty``; run again, finished cases stay.
    Classes are numbered 1, 2, ... in the order of their ids. ``destination`` and ``workers`` as for
    ``scans.prepare_scans``. Raises InputError, in one line with the file's name, for whatever is wrong.
    """
    source, destination = Path(source), Path(destination)
    described = read_description(source)
    channel = _one_channel(source, described, channel)
    train = _pairs(source, "Tr", described, channel)
    if described.training is not None and described.training != len(train):
        raise InputError(
            f"{source / 'dataset.json'}: numTraining is {described.training}, but {source / 'imagesTr'} holds "
            f"{len(train)} cases; copy what is missing, or correct the number"
        )
    test = _pairs(source, "Ts", described, channel) if (source / "labelsTs").is_dir() else {}
    if both := train.keys() & test.keys():
        raise InputError(f"{source / 'imagesTs'}: case {min(both)} is in imagesTr too; keep it in one of the two")
    if test_cases is not None:
        chosen = check_cases(test_cases, [*train, *test], "test_cases")
        test = {case: (train.get(case) or test[case]) for case in chosen}
    train = {case: pair for case, pair in train.items() if case not in test}
    held_out = check_cases(validation, train, "validation")
    modality = described.channels[channel]
    recipe = ScanRecipe(
        modality=modality,
        window=choose_window(modality, window),
        classes={name: [number] for name, number in described.classes.items()},
        advice=f"{source / 'dataset.json'} does not name them; add them there, or correct the label map",
        allow_empty=allow_empty,
        values=check_values(values),
        plane=check_plane(plane),
        flips=case_flips(flip, [*train, *test]),
        otherwise="a channel of another name than CT in dataset.json is prepared by percentiles",
        facts={"source_format": "nnU-Net", "channel": channel, "validation": [*map(prepared_name, held_out)]},
    )
    parts = {"train": train, "test": test}
    jobs = [
        ScanJob(str(destination), case, part, image, label)
        for part, pairs in parts.items()
        for case, (image, label) in pairs.items()
    ]
    return prepare_scans(jobs, destination, recipe, workers=workers, progress=progress)


def read_description(source: Path) -> NnunetDescription:
    """Read ``dataset.json`` of an nnU-Net folder; InputError for what is missing there or cannot be used."""
    path = source / "dataset.json"
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give the folder that holds it and imagesTr/") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); correct it") from error
    content = content if isinstance(content, dict) else {}
    channels = content.get("channel_names", content.get("modality"))
    if not (isinstance(channels, dict) and channels and all(_is_number(key) for key in channels)):
        raise InputError(f'{path}: names no channels; add "channel_names": {{"0": "CT"}}')
    if "dataset" in content:
        raise InputError(f'{path}: lists its files under "dataset"; link them into imagesTr/ and labelsTr/ instead')
    ending = content.get("file_ending", ".nii.gz")
    if str(ending).lower() not in SUFFIXES:
        raise InputError(f"{path}: file_ending {ending!r} is no volume's; convert to one of {', '.join(SUFFIXES)}")
    training = content.get("numTraining")
    return NnunetDescription(
        {int(key): str(name) for key, name in channels.items()},
        read_classes(path, content),
        ending,
        training if isinstance(training, int) else None,
    )


def read_classes(path: Path, content: Mapping[str, Any]) -> dict[str, int]:
    """Return class -> id in the order of the ids, without background, from either version's ``labels``."""
    labels = content.get("labels")
    if not (isinstance(labels, dict) and labels):
        raise InputError(f'{path}: names no labels; add "labels": {{"background": 0, "liver": 1}}')
    if "regions_class_order" in content or any(isinstance(value, list) for value in labels.values()):
        raise InputError(f"{path}: its labels are regions that overlap; give each voxel one class, such as the parts")
    if all(_is_number(key) and isinstance(name, str) and not _is_number(name) for key, name in labels.items()):
        pairs = [(name, key) for key, name in labels.items()]
    else:
        pairs = list(labels.items())
    if not all(_is_number(number) for _, number in pairs):
        raise InputError(f"{path}: its labels are neither name -> id nor id -> name; correct them")
    ids = {str(name): int(number) for name, number in pairs}
    if not len(set(ids.values())) == len(ids) == len(pairs):
        raise InputError(f"{path}: two labels have the same name or the same id; give each its own")
    if "ignore" in ids:
        raise InputError(f"{path}: has an ignore label, which is not read here; leave such cases out or finish them")
    classes = dict(sorted(((name, number) for name, number in ids.items() if number), key=lambda item: item[1]))
    if not classes:
        raise InputError(f"{path}: names no label besides background; add the classes")
    return classes


def _one_channel(source: Path, described: NnunetDescription, channel: int | None) -> int:
    """Return the channel to prepare; InputError if it has to be chosen, or there is none of that number."""
    shown = ", ".join(f"{number} {name}" for number, name in described.channels.items())
    if channel is None and len(described.channels) > 1:
        raise InputError(
            f"{source / 'dataset.json'}: has {len(described.channels)} channels ({shown}) and the network takes one; "
            f"choose it with channel={min(described.channels)} or another"
        )
    channel = min(described.channels) if channel is None else channel
    if channel not in described.channels:
        raise InputError(f"channel={channel}: {source / 'dataset.json'} has {shown}; choose one of them")
    return channel


def _pairs(source: Path, part: str, described: NnunetDescription, channel: int) -> dict[str, tuple[Path, Path]]:
    """Return case id -> image and label map of a part ("Tr" or "Ts"), sorted; InputError if one is missing."""
    folder, ending = source / f"images{part}", described.ending
    images, labels = find_scans(folder), find_scans(source / f"labels{part}")
    for path in (*images.values(), *labels.values()):
        if not path.name.endswith(ending):
            raise InputError(f"{path}: dataset.json says that names end in {ending}; convert the file or correct that")
    if labels.keys() & images.keys() and len(described.channels) == 1:  # the Decathlon's names
        found, place = images, f"in {folder}"
    else:
        ours = re.compile(rf"(.+)_{channel:04d}")
        found = {match[1]: path for name, path in images.items() if (match := ours.fullmatch(name))}
        place = f"such as {folder / f'CASE_{channel:04d}{ending}'}"
    if not found:
        raise InputError(f"{folder}: holds no image {place}; check the folder")
    check_pairs(found, labels, place, f"in {source / f'labels{part}'}")
    return {case: (image, labels[case]) for case, image in found.items()}


def _is_number(value: object) -> bool:
    return str(value).isdecimal()
