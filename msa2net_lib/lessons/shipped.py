"""What a wheel carries beside the library, and `msa2net lessons` copies: notebooks and what they read or link to.

That is measured results, two CT scans, lists of cases and task pages; and the workflow of `msa2net reproduce`. They lie
in the package as in a checkout (``setup.py`` puts them there), and are copied to where a reader works.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import atomic_path, writable_folder

LESSONS, EXAMPLE = "", "data"
"""Parts of what is carried: all of it, and the scans with the lists of cases."""


def copy_shipped(part: str, destination: str | Path) -> tuple[list[Path], list[Path]]:
    """Copy a part to a folder, with the folders in it; a file that is there and differs is kept.

    Args:
        part: `LESSONS` or `EXAMPLE`.
        destination: made if it is not there.

    Returns:
        The files that were written, and those that were kept.

    Raises:
        InputError: the library runs from a checkout, which has them itself; or nothing can be written there.
    """
    carried = Path(str(files("msa2net_lib"))) / "shipped" / part
    if not carried.is_dir():
        raise InputError(f"{carried}: not in this installation, a checkout's: work in its notebooks/ and data/")
    folder, written, kept = writable_folder(destination), [], []
    for path in sorted(path for path in carried.rglob("*") if path.is_file()):
        target, content = folder / path.relative_to(carried), path.read_bytes()
        if not target.exists():
            with atomic_path(target, len(content)) as temporary:
                temporary.write_bytes(content)
            written.append(target)
        elif not target.is_file() or target.read_bytes() != content:
            kept.append(target)
    return written, kept
