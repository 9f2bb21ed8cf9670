"""The data sets by name: one table, from which options, help, terms, figures' lines and the doctor's lines derive.

A new data set takes an entry in `tables/datasets.toml`, its own file with the function that opens it, and a test. The
table is light to import, so that ``msa2net --help`` answers at once: functions stand in it by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msa2net_lib.errors import InputError
from msa2net_lib.utils.tables import read_table

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.images.dataset import ImageDataset


@dataclass(frozen=True)
class Terms:
    """The terms of one data set. The provider's page decides; what could not be confirmed there says so.

    license, access: under which one, and how one gets it. forbidden: what may not be done with it. citation: what to
    name in a publication. page: where the provider states all this.
    """

    name: str
    title: str
    license: str
    access: str
    forbidden: str
    citation: str
    page: str


@dataclass(frozen=True)
class DatasetEntry:
    """One data set.

    short: in two or three words, as "not comparable: virtual patients" says it. description: in a line. source: what
    figures say below. folder: where it is prepared, within the data folder. remedy: what to do where it is not there.
    terms: of the files it is made from. opener: "module:function" below `msa2net_lib.data`, called with the data
    folder, ``progress`` and its own options; it prepares what can be prepared here.
    """

    kind: Literal["scans", "images"]
    short: str
    description: str
    source: str
    folder: str
    remedy: str
    opener: str
    terms: tuple[Terms, ...] = ()


DATASETS: dict[str, DatasetEntry] = {
    name: DatasetEntry(**fields | {"terms": tuple(Terms(**terms) for terms in fields.get("terms", ()))})
    for name, fields in read_table("datasets").items()
}
"""Name -> data set."""

TERMS: dict[str, Terms] = {terms.name: terms for entry in DATASETS.values() for terms in entry.terms}
"""Name -> terms; downloads show them before the first byte."""


def list_datasets() -> dict[str, str]:
    """List the data sets that `open_dataset` opens.

    Returns:
        Name -> description, in a line.

    Example:
        >>> from msa2net_lib import list_datasets
        >>> list_datasets()["synapse"]
        'the Synapse multi-organ data (BTCV), which you bring: 18 + 12 cases'

    Source: `data.catalog.DATASETS`.
    """
    return {name: entry.description for name, entry in DATASETS.items()}


def open_dataset(name: str, data_dir: str | Path = "data", *, progress: bool = True, **options: Any) -> Any:
    """Open a data set of scans or images by name; those made from what ships are prepared on first use.

    Args:
        name: one of `list_datasets`, or the folder of data of your own that `msa2net prepare` wrote.
        data_dir: the folder that holds all data.
        progress: whether to show bars while it is prepared.
        options: its own: ``train`` and ``test`` patients of "virtual"; ``count`` images of "skin" at ``size`` pixels.

    Returns:
        A `data.datasets.PreparedDataset` (scans) or a `data.images.dataset.ImageDataset`.

    Raises:
        InputError: for an unknown name, or data that are not there and cannot be made here.

    Example:
        >>> from msa2net_lib import open_dataset
        >>> dataset = open_dataset("synapse", "data")
        >>> dataset.test_cases, dataset.class_names[0]
        (['case0008'], 'aorta')

    Source: `data.catalog.DATASETS`.
    """
    entry = dataset_entry(name)
    if not entry.opener:
        if options:
            raise InputError(f"{', '.join(options)}: no options of {name}, which is prepared already; leave them out")
        return open_prepared(name)
    module, _, function = entry.opener.partition(":")
    opener = getattr(import_module(f"msa2net_lib.data.{module}"), function)
    return opener(Path(data_dir), progress=progress, **options)


def is_prepared(name: str) -> bool:
    """Whether a name is that of a folder with prepared data."""
    return any(Path(name, file).is_file() for file in ("dataset.json", "contract.json"))


def dataset_entry(name: str) -> DatasetEntry:
    """Return what is known of a data set by name, or of your own by its folder. Raises: `InputError` for neither."""
    if name in DATASETS:
        return DATASETS[name]
    if not is_prepared(name):
        known = ", ".join(map(repr, DATASETS))
        raise InputError(f"data set={name!r} is unknown: use one of {known}, or a folder that `msa2net prepare` wrote")
    from msa2net_lib.data.prepared_files import IMAGES_KIND, read_manifest

    folder = Path(name).resolve()
    called = folder.parent.name if folder.name == "prepared" else folder.name
    return DatasetEntry(
        kind="images" if read_manifest(Path(name)).get("kind") == IMAGES_KIND else "scans",
        short=f"your own data ({called})",
        description=f"data of your own, prepared in {name}",
        source=f"your own data ({called}); not comparable with the paper",
        folder=name,
        remedy="run msa2net prepare scans, nnunet or images",
        opener="",
    )


def open_prepared(root: str | Path) -> PreparedDataset | ImageDataset:
    """Open a prepared folder of either kind: scans or images. Raises: `InputError` as their ``open``."""
    from msa2net_lib.data.datasets import PreparedDataset
    from msa2net_lib.data.images.dataset import ImageDataset
    from msa2net_lib.data.prepared_files import IMAGES_KIND, read_manifest

    inside = Path(root) / "prepared"  # where cohorts and skin images keep theirs, beside what it was made from
    if not (Path(root) / "dataset.json").is_file() and (inside / "dataset.json").is_file():
        raise InputError(f"{root}: holds no prepared data, but {inside} does; give that folder")
    return (
        ImageDataset.open(root) if read_manifest(Path(root)).get("kind") == IMAGES_KIND else PreparedDataset.open(root)
    )


def show_terms(name: str) -> str:
    """Return the terms of a data set as lines to print. Raises: `InputError` for an unknown name."""
    if name not in TERMS:
        raise InputError(f"data set {name!r} has no terms here: use one of {', '.join(TERMS)}")
    terms = TERMS[name]
    lines = {
        "license": terms.license,
        "access": terms.access,
        "mind": terms.forbidden,
        "cite": terms.citation,
        "stated at": terms.page,
    }
    return "\n".join([f"{name}: {terms.title}", *(f"  {key + ':':<10} {text}" for key, text in lines.items())])
