"""Files that a program makes, with a record beside them of all that decides them and of their checksums.

A stopped run goes on where it was, and altered files are made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json, remove_partials, sha256, write_text


class MadeFiles:
    """The record, a JSON file, of items that are made of some files each.

    plan: what decides all of them. items: name -> what else decides it. files: name -> its files, by kind. said: what
    the record says besides. ``made`` has, for each item that is there and as planned, what `add` was told of it.
    Raises: `InputError` for a damaged record, or files without one, which something else put there.
    """

    def __init__(
        self,
        record: Path,
        plan: Mapping[str, Any],
        items: Mapping[str, Any],
        files: Callable[[str], Mapping[str, Path]],
        **said: str,
    ) -> None:
        self.record, self.files, self.said = record, files, said
        self.plan, self.items = json.loads(json.dumps([plan, items]))  # tuples become lists, as they will read back
        self._stored = self._read()
        same, before = self._stored["plan"] == self.plan, self._stored["items"]
        self.made: dict[str, dict[str, Any]] = {
            name: entry
            for name, entry in self._stored["made"].items()
            if same and name in self.items and before.get(name) == self.items[name] and self._is_whole(name, entry)
        }

    @property
    def missing(self) -> list[str]:
        """The items that are to be made, in their order."""
        return [name for name in self.items if name not in self.made]

    @property
    def is_complete(self) -> bool:
        """Whether all is there, and nothing else."""
        return not self.missing and self._stored == self._content()

    def clear(self) -> None:
        """Remove what is altered, left half written or no longer wanted, before anything is made."""
        for name in {*self._stored["items"], *self.items} - {*self.made}:
            for path in self.files(name).values():
                path.unlink(missing_ok=True)
        remove_partials(*{path.parent for path in self.record.parent.rglob(".partial-*")}, claimed=True)
        self.save()

    def add(self, name: str, facts: Mapping[str, Any] | None = None) -> None:
        """Take up an item whose files have been written."""
        self.made[name] = {**(facts or {}), "sha256": {kind: sha256(path) for kind, path in self.files(name).items()}}

    def save(self) -> None:
        """Write the record."""
        write_text(self.record, json.dumps(self._content(), indent=1) + "\n")

    def _content(self) -> dict[str, Any]:
        return {**self.said, "plan": self.plan, "items": self.items, "made": dict(sorted(self.made.items()))}

    def _read(self) -> dict[str, Any]:
        if not self.record.exists():
            folders = {path.parent for name in self.items for path in self.files(name).values()}
            if any(any(folder.glob("*")) for folder in folders):
                raise InputError(f"{self.record.parent}: holds files but no {self.record.name}; choose an empty folder")
            return {"plan": {}, "items": {}, "made": {}}
        try:
            record = read_json(self.record)
            if not all(isinstance(record[part], dict) for part in ("plan", "items", "made")):
                raise TypeError("not the parts of a record")
            return record
        except (ValueError, KeyError, TypeError) as error:
            what = "not a record of what was made, or an earlier version's"
            raise InputError(f"{self.record}: {what}; delete {self.record.parent} or choose an empty folder") from error

    def _is_whole(self, name: str, entry: Mapping[str, Any]) -> bool:
        return all(path.is_file() and sha256(path) == entry["sha256"][kind] for kind, path in self.files(name).items())
