"""Runs a lesson with papermill, turns it into a page, and refreshes the committed notebooks."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.records import RECORD
from msa2net_lib.lessons.registry import LESSONS, Lesson, lesson_by_name
from msa2net_lib.utils.files import atomic_path, write_text

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
README_FIGURE = ("results/smoke/11_evaluation/overlays.png", "docs/overlays.png")


def run_lesson(lesson: Lesson, profile: str, output_dir: str | Path, parameters: dict[str, Any]) -> str | None:
    """Execute one lesson with papermill; returns None, or the first line of what went wrong."""
    import papermill

    source = NOTEBOOKS / f"{lesson.name}.ipynb"
    if not source.is_file():
        raise InputError(f"{source}: no such notebook; run from a checkout of the workbook")
    folder = Path(output_dir).resolve() / profile / lesson.name
    folder.mkdir(parents=True, exist_ok=True)
    # What an earlier run left must not pass for this one's result.
    (folder / RECORD).unlink(missing_ok=True)
    # Relative to the notebook, so that no path of this machine gets into the results.
    given = {"OUTPUT_DIR": os.path.relpath(Path(output_dir).resolve(), NOTEBOOKS), "PROFILE": profile}
    given |= parameters
    executed, error = folder / f"{lesson.name}.ipynb", None
    with atomic_path(executed) as temporary:
        try:
            papermill.execute_notebook(
                source, temporary, parameters=given, cwd=NOTEBOOKS, progress_bar=sys.stderr.isatty()
            )
        except papermill.PapermillExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}".splitlines()[0]
        except (DeadKernelError, CellTimeoutError) as failure:
            error = f"{type(failure).__name__}: the kernel died or hung; was there enough memory?"
    _write_page(executed)
    return error


def _write_page(notebook: Path) -> None:
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter().from_filename(str(notebook))
    write_text(notebook.with_suffix(".html"), body)


def refresh(names: Sequence[str] | None = None) -> None:
    """Execute the committed notebooks in place, in `smoke`, and keep outputs that do not change by chance.

    Progress bars, warnings on stderr and widget state are left out of the committed files; the README's picture
    is taken from the results.
    """
    os.environ["TQDM_DISABLE"] = "1"
    for name in names or LESSONS:
        path = NOTEBOOKS / f"{lesson_by_name(name).name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        print(f"{name}: running", flush=True)
        client = NotebookClient(
            notebook,
            timeout=3600,
            kernel_name="python3",
            resources={"metadata": {"path": str(NOTEBOOKS)}},
            coalesce_streams=True,
            store_widget_state=True,  # nbclient needs it to draw widgets; tidy() drops it
        )
        client.execute()
        with atomic_path(path) as temporary:
            nbformat.write(tidy(notebook), temporary)
    made, shown = (ROOT / place for place in README_FIGURE)
    if made.is_file():
        with atomic_path(shown) as temporary:
            shutil.copyfile(made, temporary)


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs from run to run and says nothing to a reader; returns the same notebook."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            for output in cell.outputs:
                output.get("metadata", {}).clear()
    return notebook


if __name__ == "__main__":
    refresh(sys.argv[1:])
