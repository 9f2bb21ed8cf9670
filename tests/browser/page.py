"""One notebook in a real page: run every cell as a reader would, then move every control and watch the picture."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from chromium import CheckError
from PIL import Image
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

OPEN_SECONDS = 60
RUN_SECONDS = 600
DRAW_SECONDS = 30
SETTLED_SECONDS = 1.5
RIM = 8
UPDATE_SECONDS = 10
"""Long, since two pages and their kernels share a small machine: it looks for pictures that do not follow."""
STEPS = 3
"""How often a slider is pushed on, and a volume scrolled; a menu or a box is moved once."""

BROKEN_WIDGET = ("Error displaying widget", "Error creating widget")
ERRORS = '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]'
STDERR = '.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]'
EXPLORERS = ".jp-OutputArea-output:has(.widget-image, canvas)"
CONTROLS = '.noUi-handle, select, input[type="checkbox"]'

KERNEL_IS_READY = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    return panel?.context?.isReady && panel.sessionContext.session?.kernel?.status === 'idle';
}"""
RUN_ALL = "() => { window.ran = undefined; jupyterapp.commands.execute('notebook:run-all-cells').then(() => "
RUN_ALL += "{ window.ran = true; }); }"
ALL_RAN = "() => window.ran && window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
UNRUN_CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().trim())
    .filter(cell => cell.model.executionCount === null).length"""
# A callback's error is sent to the page but drawn nowhere on it.
KEEP_KERNEL_ERRORS = """() => {
    window.kernelErrors = [];
    window.jupyterapp.shell.currentWidget.sessionContext.iopubMessage.connect((_, message) => {
        if (message.header.msg_type === 'error')
            window.kernelErrors.push(`${message.content.ename}: ${message.content.evalue}`);
    });
}"""
EXECUTED = "() => JSON.stringify(window.jupyterapp.shell.currentWidget.context.model.toJSON())"
SHUT_DOWN = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.shutdown()"
# Empty while the picture is being exchanged for the next.
IMAGE_DIGEST = """async image => {
    try {
        const content = await (await fetch(image.src)).arrayBuffer();
        return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', content))).join();
    } catch { return ''; }
}"""


@dataclass(frozen=True)
class Update:
    """A control that was moved, and the seconds from the key to the new picture on the page."""

    control: str
    seconds: float


def open_notebook(page: Page, url: str) -> None:
    """Open the notebook and wait for its kernel."""
    try:
        page.goto(url, timeout=OPEN_SECONDS * 1000)
        page.wait_for_function(KERNEL_IS_READY, timeout=OPEN_SECONDS * 1000)
    except PlaywrightTimeout:
        raise CheckError(f"no kernel was ready within {OPEN_SECONDS} s") from None
    page.evaluate(KEEP_KERNEL_ERRORS)


def run_all_cells(page: Page) -> None:
    """Run > Run All Cells, and wait until the kernel has done them all."""
    page.evaluate(RUN_ALL)
    try:
        page.wait_for_function(ALL_RAN, timeout=RUN_SECONDS * 1000, polling=250)
    except PlaywrightTimeout:
        raise CheckError(f"the cells were not done within {RUN_SECONDS} s") from None
    check_no_error(page)
    if unrun := page.evaluate(UNRUN_CELLS):
        raise CheckError(f"{unrun} cells did not run")


def executed(page: Page) -> str:
    """The notebook with its outputs in JSON, as it would be saved."""
    return page.evaluate(EXECUTED)


def shut_down(page: Page) -> None:
    """End the notebook's kernel, which the server would keep."""
    page.evaluate(SHUT_DOWN)


def check_no_error(page: Page) -> None:
    """Nothing on the page may be a traceback or a widget that could not be shown; no callback may have raised."""
    tracebacks = page.locator(ERRORS).all_inner_texts()
    tracebacks += [text for text in page.locator(STDERR).all_inner_texts() if "Traceback" in text]
    if tracebacks:
        raise CheckError(f"error on the page: {tracebacks[0].strip().splitlines()[-1]}")
    if errors := page.evaluate("window.kernelErrors"):
        raise CheckError(f"error in the kernel: {errors[0]}")
    outputs = "\n".join(page.locator(".jp-OutputArea-output").all_inner_texts())
    for message in BROKEN_WIDGET:
        if message in outputs:
            raise CheckError(f"on the page: {message}")


