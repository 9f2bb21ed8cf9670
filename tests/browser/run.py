"""The lessons in a real browser: `make test-browser`, or `python tests/browser/run.py [NAME ...] [--screenshots DIR]`.

Starts a JupyterLab of its own over a copy of the notebooks, drives it in headless Chromium, runs all cells of each
lesson that has a widget, compares what its cells marked for nbval print with the committed page, moves every control,
and asserts that the picture changed and that no error is on the page. So a lesson that ran here needs no nbval.

pytest does not collect what drives a browser, as it is not named test_*: none is needed for `make test`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from chromium import end, find_chromium, headless
from executed_pages import is_known_fault, printed_otherwise, unclaimed
from lab import Lab, jupyterlab
from planted import PLANTED, write_planted

from msa2net_lib.lessons.registry import LESSONS

ROOT = Path(__file__).resolve().parents[2]
WIDGET = "application/vnd.jupyter.widget-view+json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the planted notebooks, then the lessons; prints one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="lessons; default: all that have a widget")
    parser.add_argument("--screenshots", type=Path, help="folder for a picture of each widget, before and after")
    parser.add_argument("--no-planted", dest="planted", action="store_false", help="leave the planted notebooks out")
    parser.add_argument("--shared", type=Path, help="folder for the names of what is checked, each by one process only")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended then, too
    find_chromium()
    if not given.names:
        return side_by_side([name for name in LESSONS if has_widget(ROOT / "notebooks" / f"{name}.ipynb")], given)
    names, planted = given.names, PLANTED if given.planted else {}
    if given.screenshots:
        given.screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="msa2net-browser-") as temporary:
        folder = Path(temporary) / "checkout"
        lay_out(folder)
        with jupyterlab(folder, Path(temporary) / "home") as lab, chromium_page() as (page, outside):
            done, failed = [], []
            for name in unclaimed([*reversed(names), *planted], given.shared):  # long ones first: short ones end alike
                if name in planted:
                    right = check_planted(page, lab, name)
                else:
                    lay_down(folder, name)
                    right = check_lesson(page, lab, name, given.screenshots)
                done.append(name)
                failed += [] if right else [name]
            if outside:
                failed.append("offline")
                print(f"FAILED  pages asked for what is not on this machine: {', '.join(sorted(set(outside)))}")
    print(f"{len(done)} checked, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def side_by_side(names: Sequence[str], given: argparse.Namespace) -> int:
    """Check two to four pages at a time, each process with a JupyterLab and a browser of its own: pages mostly wait."""
    with tempfile.TemporaryDirectory(prefix="msa2net-browser-") as shared:
        options = [
            "--shared",
            shared,
            *([] if given.screenshots is None else ["--screenshots", str(given.screenshots)]),
        ]
        options += [] if given.planted else ["--no-planted"]
        running = [
            subprocess.Popen([sys.executable, "-u", __file__, *options, *names])
            for _ in range(min(4, max(2, (os.cpu_count() or 2) // 2)))  # a page keeps its kernel and its browser busy
        ]
        try:
            return max(abs(process.wait()) for process in running)  # below 0: killed
        finally:
            for process in running:
                process.terminate()
                process.wait()


def has_widget(notebook: Path) -> bool:
    """Whether the committed, executed notebook shows one."""
    cells = nbformat.read(notebook, as_version=4).cells
    return any(WIDGET in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))


def lay_out(folder: Path) -> None:
    """A folder that looks like the checkout to a notebook; committed notebooks and results are not touched."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "results").mkdir()
    for shared in ("data", "benchmarks", "msa2net_lib"):
        (folder / shared).symlink_to(ROOT / shared)
    write_planted(folder / "planted")


def lay_down(folder: Path, name: str) -> None:
    """Put a lesson there without its outputs: what is on the page must be of this run."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


@contextmanager
def chromium_page() -> Iterator[tuple]:
    """A page in headless Chromium, and the addresses of code or data elsewhere that it asked for and did not get."""
    outside: list[str] = []

    def note(request) -> None:
        here = request.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
        if not here and request.resource_type != "image":  # a badge in the text may come from elsewhere
            outside.append(request.url)

    with headless() as chromium:
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.on("request", note)
        yield page, outside


def check_planted(page, lab: Lab, name: str) -> bool:
    """Whether the check says of a planted notebook what it must."""
    _, expected = PLANTED[name]
    seconds, updates, error = check(page, lab, f"planted/{name}.ipynb", name, None)
    right = error is None if expected is None else expected in (error or "")
    said = f"refused: {error}" if error else f"accepted, {len(updates)} updates"
    print(f"{'ok    ' if right else 'FAILED'}  planted {name}: {seconds:.0f} s, {said}", flush=True)
    return right


def check_lesson(page, lab: Lab, name: str, screenshots: Path | None) -> bool:
    """Whether a lesson runs, prints what the committed page does, and its widgets answer."""
    for _ in range(2):
        seconds, updates, error = check(page, lab, f"notebooks/{name}.ipynb", name, screenshots)
        times = ", ".join(f"{update.control} {update.seconds:.2f} s" for update in updates)
        print(f"{'FAILED' if error else 'ok    '}  {name}: {seconds:.0f} s; {error or times}", flush=True)
        if not is_known_fault(error):  # that one alone gets a second attempt
            break
    return error is None


def check(page, lab: Lab, path: str, name: str, screenshots: Path | None) -> tuple[float, list, str | None]:
    """Open, run, compare, move; returns seconds, updates, and what was wrong."""
    from page import CheckError, check_no_error, executed, move_every_control, open_notebook, run_all_cells, shut_down
    from playwright.sync_api import Error as PlaywrightError

    started, updates, error = time.perf_counter(), [], None
    try:
        open_notebook(page, lab.url(path))
        run_all_cells(page)
        if (committed := ROOT / path).is_file() and (
            otherwise := printed_otherwise(nbformat.read(committed, as_version=4), executed(page))
        ):
            raise CheckError(otherwise)
        updates = move_every_control(page, screenshots, name)
        check_no_error(page)
    except (CheckError, PlaywrightError) as failure:
        error = str(failure).splitlines()[0]
        if screenshots:
            page.screenshot(path=screenshots / f"{name}_failed.png")
    shut_down(page)
    return time.perf_counter() - started, updates, error


if __name__ == "__main__":
    end(main)
