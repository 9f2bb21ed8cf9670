"""The live page in a real browser: `python tests/browser/live.py [FOLDER] [--screenshots DIR] [--record FILE]`.

Opens the built site (default: build/site) in headless Chromium, from a file server at laptop and phone size and once
from the disk. For several settings the page's tensors must be torch's to 1e-4 (of a tensor's largest number, where that
is above 1); its three questions' answers must be true, every map's arithmetic its number; keyboard, touch and a picture
of the reader's must work; nothing may be asked for elsewhere. The worst of updates in a row and at a reader's pace is
printed, and recorded with --record; a time is never a reason to fail.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "site" / "live"))

from chromium import CheckError, end, headless
from make_data import open_networks

from msa2net_lib.export.live import LiveNetwork
from msa2net_lib.utils.system_info import hardware

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE, READY_SECONDS = 1e-4, 60
PACES = {"in a row": (50, 0), "every 0.3 s": (20, 300)}
"""How many updates, and milliseconds between them; a reader stops to look."""
LAPTOP, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}

Run = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
SETTINGS: dict[str, dict[str, Any]] = {
    "as trained": {},
    "G halved, sigmoids off, at all levels": {"scope": "all", "scale": "0.5", "stage": "sigmoids"},
    "X shuffled at level 1": {"level": "1", "shuffle": True},
    "attention gate at level 2": {"level": "2", "gate": "attention"},
    "plain addition everywhere, G blank": {"gate": "addition", "scope": "all", "scale": "0"},
}
"""By name: what is set by hand, by the control's id."""

