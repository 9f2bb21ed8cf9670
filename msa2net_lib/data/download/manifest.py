"""The manifest: size and sha256 of every file that was downloaded and verified, for all later downloads.

The first download of a file has nothing to be compared with; it is verified by its content and written down here.
Whoever downloads it again, on this machine or on another that has the manifest, must get the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json, sha256, write_text
from msa2net_lib.utils.locks import exclusive


@dataclass(frozen=True)
class Entry:
    """What is known of one file: size in bytes, sha256 (64 hexadecimal digits), address, day of verification."""

    size: int
    sha256: str
    source: str
    verified: str

    def __post_init__(self) -> None:
        if not (isinstance(self.size, int) and isinstance(self.sha256, str) and len(self.sha256) == 64):
            raise ValueError(f"size {self.size!r} and sha256 {self.sha256!r}")

    @classmethod
    def of(cls, path: Path, source: str, *, progress: bool = True) -> Entry:
        """Describe a file that was verified today."""
        return cls(path.stat().st_size, sha256(path, progress), source, datetime.now(UTC).date().isoformat())


def read_manifest(manifest: str | Path) -> dict[str, Entry]:
    """Return the entries by file name; none if there is no manifest yet. Raises: `InputError` if it is damaged."""
    manifest = Path(manifest)
    try:
        content = read_json(manifest)
        return {name: Entry(**fields) for name, fields in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{manifest}: not a manifest of downloads ({error!r}); restore the file") from error


def record(manifest: str | Path, name: str, entry: Entry) -> None:
    """Write down a file that had no entry yet. Raises: `InputError` if another run wrote another file's by now."""
    manifest = Path(manifest)
    with exclusive(manifest, wait=-1):
        entries = read_manifest(manifest)
        known = entries.setdefault(name, entry)
        if why := _difference(entry.size, entry.sha256, known, manifest):
            raise InputError(f"{name}: {why}; two downloads got different files")
        content = {name: asdict(entry) for name, entry in sorted(entries.items())}
        write_text(manifest, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def difference(path: Path, known: Entry, manifest: str | Path, *, progress: bool = True) -> str:
    """Say, with both values, in what a file differs from the manifest's; "" if in nothing."""
    size = path.stat().st_size
    # A wrong size says enough: reading ten gigabytes would tell no more.
    return _difference(size, sha256(path, progress) if size == known.size else "", known, manifest)


def _difference(size: int, digest: str, known: Entry, manifest: str | Path) -> str:
    if size != known.size:
        return f"has {size} bytes, but {manifest} says {known.size}"
    if digest != known.sha256:
        return f"has sha256 {digest}, but {manifest} says {known.sha256}"
    return ""
