"""Under which terms each data set is had, as data; downloads show them before the first byte.

What could not be confirmed from the provider says so. The provider's page decides, and may have changed since.
"""

from __future__ import annotations

from dataclasses import dataclass

from msa2net_lib.errors import InputError


@dataclass(frozen=True)
class Terms:
    """The terms of one data set.

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


_BTCV_CITATION = (
    "Landman, Xu, Iglesias, Styner, Langerak and Klein, MICCAI Multi-Atlas Labeling Beyond the Cranial Vault, "
    "workshop and challenge, 2015, doi:10.7303/syn3193805"
)
_BTCV_PAGE = "https://www.synapse.org/Synapse:syn3193805"
_EXAMPLE_CITATION = "Wasserthal et al., TotalSegmentator, Radiology: Artificial Intelligence 2023"
_EXAMPLE_PAGE = "data/example_ct/README.md"

TERMS: dict[str, Terms] = {
    terms.name: terms
    for terms in (
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
        Terms(
            name="example_ct",
            title="two real abdominal CT scans with organ labels from TotalSegmentator's test files",
            license="Apache-2.0",
            access="ships with the workbook",
            forbidden="do not separate the files from their notice (the README beside them)",
            citation=_EXAMPLE_CITATION,
            page=_EXAMPLE_PAGE,
        ),
        Terms(
            name="virtual",
            title="synthetic patients: deformed from one real scan of example_ct",
            license="Apache-2.0, that of the scan they are made from",
            access="made here by the workbook",
            forbidden="do not present them, or scores on them, as patients; keep the notice of the scan with them",
            citation=_EXAMPLE_CITATION,
            page=_EXAMPLE_PAGE,
        ),
        Terms(
            name="skin",
            title="synthetic skin pictures with lesion masks, drawn by a program",
            license="Apache-2.0, that of the workbook",
            access="made here by the workbook",
            forbidden="do not present them, or scores on them, as dermoscopic images",
            citation="none beyond the workbook",
            page="LICENSE",
        ),
    )
}


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
