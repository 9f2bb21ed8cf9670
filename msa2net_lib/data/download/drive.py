"""Downloads from Google Drive, by ``gdown``; and what to do by hand when Drive refuses."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import requests

from msa2net_lib.data.download.archives import verify
from msa2net_lib.data.download.arrival import AGAIN, Order, obtain
from msa2net_lib.data.download.fetch import TIMEOUT_S, reason
from msa2net_lib.errors import InputError

START_S = 120.0
"""How long Drive may take until the first byte: gdown would follow its confirmation pages for ever."""
RETRIES = 3
"""How often gdown takes up a broken transfer."""


def fetch_drive(
    file_id: str,
    destination: str | Path,
    *,
    manifest: str | Path,
    progress: bool = True,
    dataset: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Download an archive that Google Drive shares with everyone; the other arguments are ``fetch``'s.

    A file that you saved at ``destination`` by hand is verified in the same way and used. Raises: as ``fetch``;
    when Drive refuses, the `InputError` says what Drive said and how to get the file by hand.
    """
    if not re.fullmatch(r"[-\w]+", file_id):
        raise InputError(f"Google Drive id {file_id!r}: give the letters after id= in the file's address")
    url = f"https://drive.google.com/uc?id={file_id}"
    order = Order(url, Path(destination), Path(manifest), dataset, progress)
    return obtain(order, lambda order: _transfer(order, file_id), say)


def _transfer(order: Order, file_id: str) -> None:
    try:
        from gdown.exceptions import DownloadCancelled, DownloadError
    except ImportError as error:  # absent, or the one that Colab brings, which neither goes on nor can be stopped
        raise _refused(order, "gdown 6.4 or newer is not installed: run pip install 'gdown>=6.4'") from error
    begun = sorted(order.folder.glob("*.part"))  # gdown's own name, of which there must be one
    try:
        _download(order, file_id, begun[0].stat().st_size if begun else 0)
    except DownloadError as error:
        if not (begun and "byte range" in str(error)):
            raise _refused(order, _said(error)) from error
        # Drive has no more to send, or no longer this file.
        if _is_whole(begun[0]):
            begun[0].replace(order.arrived)
            return
        begun[0].unlink()
        _transfer(order, file_id)
    except DownloadCancelled as error:
        raise _refused(order, f"nothing in {START_S:g} seconds") from error
    except requests.HTTPError as error:
        raise _refused(order, str(error).partition(" for url")[0]) from error
    except requests.RequestException as error:
        raise _refused(order, f"no connection ({reason(error)})") from error
    except KeyError as error:  # gdown expects the headers that Drive always sends
        raise _refused(order, "an answer that is not Drive's") from error


def _download(order: Order, file_id: str, begun: int) -> None:
    """Let gdown write to ``arrived``; ``begun`` bytes of it have come before."""
    import gdown

    cancel = threading.Event()
    timer = threading.Timer(START_S, cancel.set)
    timer.daemon = True
    bar = None
    with ExitStack() as stack:
        stack.callback(timer.cancel)
        timer.start()

        def advance(done: int, total: int | None) -> None:
            nonlocal bar
            if bar is None:
                timer.cancel()
                order.check_size(total)
                bar = stack.enter_context(order.bar(total, begun))
            bar.update(done - bar.n)

        gdown.download(
            id=file_id,
            output=str(order.arrived),
            quiet=True,
            resume=True,
            use_cookies=False,
            timeout=TIMEOUT_S,
            retries=RETRIES,
            progress=advance,
            cancel=cancel,
        )


def _is_whole(archive: Path) -> bool:
    try:
        verify(archive, progress=False)
    except InputError:
        return False
    return True


def _said(error: Exception) -> str:
    """Return what Drive said, out of what gdown wraps around it."""
    text = " ".join(str(error).split())
    if said := re.search(r"Failed to retrieve file url: (.*?) You may still be able", text):
        guess = "Cannot retrieve the public link" in text  # gdown's own words for a page that it cannot read
        return "it is gone, or not shared with everyone" if guess else f"it says: {said[1].rstrip('.')}"
    if "incomplete" in text:
        return "the transfer broke off (what has come is kept, the same command goes on from there)"
    return f"no connection ({reason(error)})"


def _refused(order: Order, said: str) -> InputError:
    here = order.destination.absolute()
    by_hand = f"open {order.source} in a browser, save the file as {here} and {AGAIN}: it is then verified and used"
    return InputError(f"{order.destination}: Google Drive gave no file: {said}; {by_hand}")