def move_every_control(page: Page, screenshots: Path | None, name: str) -> list[Update]:
    """Move each control of each explorer on the page; each move must change the picture below it."""
    explorers = page.locator(EXPLORERS)
    try:
        explorers.first.wait_for(timeout=UPDATE_SECONDS * 1000)
    except PlaywrightTimeout:
        raise CheckError("no explorer is on the page: no controls with a picture below") from None
    updates = []
    for number, box in enumerate(explorers.all()):
        box.scroll_into_view_if_needed()
        picture = Picture(page, box)
        picture.wait_until_drawn()
        controls = [Control(page, element) for element in box.locator(CONTROLS).all()]
        if not controls:
            raise CheckError(f"picture {number} has no control")
        if screenshots:
            box.screenshot(path=screenshots / f"{name}_{number}.png")
        for control in controls + ([Wheel(page, picture.canvas)] if picture.is_canvas else []):
            updates += move(control, picture)
        if screenshots:
            box.screenshot(path=screenshots / f"{name}_{number}_moved.png")
    check_no_error(page)
    return updates


class Picture:
    """What an explorer shows: the bytes of its image, or how its canvas looks."""

    def __init__(self, page: Page, box: Locator):
        self.page = page
        self.image = box.locator(".widget-image").first
        self.canvas = box.locator("canvas").first
        self.is_canvas = not self.image.count()

    def digest(self) -> str:
        """Tells one picture from another; empty while there is none."""
        if self.is_canvas:
            return hashlib.sha256(self._pixels().tobytes()).hexdigest()
        return self.image.evaluate(IMAGE_DIGEST)

    def wait_until_drawn(self) -> None:
        """A volume takes a while to get to its canvas: wait until there is a picture that stays as it is."""
        deadline, seen, since = time.monotonic() + DRAW_SECONDS, "", time.monotonic()
        while time.monotonic() < deadline:
            now = self.digest()
            if now != seen:
                seen, since = now, time.monotonic()
            elif seen and (not self.is_canvas or (time.monotonic() - since > SETTLED_SECONDS and self._is_filled())):
                return
            time.sleep(0.05)
        raise CheckError(f"no picture was there within {DRAW_SECONDS} s")

    def _pixels(self) -> np.ndarray:
        """The canvas without its rim, which shows the focus."""
        return np.asarray(Image.open(BytesIO(self.canvas.screenshot())).convert("RGB"))[RIM:-RIM, RIM:-RIM]

    def _is_filled(self) -> bool:
        """Whether more than a word on an empty ground is drawn."""
        return bool((self._pixels() > 40).mean() > 0.05)


class Control:
    """A slider, a menu or a box to tick, moved by keyboard or choice as a reader would."""

    def __init__(self, page: Page, element: Locator):
        self.page, self.element = page, element
        self.kind = element.evaluate("element => element.tagName")
        self.steps = STEPS if self.kind == "DIV" else 1

    @property
    def name(self) -> str:
        """The words beside it."""
        row = self.element.locator("xpath=ancestor::div[contains(@class, 'jupyter-widgets')][1]")
        words = row.locator(".widget-label, .widget-label-basic").all_inner_texts()
        return next((word for text in words if (word := text.strip(" \n\u200b"))), "a control")

    def push(self) -> None:
        """One step on: a slider to the right (or left at its end), a menu to the next choice, a box ticked or not."""
        if self.kind == "SELECT":
            count, chosen = self.element.evaluate("element => [element.options.length, element.selectedIndex]")
            self.element.select_option(index=(chosen + 1) % count)
        elif self.kind == "INPUT":
            self.element.click()
        else:
            now, end = (float(self.element.get_attribute(name) or 0) for name in ("aria-valuenow", "aria-valuemax"))
            self.element.focus()
            self.page.keyboard.press("ArrowLeft" if now >= end else "ArrowRight")


class Wheel:
    """The mouse wheel over a volume's first plane."""

    name, steps = "wheel", STEPS

    def __init__(self, page: Page, canvas: Locator):
        self.page, self.canvas = page, canvas

    def push(self) -> None:
        """Scroll one slice on."""
        box = self.canvas.bounding_box()
        if box is None:
            raise CheckError("the canvas is gone")
        self.page.mouse.move(box["x"] + box["width"] / 6, box["y"] + box["height"] / 2)
        self.page.mouse.wheel(0, 120)


def move(control: Control | Wheel, picture: Picture) -> Iterator[Update]:
    """Move one control, each time to a value that it did not have; the picture must follow each time."""
    for _ in range(control.steps):
        before = picture.digest()
        started = time.perf_counter()
        control.push()
        while picture.digest() in (before, ""):
            if time.perf_counter() - started > UPDATE_SECONDS:
                raise CheckError(unchanged(control, picture.page))
            time.sleep(0.01)
        yield Update(control.name, time.perf_counter() - started)


def unchanged(control: Control | Wheel, page: Page) -> str:
    """What to say of a picture that did not follow, with the callback's error if it raised."""
    cause = "".join(f": {error}" for error in page.evaluate("window.kernelErrors")[:1])
    return f"{control.name} was moved and the picture did not change within {UPDATE_SECONDS} s{cause}"
