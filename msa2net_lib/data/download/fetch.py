"""Downloads over HTTP, continued where they stopped and only if the file is still the same there.

``pooch`` does not resume. ``gdown`` does, but between runs it forgets which version of a file it had begun, and
it gives up on a server that does not resume; both are handled here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import urllib3

from msa2net_lib.data.download.arrival import Order, obtain
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json, write_text

TIMEOUT_S = (10.0, 60.0)
"""How long to wait for a connection, and then for the next bytes."""
PAUSES_S = (1.0, 2.0, 4.0)
"""The pauses before another attempt; they begin anew whenever an attempt brought the file further."""

_CHUNK_BYTES = 1 << 18

_Version = dict[str, Any]
"""What tells one version of a file on a server from another: url, etag, modified and total, the size in bytes."""


def fetch(
    url: str,
    destination: str | Path,
    *,
    manifest: str | Path,
    progress: bool = True,
    dataset: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Download an archive to the file ``destination`` and return it; a file that is there is verified and used.

    dataset: whose terms (``data.catalog.TERMS``) ``say`` gets before the first request. Raises: `InputError` for a
    server that refuses, sends a web page or breaks off, for a full disk (what has come is kept), and for a file that
    is not the manifest's or, without an entry there, no sound archive.
    """
    order = Order(url, Path(destination), Path(manifest), dataset, progress)
    return obtain(order, _transfer, say)


class _BrokenError(Exception):
    """An attempt failed in a way that another attempt may mend."""


class _Partial:
    """The bytes that have come, and which version of the file they belong to."""

    def __init__(self, order: Order):
        self.order = order
        self.body = order.folder / "partial"
        self._note = order.folder / "version.json"

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.body.stat().st_size if self.body.exists() else 0

    @property
    def version(self) -> _Version:
        """The version that they belong to; empty if there is nothing to go on with."""
        try:
            version = read_json(self._note)
            return version if self.size and version["url"] == self.order.source else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def start_over(self, version: _Version) -> None:
        """Forget the bytes and expect those of ``version``."""
        self.body.write_bytes(b"")
        write_text(self._note, json.dumps(version) + "\n")


def _transfer(order: Order) -> None:
    """Attempt it until the whole is there, as long as the attempts bring something."""
    partial = _Partial(order)
    best, fruitless = partial.size, 0
    while True:
        try:
            _attempt(order, partial)
            partial.body.replace(order.arrived)
            return
        except _BrokenError as error:
            # Against a server that cannot resume every attempt starts at 0: only a new maximum is progress.
            best, fruitless = (partial.size, 0) if partial.size > best else (best, fruitless + 1)
            if fruitless > len(PAUSES_S):
                raise order.stopped(f"{order.source}: {error}, after {partial.size} bytes") from error
            time.sleep(PAUSES_S[max(0, fruitless - 1)])
        except requests.RequestException as error:
            raise InputError(f"{order.destination}: {order.source}: {reason(error)}; check the address") from error


def _attempt(order: Order, partial: _Partial) -> None:
    """Ask for what is missing and add it to the partial file. Raises: `_BrokenError`, `InputError`."""
    version = partial.version
    headers = {"Accept-Encoding": "identity"}  # bytes as they lie on the server, or offsets mean nothing
    if version:
        headers["Range"] = f"bytes={partial.size}-"
        # Of this version only; a weak tag cannot serve for that (RFC 9110, 13.1.5).
        strong = "" if version["etag"].startswith("W/") else version["etag"]
        if condition := strong or version["modified"]:
            headers["If-Range"] = condition
    try:
        with requests.get(order.source, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            total = _place(order, partial, version, response)
            if partial.size != total:
                with order.bar(total, partial.size) as bar, open(partial.body, "ab") as body:
                    # raw: requests would decompress a .tar.gz that the server declares as "Content-Encoding: gzip".
                    for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
                        body.write(chunk)
                        bar.update(len(chunk))
    except urllib3.exceptions.ProtocolError as error:
        raise _BrokenError("the connection broke off") from error
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise _BrokenError(reason(error)) from error
    if total is not None and partial.size != total:
        raise _BrokenError(f"{total} bytes were announced")


def _place(order: Order, partial: _Partial, version: _Version, response: requests.Response) -> int | None:
    """Decide whether the answer continues the partial file or begins a new one; return the size of the whole."""
    status = response.status_code
    if status >= 500 or status == requests.codes.too_many_requests:
        raise _BrokenError(f"the server answers {status} {response.reason}")
    if status not in (200, 206, 416):
        why = f"the server answers {status} {response.reason}"
        raise InputError(f"{order.destination}: {order.source}: {why}; open it in a browser to see why")
    if status != 416 and response.headers.get("Content-Type", "").startswith("text/html"):
        raise InputError(
            f"{order.destination}: {order.source} is a web page, not the file; open it in a browser to see why"
        )
    start, total = _range(response)
    order.check_size(total)
    headers = response.headers
    tags = {"etag": headers.get("ETag", ""), "modified": headers.get("Last-Modified", "")}
    offered: _Version = {"url": order.source, **tags, "total": total}
    differs = any(version[key] != offered[key] for key in offered if version.get(key) and offered[key])
    if status == 200:
        partial.start_over(offered)
    elif not version or differs or start != partial.size:
        partial.start_over(offered)
        raise _BrokenError("the server does not continue the file that was begun")
    return total


def _range(response: requests.Response) -> tuple[int, int | None]:
    """Return where the body of an answer begins and how large the whole file is (None: not said)."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    said = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not said:
        return -1, None
    total = int(said[2]) if said[2] != "*" else None
    return int(said[1]) if said[1] else total or -1, total  # "bytes */5" (416): nothing is left after byte 5


def reason(error: BaseException) -> str:
    """Return the innermost cause of a failed request, without the objects that urllib3 wraps it in, in one line."""
    while inner := error.__cause__ or error.__context__ or getattr(error, "reason", None):
        if not isinstance(inner, BaseException):
            break
        error = inner
    return " ".join(str(error).split()) or type(error).__name__
