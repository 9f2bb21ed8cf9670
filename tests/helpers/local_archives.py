"""What the archives of the tests hold, and a look into folders."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "img/img0001.nii.gz": b"one" * 5000,
    "img/mit Leerzeichen und Ä.txt": "größer".encode(),
    "label/日本.bin": bytes(range(256)) * 30,
    "empty.txt": b"",
}
KINDS = ["data.zip", "data.tar", "data.tar.gz"]


def visible(folder: Path) -> list[str]:
    """Return the names in a folder, hidden ones too, lock files apart."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))
