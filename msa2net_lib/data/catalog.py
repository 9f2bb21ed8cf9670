"""The data sets by name: one table, from which options, help, terms, figures' lines and the doctor's lines derive.

A new data set takes an entry here, its own file with the function that opens it, and a test. The table is light to
import, so that ``msa2net --help`` answers at once: functions stand in it by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msa2net_lib.errors import InputError

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
    terms: tuple[Terms, ...]
    opener: str


_BTCV_CITATION = (
    "Landman, Xu, Iglesias, Styner, Langerak and Klein, MICCAI Multi-Atlas Labeling Beyond the Cranial Vault, "
    "workshop and challenge, 2015, doi:10.7303/syn3193805"
)
_BTCV_PAGE = "https://www.synapse.org/Synapse:syn3193805"
_EXAMPLE_CITATION = "Wasserthal et al., TotalSegmentator, Radiology: Artificial Intelligence 2023"
_EXAMPLE_PAGE = "data/example_ct/README.md"

DATASETS: dict[str, DatasetEntry] = {
    "virtual": DatasetEntry(
        kind="scans",
        short="virtual patients",
        description="6 + 4 virtual patients made from real patient 1, which ships",
        source="virtual patients made from one real CT; not comparable with the paper's Table 1",
        folder="virtual/prepared",
        remedy="lessons make it, or run msa2net prepare virtual",
        terms=(
            Terms(
                name="virtual",
                title="synthetic patients: deformed from one real scan of example_ct",
                license="Apache-2.0, that of the scan they are made from",
                access="made here by the workbook",
                forbidden="do not present them, or scores on them, as patients; keep the notice of the scan with them",
                citation=_EXAMPLE_CITATION,
                page=_EXAMPLE_PAGE,
            ),
        ),
        opener="example_ct:open_virtual",
    ),
    "patient2": DatasetEntry(
        kind="scans",
        short="one real CT with model-made labels",
        description="real patient 2, which ships: another scanner, contrast phase and field of view; test only",
        source="one real CT, model-made reference labels; not comparable with the paper's Table 1",
        folder="patient2",
        remedy="lessons make it from the shipped CT, or run msa2net prepare patient2",
        terms=(
            Terms(
                name="example_ct",
                title="two real abdominal CT scans with organ labels from TotalSegmentator's test files",
                license="Apache-2.0",
                access="ships with the workbook",
                forbidden="do not separate the files from their notice (the README beside them)",
                citation=_EXAMPLE_CITATION,
                page=_EXAMPLE_PAGE,
            ),
        ),
        opener="example_ct:open_patient2",
    ),
    "synapse": DatasetEntry(
        kind="scans",
        short="the Synapse multi-organ data",
        description="the Synapse multi-organ data (BTCV), which you bring: 18 + 12 cases",
        source="Synapse (BTCV)",
        folder="synapse",
        remedy="run msa2net prepare synapse with --source, --fetch-raw, --prepared or --download",
        terms=(
            Terms(
                name="synapse",
                title="BTCV abdomen, the raw scans of the Synapse multi-organ data",
                license="not confirmed here (lists of data sets elsewhere say CC BY 4.0): read it at the page",
                access="by yourself: an account at synapse.org, joining the challenge, accepting its terms",
                forbidden="do not pass the files on: everyone accepts the terms, not quoted here, for themselves",
                citation=_BTCV_CITATION,
                page=_BTCV_PAGE,
            ),
            Terms(
                name="synapse-prepared",
                title="the Synapse multi-organ data in TransUNet's form: the copy that MSA²Net's README links to",
                license="derived from BTCV, so BTCV's terms hold: read them at the page",
                access="a Google Drive link; accept BTCV's terms at synapse.org first",
                forbidden="in the words of the README of TransUNet's archive: for research only, do not redistribute",
                citation=f"{_BTCV_CITATION}; Chen et al., TransUNet, arXiv:2102.04306",
                page=_BTCV_PAGE,
            ),
        ),
        opener="synapse:open_synapse",
    ),
    "skin": DatasetEntry(
        kind="images",
        short="synthetic skin images",
        description="synthetic skin images, drawn by a program",
        source="synthetic skin, drawn by a program: no dermoscopic image",
        folder="skin/prepared",
        remedy="run msa2net prepare skin",
        terms=(
            Terms(
                name="skin",
                title="synthetic skin images with lesion masks, drawn by a program",
                license="Apache-2.0, that of the workbook",
                access="made here by the workbook",
                forbidden="do not present them, or scores on them, as dermoscopic images",
                citation="none beyond the workbook",
                page="LICENSE",
            ),
        ),
        opener="skin.prepare:open_skin",
    ),
    "isic": DatasetEntry(
        kind="images",
        short="ISIC 2018 task 1",
        description="ISIC 2018 task 1, which you bring or download: 2594 dermoscopic images",
        source="ISIC 2018 task 1; our own split, the published one is not told",
        folder="isic2018",
        remedy="run msa2net prepare isic --download, or --source DIR",
        terms=(
            Terms(
                name="isic2018",
                title="ISIC 2018 challenge, tasks 1 and 2: 2594 dermoscopic images with lesion masks",
                license="CC0 1.0 for tasks 1 and 2 (task 3, which is not used here, is CC BY-NC 4.0)",
                access="open download, no account",
                forbidden="the license forbids nothing; the provider asks for the citations",
                citation=(
                    "Codella et al., Skin Lesion Analysis Toward Melanoma Detection 2018, arXiv:1902.03368; "
                    "Tschandl et al., HAM10000, Scientific Data 5, 180161 (2018), doi:10.1038/sdata.2018.161; "
                    "MSK Dataset, arXiv:1710.05006"
                ),
                page="https://challenge.isic-archive.com/data/#2018",
            ),
        ),
        opener="isic:open_isic",
    ),
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
        terms=(),
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
