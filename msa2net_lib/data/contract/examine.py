"""The data contract: examine prepared data, say what was found, and record how they are to be read.

Data that others prepared carry no word on their label numbering and orientation. Both are found out from the
organs, or stated by the user, and never guessed: where the organs do not say and the user does not either,
nothing is recorded, what an earlier examination recorded is withdrawn, and the labels cannot be loaded.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from msa2net_lib.data.contract.detection import detect_orientation, detect_scheme, scheme_organs
from msa2net_lib.data.contract.flips import parse_flip
from msa2net_lib.data.contract.reading import FILE_NAME, RAW, Reading, StoredFiles, check_scheme, contract_text
from msa2net_lib.data.contract.rows import (
    Row,
    array_rows,
    file_rows,
    judge_flip,
    judge_scheme,
    label_row,
    organ_rows,
)
from msa2net_lib.data.contract.survey import Survey, survey
from msa2net_lib.data.labels import BTCV_IDS, ORGANS
from msa2net_lib.data.prepared_files import find_prepared
from msa2net_lib.data.splits import SYNAPSE_CASES
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import DiskFullError, write_text

WIDTH = 120
_COLUMNS = {"result": 13, "asked": 17, "expected": 36, "found": 0}


@dataclass(frozen=True)
class Contract:
    """What was found in a folder of prepared data.

    own: whether this project prepared it. label_scheme and flip: how its labels are to be read and its arrays to be
    turned, None where that could not be established; ``established`` says how it was, for each. For data of our
    own they are "A" (where the organs are those of scheme A) and "none". earlier: whether an earlier examination
    of data of others left a ``contract.json``.
    """

    root: Path
    own: bool
    rows: tuple[Row, ...]
    files: StoredFiles
    label_scheme: str | None
    flip: str | None
    established: tuple[str, str]
    earlier: bool = False

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong and it is known how to read the data."""
        known = self.own or (self.label_scheme is not None and self.flip is not None)
        return known and all(row.result != "wrong" for row in self.rows)

    def __str__(self) -> str:
        whose = "prepared here (dataset.json)" if self.own else "prepared by others"
        lines = [*_wrapped(f"{self.root}: {whose}"), _line(dict(zip(_COLUMNS, _COLUMNS, strict=True)))]
        for row in self.rows:
            lines += _row_lines(row)
        return "\n".join([*lines, *_wrapped(self._conclusion())])

    def record(self) -> Path | None:
        """Leave beside the data what this examination found: ``contract.json`` if it passed, none if it did not.

        Returns the file that was written. Data of our own need none and are left as they are. Raises InputError
        for a folder that cannot be written to.
        """
        if self.own:
            return None
        path = self.root / FILE_NAME
        try:
            if self.passed and self.label_scheme is not None and self.flip is not None:
                return write_text(path, self._text(Reading(self.label_scheme, self.flip, self.files)))
            path.unlink(missing_ok=True)
            return None
        except DiskFullError:
            raise
        except (OSError, InputError) as error:  # of unlink, and of write_text, which cannot know this advice
            reason = getattr(error.__cause__ or error, "strerror", None) or error
            what = "written" if self.passed else "removed, although it no longer holds"
            advice = "change its permissions, or copy the data to a folder of your own"
            raise InputError(f"{path}: cannot be {what} ({reason}); {advice}") from error

    def write(self) -> Path | None:
        """Do as ``record``, and raise InputError too for a contract that did not pass."""
        path = self.record()
        if not self.passed:
            raise InputError(f"{self.root}: {self._conclusion()}; no {FILE_NAME} was written")
        return path

    def _text(self, reading: Reading) -> str:
        details = dict(zip(("label_scheme_from", "flip_from"), self.established, strict=True))
        return contract_text(reading, {**details, "rows": [asdict(row) for row in self.rows]})

    def _conclusion(self) -> str:
        if self.passed:
            read = f": labels are read as scheme {self.label_scheme}, arrays with flip {self.flip}"
            return "passed" + read * (not self.own)
        problems = [row.what for row in self.rows if row.result == "wrong"]
        if not self.own:
            problems += ["label scheme"] * (self.label_scheme is None) + ["orientation"] * (self.flip is None)
        withdrawn = f"; the {FILE_NAME} from before no longer holds" if self.earlier else ""
        return f"not passed: {', '.join(dict.fromkeys(problems))}{withdrawn}"


def examine(
    root: str | Path, *, label_scheme: str | None = None, flip: str | None = None, progress: bool = True
) -> Contract:
    """Examine a folder of prepared data, whoever prepared it; reads every file once, with little memory.

    label_scheme ("A", "B", "C" or "raw") and flip (see ``data.contract.flips``) are what the user knows: needed where
    the organs do not say it, refused where they say otherwise. Damaged files, and what is wrong within them,
    become rows. Writes nothing: ``Contract.record`` does. Raises: `InputError` for a folder that holds no prepared
    data, and for arguments that are none.
    """
    label_scheme = None if label_scheme is None else check_scheme(label_scheme)
    flip = None if flip is None else parse_flip(flip)
    prepared = find_prepared(root)
    own = prepared.is_own
    if own and (label_scheme is not None or flip is not None):
        again = "where headers lie, prepare the scans again with --flip (--source DIR --flip VALUE)"
        raise InputError(f"{prepared.root}: was prepared here, so that its labels and axes are known; {again}")
    found = survey(prepared, progress)
    names = {case.name for case in found.cases}
    published = names <= {f"case{case}" for case in SYNAPSE_CASES} and (not own or len(names) == len(SYNAPSE_CASES))
    rows = [*file_rows(found, published), *array_rows(found, published)]
    earlier = not own and (prepared.root / FILE_NAME).is_file()
    contract = Contract(prepared.root, own, tuple(rows), found.files, None, None, ("", ""), earlier)
    return _judge_own(contract, found, published) if own else _judge(contract, found, published, label_scheme, flip)


