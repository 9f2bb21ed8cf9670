"""``dataset.json``, by which we tell what we prepared ourselves: its classes and where its cases come from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError

_NAME = "dataset.json"


def read_manifest(root: Path) -> dict[str, Any]:
    """Return the content of a folder's ``dataset.json``, empty if there is none.

    Raises: `InputError` if it is no JSON object, or one of our own whose `cases` or `validation` are none.
    """
    path = root / _NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8-sig")) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); run prepare_synapse once more") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path}: should hold one JSON object; run prepare_synapse once more")
    if prepared_here(manifest):
        _check_cases(path, manifest)
    return manifest


def prepared_here(manifest: Mapping[str, Any]) -> bool:
    """Tell whether a folder with this ``dataset.json`` is our own preparation, labels and orientation known."""
    return "organs" in manifest or manifest.get("label_scheme") == "A"


def organ_ids(manifest: Mapping[str, Any], root: Path) -> dict[str, int]:
    """Return organ -> label id, in the order of the ids; scheme A's eight if the manifest names none.

    Raises InputError unless the ids are 1 to K without gaps.
    """
    stored = manifest.get("organs", {organ: index for index, organ in enumerate(ORGANS, start=1)})
    ids = sorted(stored.values()) if isinstance(stored, dict) and all(type(v) is int for v in stored.values()) else []
    if not ids or ids != list(range(1, len(ids) + 1)) or len(ids) > 255:
        raise InputError(f"{root / _NAME}: `organs` should map names to ids 1, 2, ...; prepare the data again")
    return dict(sorted(stored.items(), key=lambda item: item[1]))


def manifest_spacing(manifest: Mapping[str, Any], case: str) -> tuple[float, float, float] | None:
    """Return the spacing (z, y, x) in mm of a case that we prepared, None where none is recorded."""
    if not prepared_here(manifest):
        return None
    stored = manifest.get("cases", {}).get(case, {}).get("spacing_mm")
    return None if stored is None else (float(stored[0]), float(stored[1]), float(stored[2]))


def recorded_validation(manifest: Mapping[str, Any]) -> list[str]:
    """Return the training cases that were named to validate on when we prepared them, empty if none were."""
    return list(manifest.get("validation", ())) if prepared_here(manifest) else []


def _check_cases(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raise InputError unless what is recorded of our cases can be read."""
    cases, validation = manifest.get("cases", {}), manifest.get("validation", [])
    if not (isinstance(cases, dict) and all(isinstance(case, dict) for case in cases.values())):
        raise InputError(f"{path}: `cases` should map names to what is known of them; prepare the data again")
    for name, case in cases.items():
        if case.get("spacing_mm") is not None and not _is_spacing(case["spacing_mm"]):
            raise InputError(f"{path}: `spacing_mm` of {name} should be three positive mm; prepare the data again")
    if not (isinstance(validation, list) and all(isinstance(name, str) for name in validation)):
        raise InputError(f"{path}: `validation` should list names of training cases; prepare the data again")


def _is_spacing(stored: Any) -> bool:
    if not (isinstance(stored, list) and len(stored) == 3):
        return False
    return all(type(value) in (int, float) and 0 < value < math.inf for value in stored)
