"""Every link of the built site leads somewhere, and no page asks another server: `python site/check_links.py FOLDER`.

Links to other sites are not followed: they are the reader's choice, and a page must read without a network.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src"), ("iframe", "src"), ("video", "src")}
"""Attributes whose address a browser asks for by itself."""
IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//")


class Page(HTMLParser):
    """What a page links to, as (element, attribute, address), and its anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[tuple[str, str, str]] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """What `HTMLParser` calls for each element."""
        values = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := values.get(name))}
        for name in ("href", "src"):
            if address := values.get(name):
                self.links.append((tag, name, address))


@cache
def read(path: Path) -> Page:
    """A page, once."""
    return Page(path.read_text(encoding="utf-8"))


def faults(folder: Path) -> list[str]:
    """One line for each link that leads nowhere, or that a browser would ask another server for."""
    found = []
    for path in sorted(folder.rglob("*.html")):
        for tag, name, address in read(path).links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                remote = parts.scheme not in ("data", "mailto", "blob")
                if remote and (tag, name) in FETCHED and not (tag == "link" and parts.netloc.startswith("github.com")):
                    found.append(f"{path.relative_to(folder)}: <{tag}> asks for {address}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{path.relative_to(folder)}: {address} is not there")
            elif target.suffix == ".html" and tag == "a" and unquote(parts.fragment) not in read(target).anchors:
                found.append(f"{path.relative_to(folder)}: {address} has no such anchor")
    found += [
        f"{path.relative_to(folder)}: asks another server"
        for path in folder.rglob("*.css")
        if IN_STYLE.search(path.read_text(encoding="utf-8"))
    ]
    return found


if __name__ == "__main__":
    lines = faults(Path(sys.argv[1]).resolve())
    print("\n".join(lines) or "every link leads somewhere")
    sys.exit(bool(lines))
