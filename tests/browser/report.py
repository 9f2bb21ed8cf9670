"""The report in a real browser: `python tests/browser/report.py [PAGE ...] [--screenshots DIR]`.

Opens each page (default: a planted batch, then pages with a known fault, which must be refused) as a file in headless
Chromium: nothing may be asked for but the page, no error said on the console, no picture broken, nothing wider than a
phone or a sheet of paper, all text readable in light, dark and print, and what is folded open on paper.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from chromium import CheckError, end, headless
from planted_report import plant

from msa2net_lib.batch.report import write_report

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
PAPER = {"width": 688, "height": 1000}
"""An A4 sheet without its margins, at 96 pixels an inch."""
CONTRAST = 4.5

OPEN_ALL = "() => document.querySelectorAll('details').forEach(details => { details.open = true; })"
BROKEN = """() => Array.from(document.images).filter(image => !(image.complete && image.naturalWidth > 0))
    .map(image => image.alt || image.src.slice(0, 60))"""
WIDTH = "() => document.documentElement.scrollWidth"
CLIPPED = """() => Array.from(document.querySelectorAll('table, pre, img')).filter(element =>
    element.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"""
FOLDED = """() => Array.from(document.querySelectorAll('details > :not(summary)'))
    .filter(element => !element.checkVisibility({ contentVisibilityAuto: true }) || !element.offsetHeight).length"""
# Of every element with text of its own: the contrast of its color with the nearest ground behind it.
PALE = """limit => {
    const parts = color => color.match(/[\\d.]+/g).map(Number);
    const part = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * part(r / 255) + 0.7152 * part(g / 255) + 0.0722 * part(b / 255);
    const ground = element => {
        for (; element; element = element.parentElement) {
            const color = parts(getComputedStyle(element).backgroundColor);
            if (color.length < 4 || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    const own = element => Array.from(element.childNodes).some(node => node.nodeType === 3 && node.data.trim());
    return Array.from(document.body.querySelectorAll('*')).filter(own).filter(element => {
        const [a, b] = [light(parts(getComputedStyle(element).color)), light(ground(element))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < limit;
    }).map(element => element.textContent.trim().slice(0, 40));
}"""

FAULTS: dict[str, tuple[Callable[[str], str], str]] = {
    "broken picture": (lambda page: page.replace("base64,iVBOR", "base64,AAAAA", 1), "broken pictures"),
    "picture from elsewhere": (lambda page: _added(page, '<img alt="x" src="https://example.org/x.png">'), "asked for"),
    "script": (lambda page: _added(page, "<script>throw Error('x')</script>"), "console"),
    "too wide": (lambda page: _added(page, '<p style="width: 900px">wide</p>'), "wider than a phone"),
    "pale": (lambda page: _added(page, '<p style="color: #999; background: #fff">pale</p>'), "too little contrast"),
    "folded on paper": (lambda page: page.replace("details::details-content", "details::nothing"), "folded"),
}
"""By name: what is done to the page, and a word of the refusal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the pages; prints one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, help="default: the report of a planted batch")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of each page")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="msa2net-report-") as temporary, headless() as chromium:
        pages: dict[Path, str | None] = dict.fromkeys(given.pages) or planted(Path(temporary))
        failed = [path for path, refusal in pages.items() if not report(chromium, path, refusal, given.screenshots)]
    print(f"{len(pages) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def planted(folder: Path) -> dict[Path, str | None]:
    """The report of a planted batch, and it again with each of the faults; with what must be said of it."""
    sound = write_report(plant(folder).parent, "smoke")
    pages: dict[Path, str | None] = {sound: None}
    text = sound.read_text(encoding="utf-8")
    for name, (spoil, refusal) in FAULTS.items():
        path = sound.with_name(f"{name}.html")
        path.write_text(spoil(text), encoding="utf-8")
        assert path.read_text(encoding="utf-8") != text, name
        pages[path] = refusal
    return pages


def _added(page: str, words: str) -> str:
    return page.replace("</main>", f"{words}</main>")


def report(chromium, path: Path, refusal: str | None, screenshots: Path | None) -> bool:
    """Whether a page is as it should be: sound, or refused in the words expected; prints it."""
    try:
        said = check(chromium, path, screenshots if refusal is None else None)
        right = refusal is None
    except CheckError as error:
        said, right = f"refused: {error}", refusal is not None and refusal in str(error)
    print(f"{'ok    ' if right else 'FAILED'}  {path.name}: {said}", flush=True)
    return right


def check(chromium, path: Path, screenshots: Path | None) -> str:
    """Look at a page in all its forms; returns what was seen. Errors: `CheckError`."""
    asked, said = [], []
    address = path.resolve().as_uri()
    for scheme in ("light", "dark"):
        page = chromium.new_page(viewport=DESK, color_scheme=scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        if screenshots:
            screenshots.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=screenshots / f"{path.stem}_{scheme}.png", full_page=True)
        page.evaluate(OPEN_ALL)
        _refuse(page.evaluate(PALE, CONTRAST), f"too little contrast ({scheme})")
        pictures = page.evaluate("() => document.images.length")
        broken = page.evaluate(BROKEN)
        page.close()
    _refuse([url for url in asked if url != address and not url.startswith("data:")], "asked for")
    _refuse(broken, "broken pictures")
    _refuse(said, "on the console")
    _phone(chromium, address, path.stem, screenshots)
    sheets = _paper(chromium, address, path.stem, screenshots)
    return f"{pictures} pictures, {sheets} bytes as PDF"


def _phone(chromium, address: str, name: str, screenshots: Path | None) -> None:
    page = chromium.new_page(viewport=PHONE, has_touch=True)
    page.goto(address)
    if screenshots:
        page.screenshot(path=screenshots / f"{name}_phone.png", full_page=True)
    page.evaluate(OPEN_ALL)
    if (width := page.evaluate(WIDTH)) > PHONE["width"]:
        raise CheckError(f"wider than a phone: {width} pixels")
    page.close()


def _paper(chromium, address: str, name: str, screenshots: Path | None) -> int:
    """Print it; returns the size of the PDF."""
    page = chromium.new_page(viewport=PAPER)
    page.emulate_media(media="print")
    page.goto(address)
    if hidden := page.evaluate(FOLDED):
        raise CheckError(f"{hidden} parts are folded on paper")
    if clipped := page.evaluate(CLIPPED):
        raise CheckError(f"{clipped} tables or pictures are wider than the paper")
    if screenshots:
        page.screenshot(path=screenshots / f"{name}_paper.png", full_page=True)
    document = page.pdf(format="A4")
    if not document.startswith(b"%PDF"):
        raise CheckError("printing gave no PDF")
    if screenshots:
        (screenshots / f"{name}.pdf").write_bytes(document)
    page.close()
    return len(document)


def _refuse(found: Sequence[str], words: str) -> None:
    if found:
        raise CheckError(f"{words}: {'; '.join(dict.fromkeys(found))[:200]}")


if __name__ == "__main__":
    end(main)
