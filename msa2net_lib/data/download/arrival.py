"""What every download shares: terms first, one run at a time, verification, and only then the file's name.

What has come so far lies in a hidden folder beside the destination, ``.download-NAME``. It outlives Ctrl-C, kill and
a full disk, and the same command goes on from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msa2net_lib.data.catalog import show_terms
from msa2net_lib.data.download.archives import verify
from msa2net_lib.data.download.manifest import Entry, difference, read_manifest, record
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import DiskFullError, is_disk_full
from msa2net_lib.utils.locks import exclusive
from msa2net_lib.utils.progress import progress_bar

AGAIN = "run the same command again"


@dataclass(frozen=True)
class Order:
    """One file to get: where from, where to, and all that decides whether it is the right one.

    source: its address, as messages and the manifest have it. dataset: the name of its terms in ``data.catalog``.
    """

    source: str
    destination: Path
    manifest: Path
    dataset: str | None
    progress: bool

    @property
    def folder(self) -> Path:
        """The hidden folder of what has come so far."""
        return self.destination.with_name(f".download-{self.destination.name}")

    @property
    def arrived(self) -> Path:
        """The whole file, not yet verified."""
        return self.folder / self.destination.name

    @property
    def known(self) -> Entry | None:
        """What the manifest says about the file."""
        return read_manifest(self.manifest).get(self.destination.name)

    def check_size(self, offered: int | None) -> None:
        """Refuse a file of the wrong size before it comes. Raises: `InputError`."""
        known = self.known
        if known and offered not in (None, known.size):
            why = f"{self.source} offers {offered} bytes, but {self.manifest} says {known.size}"
            raise InputError(f"{self.destination}: {why}; the file there is another one, find the right one")

    def bar(self, total: int | None, begun: int) -> Any:
        """Return the progress bar of a transfer that begins at byte ``begun`` of ``total``."""
        name = self.destination.name
        return progress_bar(total=total, initial=begun, desc=name, unit="B", unit_scale=True, enabled=self.progress)

    def stopped(self, why: str) -> InputError:
        """Return the error for a download that can go on from where it is."""
        return InputError(f"{self.destination}: {why}; what has come is kept, {AGAIN} to go on")


def obtain(order: Order, transfer: Callable[[Order], None], say: Callable[[str], None]) -> Path:
    """Return the destination, verified; without any request if it is there, else by ``transfer`` to ``arrived``.

    Raises: `InputError` for a file, found or fetched, that is not the manifest's; or, when it has no entry yet, is no
    sound archive. What was fetched and is wrong is removed.
    """
    if order.destination.exists():
        _accept(order)
        if order.folder.exists():  # the user was quicker, by hand
            with suppress(InputError), exclusive(order.destination):
                shutil.rmtree(order.folder, ignore_errors=True)
        return order.destination
    terms = show_terms(order.dataset) if order.dataset else f"{order.source}: read its terms there before you use it"
    with exclusive(order.destination):
        if order.destination.exists():  # a run that has just ended brought it
            _accept(order)
            return order.destination
        try:
            order.folder.mkdir(exist_ok=True)
            if not order.arrived.exists():
                say(terms)
                transfer(order)
            if why := _verify(order, order.arrived):
                shutil.rmtree(order.folder, ignore_errors=True)
                why = f"what came from {order.source} is not it and was removed: {why}"
                raise InputError(f"{order.destination}: {why}; {AGAIN} to start over")
            order.arrived.replace(order.destination)
            shutil.rmtree(order.folder, ignore_errors=True)
        except (OSError, DiskFullError) as error:
            full = is_disk_full(error)
            why = "the disk is full, make room" if full else f"cannot be written ({error})"
            raise order.stopped(why) from error
    return order.destination


def _accept(order: Order) -> None:
    """Verify a file that is at the destination already: ours from before, or one that the user put there."""
    if why := _verify(order, order.destination):
        raise InputError(f"{order.destination}: {why}; move it away and {AGAIN} to download it")


def _verify(order: Order, path: Path) -> str:
    """Say what is wrong with a file, "" if nothing is; the first good one of its name enters the manifest."""
    if not path.is_file():
        return "is not a file"
    if known := order.known:
        return difference(path, known, order.manifest, progress=order.progress)
    try:
        verify(path, progress=order.progress)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    record(order.manifest, order.destination.name, Entry.of(path, order.source, progress=order.progress))
    return ""
