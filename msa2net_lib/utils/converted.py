"""The cache of converted networks: a folder each, computed with only as it was written, and a few of them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from msa2net_lib.utils.files import sha256, write_text

MODEL, _SUMS, _PARTIAL, _KEPT = "model.xml", "sha256", "openvino-partial-", re.compile(r"openvino-[0-9a-f]{32}")
MOST_KEPT = 4  # converted networks in the cache


def cache_folder() -> Path | None:
    """Return where converted networks are kept: the folder MSA2NET_CACHE, or msa2net among the user's caches.

    What is called ``openvino-...`` in it may be deleted at any time, and nothing else is touched. None where
    nothing is to be kept, with MSA2NET_CACHE empty, or can be.
    """
    given = os.environ.get("MSA2NET_CACHE")
    if given is not None:
        return Path(os.path.expanduser(given)) if given else None
    with suppress(RuntimeError):  # who has no home has no caches
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "msa2net"
    return None


def read_kept(kept: Path | None) -> Path | None:
    """The converted network of a folder of the cache, as OpenVINO's file, or None."""
    if kept is None:
        return None
    with suppress(Exception):  # not there, damaged, or deleted meanwhile: it is converted again
        if (kept / _SUMS).read_text() == _sums(kept):  # OpenVINO would compute with whatever weights it finds
            with suppress(OSError):  # somebody else's cache
                os.utime(kept)
            return kept / MODEL
    return None


def compile_beside(core: Any, model: Path, settings: dict[str, Any]) -> Any:
    """Compile a kept network, or return None. It takes a quarter of the time once it was done before.

    What OpenVINO finds out in compiling it puts beside the network, where it is sealed with the rest.
    """
    folder, before = model.parent, _found_out(model.parent)
    for cached in ({"CACHE_DIR": str(folder), "CACHE_MODE": "OPTIMIZE_SIZE"}, {}):  # which not all versions take
        with suppress(Exception):
            compiled = core.compile_model(model, "CPU", settings | cached)
            if _found_out(folder) != before:
                with suppress(Exception):
                    write_text(folder / _SUMS, _sums(folder))
            return compiled
    return None


def keep(model: Any, kept: Path | None) -> None:
    """Put a converted network into the cache, whole or not at all, and throw out what was not used for longest."""
    if kept is None:
        return
    from openvino import save_model

    with suppress(Exception):  # a full disk, or a folder of somebody else's: it is only a cache
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(kept, ignore_errors=True)  # damaged, if there is one
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=kept.parent, ignore_cleanup_errors=True) as new:
            whole = Path(new, "whole")
            save_model(model, whole / MODEL, compress_to_fp16=False)
            (whole / _SUMS).write_text(_sums(whole))
            whole.rename(kept)
        for left in kept.parent.glob(f"{_PARTIAL}*"):
            if time.time() - left.stat().st_mtime > 3600:  # of a process that was killed: to write takes seconds
                shutil.rmtree(left, ignore_errors=True)
        ours = (path for path in kept.parent.iterdir() if _KEPT.fullmatch(path.name))  # a named folder may hold more
        for old in sorted(ours, key=os.path.getmtime)[:-MOST_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _found_out(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.blob")}


def _sums(folder: Path) -> str:
    files = sorted([*folder.glob("model.*"), *folder.glob("*.blob")])
    return "".join(f"{sha256(path)}  {path.name}\n" for path in files)