def _judge_own(contract: Contract, found: Survey, published: bool) -> Contract:
    """Add the rows on labels and orientation of data of our own: do the organs agree with ``dataset.json``?"""
    manifest = found.prepared.manifest
    organs = dict(enumerate(found.prepared.class_names, start=1))
    grids = {name: case.get("grid", {}) for name, case in manifest.get("cases", {}).items()}
    axial = [case for case in found.cases if case.slices and grids.get(case.name, {}).get("axes", "LPS") == "LPS"]
    shapes = {case.name: case.shapes for case in axial}  # of slices in another plane the organs tell nothing here
    what, expected = "label scheme", "as dataset.json says"
    is_scheme_a = found.prepared.class_names == ORGANS
    finding = detect_scheme(shapes)
    if not is_scheme_a:
        scheme_row = Row(what, expected, ", ".join(organs.values()), "not checked")
    elif axial and (against := finding.against("A")):
        scheme_row = Row(what, expected, against, "wrong", "look at the source's label ids and prepare it again")
    else:
        said = "A, and the organs agree" if finding.best == "A" else "A; the organs do not tell it clearly"
        scheme_row = Row(what, expected, said, details=finding.evidence)
    where = detect_orientation(shapes, organs)
    what, expected = "orientation", "z up, y to the back, x to the left"
    if against := where.against("none"):
        turn = where.best or f"CASE={where.in_plane or 'VALUE'}"
        remedy = f"look at an image: if the source's headers are wrong, prepare it again with --flip {turn}"
        flip_row = Row(what, expected, against, "wrong", remedy)
    elif where.best == "none":
        flip_row = Row(what, expected, "from the files' headers; the organs agree", details=where.evidence)
    else:
        flip_row = Row(what, expected, f"from the files' headers; {where.reason}", "not checked")
    rows = [label_row(found, len(organs), "the organs of dataset.json"), scheme_row, flip_row]
    rows += organ_rows(found, organs, published, manifest.get("label_scheme") == "A")
    return replace(
        contract,
        rows=(*contract.rows, *rows),
        label_scheme="A" if is_scheme_a else None,
        flip="none",
        established=("dataset.json", "dataset.json"),
    )


def _judge(contract: Contract, found: Survey, published: bool, label_scheme: str | None, flip: str | None) -> Contract:
    """Add the rows on labels and orientation of data of others, and establish how they are to be read."""
    again = f"run `msa2net prepare synapse --prepared {contract.root}`"
    shapes = {case.name: case.shapes for case in found.cases if case.slices}
    finding = detect_scheme(shapes)
    scheme_row, scheme, scheme_from = judge_scheme(finding, label_scheme, again)
    raw = RAW in (scheme, *finding.behind)
    highest, meaning = (max(BTCV_IDS.values()), "raw BTCV ids") if raw else (len(ORGANS), "the eight organs")
    rows = [label_row(found, highest, meaning), scheme_row]
    chosen, flip_from = None, ""
    if scheme is None:
        rows.append(Row("orientation", "known", "needs the label scheme first", "not checked"))
    else:
        organs = scheme_organs(scheme)
        again = again.removesuffix("`") + (f" --label-scheme {label_scheme}" if label_scheme else "") + " --flip "
        flip_row, chosen, flip_from = judge_flip(detect_orientation(shapes, organs), flip, again)
        rows += [flip_row, *organ_rows(found, organs, published, hounsfield=True)]
    rows = (*contract.rows, *rows)
    return replace(contract, rows=rows, label_scheme=scheme, flip=chosen, established=(scheme_from, flip_from))


def _row_lines(row: Row) -> Iterator[str]:
    """One row as text: its cells side by side, then details and remedy below."""
    widths = {name: width - 1 if width else WIDTH - sum(_COLUMNS.values()) for name, width in _COLUMNS.items()}
    cells = {"result": row.result, "asked": row.what, "expected": row.expected, "found": row.found}
    columns = {name: textwrap.wrap(text, widths[name]) or [""] for name, text in cells.items()}
    for index in range(max(map(len, columns.values()))):
        yield _line({name: lines[index] if index < len(lines) else "" for name, lines in columns.items()})
    indent = " " * _COLUMNS["result"]
    for detail in row.details:
        yield from _wrapped(detail, f"{indent}. ", f"{indent}  ")
    if row.remedy:
        yield from _wrapped(row.remedy, f"{indent}-> ", f"{indent}   ")


def _line(cells: dict[str, str]) -> str:
    return "".join(cells[name].ljust(width) for name, width in _COLUMNS.items()).rstrip()


def _wrapped(text: str, first: str = "", other: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=other)