SET = """async ([id, value]) => {
    const control = document.getElementById(id);
    if (control.type === 'checkbox') control.checked = value; else control.value = value;
    control.dispatchEvent(new Event('input'));
    await live.update();
}"""
RESET = "async () => { document.getElementById('reset').click(); await live.update(); }"
ALL = """() => {
    const text = array => {
        const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        let s = ''; for (const b of bytes) s += String.fromCharCode(b); return btoa(s);
    };
    const {gray, controls, shown} = live.state;
    const tensors = Object.entries(shown.tensors).map(([name, {data}]) => [name, text(data)]);
    return [text(gray), text(controls), Object.fromEntries(tensors)];
}"""
ARITHMETIC = """() => Object.keys(live.network.about.boxes).map(name => {
    live.choose(name, 4, 5);
    const written = document.getElementById('cell-title').textContent.split(': ').at(-1);
    return [name, written, document.querySelector(`[data-name=${name}] .value`).textContent];
})"""
WIDE = "() => document.documentElement.scrollWidth"
TIMES = """async ([count, pause]) => {
    const control = id => document.getElementById(id), times = [];
    const pick = (id, k) => control(id).options[k % control(id).options.length].value;
    const others = {
        scale: k => (k % 41) / 20, stage: k => pick('stage', k), gate: k => pick('gate', k),
        level: k => pick('level', k), channel: k => k % 24,
    };
    for (let k = 0; k < count; k++) {
        const id = k % 2 ? 'slice' : Object.keys(others)[(k >> 1) % 5];
        const value = k % 2 ? (k >> 1) % (Number(control('slice').max) + 1) : others[id](k >> 1);
        if (pause) await new Promise(done => setTimeout(done, pause));
        const started = performance.now();
        control(id).value = value;
        control(id).dispatchEvent(new Event('input'));
        await live.update();
        document.body.offsetHeight;
        times.push(performance.now() - started);
    }
    return times;
}"""
"""Every second update moves the slice, which runs the encoder where nobody prepared it; layout is counted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the page at both sizes; prints one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of the page")
    parser.add_argument("--record", type=Path, help="file for the times of the updates")
    given = parser.parse_args(arguments)
    if given.screenshots:
        given.screenshots.mkdir(parents=True, exist_ok=True)
    failed, times = 0, {}
    with serve(given.folder) as address, headless() as chromium:
        for name, place, size in (
            ("laptop", address, LAPTOP),
            ("phone", address, PHONE),
            ("from the disk", (given.folder / "index.html").resolve().as_uri(), LAPTOP),
        ):
            page = chromium.new_page(viewport=size, has_touch=size is PHONE, color_scheme="light")
            try:
                said, times[name] = check(page, place, name, given.screenshots)
            except CheckError as error:
                said, failed = f"FAILED {error}", failed + 1
            print(f"{name}: {said}", flush=True)
            page.close()
    if given.record:
        given.record.write_text(json.dumps({**times, "hardware": hardware()}, indent=2) + "\n")
    return 1 if failed else 0


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The folder behind a plain file server, on this machine only."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/index.html"
    finally:
        server.shutdown()


def check(page, address: str, name: str, screenshots: Path | None) -> tuple[str, dict[str, dict[str, float]]]:
    """Look at the page as one reader has it; returns what was seen, and times by pace. Errors: `CheckError`."""
    asked, said, times = [], [], {}
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    try:
        page.wait_for_selector("body[data-ready=yes]", timeout=READY_SECONDS * 1000)
    except Exception:  # playwright's own kind of timeout
        raise CheckError(f"not ready: {page.locator('#status').inner_text()}; {said}") from None
    if name == "from the disk":
        worst = tensors_differ(page, reference(), "as trained")
    else:
        run = reference()
        worst = 0.0
        for setting, controls in SETTINGS.items():
            page.evaluate(RESET)
            for control, value in controls.items():
                page.evaluate(SET, [control, value])
            worst = max(worst, tensors_differ(page, run, setting))
            if screenshots:
                page.screenshot(path=screenshots / f"{name}_{setting.replace(' ', '_')}.png", full_page=True)
        page.evaluate(RESET)
        page.evaluate(SET, ["level", "0"])
        for map_name, written, shown in page.evaluate(ARITHMETIC):
            if written != shown and not near(written, shown):
                raise CheckError(f"{map_name}: its arithmetic gives {written}, the map has {shown}")
        answers_hold(page)
        use(page, name, run)
        if (width := page.evaluate(WIDE)) > page.viewport_size["width"]:
            raise CheckError(f"wider than the window: {width} pixels")
        page.evaluate(SET, ["case", page.locator("#case option").first.get_attribute("value")])
        for pace, given in PACES.items():
            took = page.evaluate(TIMES, given)
            times[pace] = {"updates": len(took), "worst_ms": max(took), "median_ms": float(np.median(took))}
            worst = max(worst, tensors_differ(page, run, f"after updates {pace}"))
            page.evaluate(RESET)
    outside = [url for url in asked if not url.startswith((address.rsplit("/", 1)[0], "data:", "blob:"))]
    if outside or said:
        raise CheckError(f"asked for {outside}, said {said}")
    slowest = [f", worst of {t['updates']} updates {pace} {t['worst_ms']:.0f} ms" for pace, t in times.items()]
    return f"ok, tensors differ by {worst:.1e} at most{''.join(slowest)}", times


def near(written: str, shown: str) -> bool:
    """Whether two written numbers differ in the last place only, as rounding may."""
    one, other = (float(words.replace("−", "-")) for words in (written, shown))
    return abs(one - other) <= 0.0011 * max(1, abs(one))


def reference() -> Run:
    """What torch computes: gray values and controls to all tensors by name."""
    network, others = open_networks()
    live, size = LiveNetwork(network, others), network.config.height_width

    def run(gray: np.ndarray, controls: np.ndarray) -> dict[str, np.ndarray]:
        given = torch.from_numpy(controls.copy()).view(1, 3, -1)
        found = live.tensors(torch.from_numpy(gray.copy()).view(1, 1, *size), given)
        return {name: tensor.flatten().numpy() for name, tensor in found.items()}

    return run


def tensors_differ(page, run: Run, setting: str) -> float:
    """How far the page's tensors are from torch's, large numbers as a share. Errors: `CheckError`."""
    gray, controls, texts = page.evaluate(ALL)
    expected = run(numbers(gray), numbers(controls))
    if missing := expected.keys() ^ texts.keys():
        raise CheckError(f"{setting}: {', '.join(sorted(missing))} on one side only")
    worst = 0.0
    for name, other in expected.items():
        one = numbers(texts[name])
        if one.shape != other.shape:
            raise CheckError(f"{setting}: {name} has {one.size} numbers, not {other.size}")
        share = float(np.abs(one - other).max()) / max(1.0, float(np.abs(other).max()))
        if not share <= TOLERANCE:
            raise CheckError(f"{setting}: {name} of the page is not torch's, they differ by {share:.1e}")
        worst = max(worst, share)
    return worst


def numbers(text: str) -> np.ndarray:
    """Numbers of 32 bits in base64."""
    return np.frombuffer(base64.b64decode(text), np.float32)


def answers_hold(page) -> None:
    """The answers under the three questions are true. Errors: `CheckError`."""
    tensor = "name => Array.from(live.state.shown.tensors[`0/${name}`].data)"
    before = {name: np.array(page.evaluate(tensor, name)) for name in ("x", "x_selected", "output", "u_modulated")}
    if (before["x"] * before["x_selected"] < 0).any() or (abs(before["x_selected"]) < abs(before["x"]) - 1e-6).any():
        raise CheckError("question 2: selection made a number smaller, or turned its sign")
    page.evaluate(SET, ["scale", "0"])
    for name in ("channel_mean", "channel_max", "global_context"):
        if np.ptp(np.array(page.evaluate(tensor, name))) > 1e-6:
            raise CheckError(f"question 1: {name} of a blank G is not one number")
    if np.ptp(np.array(page.evaluate(tensor, "local_context"))) < 1e-3:
        raise CheckError("question 1: nothing of U follows the slice")
    page.evaluate(SET, ["scale", "1"])
    page.evaluate(SET, ["stage", "attention"])
    off = np.array(page.evaluate(tensor, "output"))
    page.evaluate(SET, ["scale", "0.5"])
    moved, still = (np.array(page.evaluate(tensor, name)) for name in ("u_modulated", "output"))
    if np.abs(still - off).max() > 1e-6 or np.abs(moved - before["u_modulated"]).max() < 1e-3:
        raise CheckError("question 3: G reaches Y by another way than the attention")
    page.evaluate(RESET)


def use(page, name: str, run: Run) -> None:
    """Keyboard or touch on a map, then a picture of the reader's. Errors: `CheckError`."""
    cell = "() => [live.state.map, live.state.cell.row, live.state.cell.column]"
    canvas = page.locator("[data-name=u_modulated] canvas")
    canvas.scroll_into_view_if_needed()
    if name == "phone":
        canvas.tap(position={"x": 3, "y": 3})
        if page.evaluate(cell) != ["u_modulated", 1, 1]:
            raise CheckError(f"a tap chose {page.evaluate(cell)}")
    else:
        canvas.focus()
        _, row, column = page.evaluate(cell)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        if page.evaluate(cell) != ["u_modulated", row + 1, column + 1]:
            raise CheckError(f"arrow keys chose {page.evaluate(cell)}")
    if not page.locator("#spoken").inner_text().startswith("U', the product, row"):
        raise CheckError(f"a screen reader is told {page.locator('#spoken').inner_text()!r}")
    with tempfile.TemporaryDirectory() as temporary:
        picture, text = Path(temporary) / "mine.png", Path(temporary) / "none.png"
        values = np.linspace(0, 255, 200 * 300).reshape(200, 300).astype(np.uint8)
        Image.fromarray(values).convert("RGB").save(picture)
        text.write_text("no picture")
        page.set_input_files("#picture", picture)
        page.wait_for_function("() => live.state.label === null && document.body.dataset.ready")
        page.evaluate("live.update()")
        tensors_differ(page, run, "a picture of the reader's")
        page.set_input_files("#picture", text)
        page.wait_for_function("() => document.getElementById('status').textContent.includes('cannot read')")


if __name__ == "__main__":
    end(main)
