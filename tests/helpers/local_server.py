"""A server on 127.0.0.1 that offers files as RFC 9110 has it, or breaks off, forgets and lies as a test wants.

Beside it: what the archives of the tests hold, and a look into folders.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import requests

FILES = {
    "img/img0001.nii.gz": b"one" * 5000,
    "img/mit Leerzeichen und Ä.txt": "größer".encode(),
    "label/日本.bin": bytes(range(256)) * 30,
    "empty.txt": b"",
}
KINDS = ["data.zip", "data.tar", "data.tar.gz"]


@dataclass
class Served:
    """A file as the server offers it.

    cuts: after how many bytes of its body each next answer breaks off. portion: how much one answer to a Range has.
    """

    body: bytes
    etag: str = '"v1"'
    modified: str = ""
    ranges: bool = True
    if_range: bool = True
    cuts: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    says_length: bool = True
    portion: int | None = None
    pause: float = 0.0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer as RFC 9110 has it, apart from what the fields forbid."""
        start = self._start(handler)
        if start is not None and start >= len(self.body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.body)}")
            handler.send_header("Content-Type", "text/html")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(200 if start is None else 206)
        end = min(len(self.body), start + self.portion) if start and self.portion else len(self.body)
        rest = self.body[start or 0 : end]
        said = {"Content-Type": "application/zip", "ETag": self.etag, "Last-Modified": self.modified}
        if start is not None:
            said["Content-Range"] = f"bytes {start}-{end - 1}/{len(self.body)}"
        if self.says_length:
            said["Content-Length"] = str(len(rest))
        for name, value in {**said, **self.headers}.items():
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        rest = rest[: self.cuts.pop(0)] if self.cuts else rest
        step = len(rest) if not self.pause else 1 << 14
        for at in range(0, len(rest), step or 1):
            handler.wfile.write(rest[at : at + step])
            time.sleep(self.pause)
        handler.close_connection = True

    def _start(self, handler: BaseHTTPRequestHandler) -> int | None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        condition = handler.headers.get("If-Range")
        same = condition in (None, self.etag, self.modified) and not (condition or "").startswith("W/")
        changed = self.if_range and not same
        return int(wanted[1]) if wanted and self.ranges and not changed else None


@dataclass
class Site:
    """What the server offers, by host and path, and what it was asked for."""

    address: str
    pages: dict[str, Served | Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def offer(self, path: str, body: bytes, **options) -> str:
        """Serve a file and return its address."""
        self.pages[path] = Served(body, **options)
        return f"{self.address}{path}"

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of every request so far."""
        return [wanted for _, wanted in self.asked]


def send_page(handler: BaseHTTPRequestHandler, text: str, status: int = 200, **headers: str) -> None:
    """Answer with a web page."""
    body = text.encode()
    handler.send_response(status)
    for name, value in {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(body)),
        **headers,
    }.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """Run a server on 127.0.0.1; a path that it does not have is 404 with a web page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            host = self.headers["Host"]
            path = urlsplit(self.path).path if host.startswith("127.") else host + urlsplit(self.path).path
            site.asked.append((path, self.headers.get("Range")))
            page = site.pages.get(path)
            with contextlib.suppress(ConnectionError):
                if isinstance(page, Served):
                    page.answer(self)
                elif page:
                    page(self)
                else:
                    send_page(self, "<html>Not found</html>", 404)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def google_at(address: str | None) -> Callable[..., requests.Response]:
    """Return a transport for ``requests`` that takes what is meant for Google's hosts to ``address``.

    It stands below gdown and requests, where bytes would leave the machine (``HTTPAdapter.send``): whatever they do
    with addresses, redirects, cookies and headers is what they do on the real network. The server sees the
    name of the host that was asked for, and the answer bears the address that was asked for. A
    request for any other host than 127.0.0.1 fails the test.
    """
    send = requests.adapters.HTTPAdapter.send

    def to_local(self, prepared: requests.PreparedRequest, **options) -> requests.Response:
        there = urlsplit(prepared.url)
        if there.hostname == "127.0.0.1":
            return send(self, prepared, **options)
        if address is None or not (there.hostname or "").endswith(".google.com"):
            raise AssertionError(f"a test asked for {prepared.url}")
        here = prepared.copy()
        here.url = f"{address}{there.path}?{there.query}"
        here.headers["Host"] = there.hostname
        response = send(self, here, **{**options, "proxies": {}})
        response.url, response.request = prepared.url, prepared
        return response

    return to_local


def visible(folder: Path) -> list[str]:
    """Return the names in a folder, hidden ones too, lock files apart."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))
