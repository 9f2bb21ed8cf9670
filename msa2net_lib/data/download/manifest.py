"""The manifest: size and sha256 of every file that was downloaded and verified, for all later downloads.

The first download of a file has nothing to be compared with; it is verified by its content and written down here.
Whoever downloads it again, on this machine or on another that has the manifest, must get the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import write_text
from msa2net_lib.utils.locks import exclusive
from msa2net_lib.utils.progress import progress_bar

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """What is known of one file: size in bytes, sha256 (64 hexadecimal digits), address, day of verification."""

    size: int
    sha256: str
    source: str
    verified: str

    @classmethod
    def of(cls, path: Path, source: str, *, progress: bool = True) -> Entry:
        """Describe a file that was verified today."""
        return cls(path.stat().st_size, checksum(path, progress=progress), source, datetime.now(UTC).date().isoformat())


def read_manifest(manifest: str | Path) -> dict[str, Entry]:
    """Return the entries by file name; none if there is no manifest yet. Raises: `InputError` if it is damaged."""
    manifest = Path(manifest)
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        return {name: _entry(**fields) for name, fields in content.items()}
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
        if why := _difference(entry, known, manifest):
            raise InputError(f"{name}: {why}; two downloads got different files")
        write_text(manifest, _text(entries))


def difference(path: Path, known: Entry, manifest: str | Path, *, progress: bool = True) -> str:
    """Say, with both values, in what a file differs from the manifest's; "" if in nothing."""
    size = path.stat().st_size
    # A wrong size says enough: reading ten gigabytes would tell no more.
    digest = checksum(path, progress=progress) if size == known.size else ""
    return _difference(Entry(size, digest, "", ""), known, manifest)


def checksum(path: Path, *, progress: bool = True) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits; with a progress bar, for files of many gigabytes."""
    digest = hashlib.sha256()
    options = {"total": path.stat().st_size, "unit": "B", "unit_scale": True, "enabled": progress}
    with open(path, "rb") as file, progress_bar(desc="checksum", **options) as bar:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _difference(found: Entry, known: Entry, manifest: str | Path) -> str:
    if found.size != known.size:
        return f"has {found.size} bytes, but {manifest} says {known.size}"
    if found.sha256 != known.sha256:
        return f"has sha256 {found.sha256}, but {manifest} says {known.sha256}"
    return ""


def _entry(size: int, sha256: str, source: str, verified: str) -> Entry:
    if not (isinstance(size, int) and isinstance(sha256, str) and len(sha256) == 64):
        raise ValueError(f"size {size!r} and sha256 {sha256!r}")
    return Entry(size, sha256, source, verified)


def _text(entries: Mapping[str, Entry]) -> str:
    content = {name: asdict(entry) for name, entry in sorted(entries.items())}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
