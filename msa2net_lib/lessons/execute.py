"""Runs a lesson with papermill, turns it into a page, and refreshes the committed notebooks."""

from __future__ import annotations

import io
import os
import shutil
import sys
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.registry import LESSONS, RECORD, lesson_by_name
from msa2net_lib.utils.files import atomic_path, write_text

if TYPE_CHECKING:
    from nbformat import NotebookNode  # takes two seconds to import, which a batch that runs no notebook is spared

README_FIGURE = ("results/smoke/11_evaluation/overlays.png", "docs/overlays.png")

PAGE_PIXELS = 930, 640
"""Width and height of JupyterLab's column of outputs on a laptop's screen."""


def find_checkout(start: str | Path | None = None) -> Path:
    """Find the checkout of the workbook that a folder lies in: the nearest one above it with the notebooks.

    Args:
        start: where to begin, the current folder by default.

    Raises:
        InputError: Neither the folder nor one above it holds ``notebooks/00_start_here.ipynb``.
    """
    begin = Path(start or ".").resolve()
    for folder in (begin, *begin.parents):
        if notebook_path(folder, next(iter(LESSONS))).is_file():
            return folder
    raise InputError(f"{begin}: lies in no checkout of the workbook; change to the folder that holds notebooks/")


def notebook_path(checkout: Path, lesson: str) -> Path:
    """Where a checkout keeps a lesson's notebook. Raises: `InputError` for an unknown lesson."""
    return checkout / "notebooks" / f"{lesson_by_name(lesson).name}.ipynb"


def run_lesson(notebook: Path, profile: str, output_dir: str | Path, parameters: dict[str, Any]) -> str | None:
    """Execute a lesson's notebook with papermill, in its own folder; the committed file stays as it is.

    Args:
        notebook: the lesson's file, see `notebook_path`.
        profile: smoke, gpu or paper.
        output_dir: where results go, to ``<output_dir>/<profile>/<lesson>/``.
        parameters: values for its ``parameters`` cell, by name.

    Returns:
        None, or the first line of what went wrong.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    if not notebook.is_file():
        raise InputError(f"{notebook}: no such notebook; run where notebooks/ is")
    folder = Path(output_dir).resolve() / profile / notebook.stem
    folder.mkdir(parents=True, exist_ok=True)
    # What an earlier run left must not pass for this one's result.
    (folder / RECORD).unlink(missing_ok=True)
    # Relative to the notebook, so that no path of this machine gets into the results.
    home = notebook.resolve().parent
    given = {"OUTPUT_DIR": os.path.relpath(Path(output_dir).resolve(), home), "PROFILE": profile} | parameters
    executed, error = folder / notebook.name, None
    with atomic_path(executed) as temporary:
        try:
            papermill.execute_notebook(
                notebook, temporary, parameters=given, cwd=home, progress_bar=sys.stderr.isatty()
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
    """Execute the checkout's notebooks in place, in `smoke`, and keep outputs that do not change by chance.

    Progress bars, warnings on stderr and widget state are left out of the committed files; the README's figure
    is taken from the results. Raises: `InputError` outside of a checkout, and for an unknown lesson.
    """
    import nbformat
    from nbclient import NotebookClient

    os.environ["TQDM_DISABLE"] = "1"
    checkout = find_checkout()
    for path in [notebook_path(checkout, name) for name in names or LESSONS]:
        notebook = nbformat.read(path, as_version=4)
        print(f"{path.stem}: running", flush=True)
        client = NotebookClient(
            notebook,
            timeout=3600,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
            coalesce_streams=True,
            store_widget_state=True,  # nbclient needs it to draw widgets; tidy() drops it
        )
        client.execute()
        with atomic_path(path) as temporary:
            nbformat.write(tidy(notebook), temporary)
    made, shown = (checkout / place for place in README_FIGURE)
    if made.is_file():
        with atomic_path(shown) as temporary:
            shutil.copyfile(made, temporary)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Drop what differs from run to run and says nothing to a reader, and make figures small; the same notebook."""
    from nbformat import from_dict

    notebook.metadata = from_dict(
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
                if png := output.get("data", {}).get("image/png"):
                    output["data"]["image/png"] = smaller(png)
    return notebook


def smaller(png: str) -> str:
    """A PNG in base64 with the 256 colors that tell most apart: a third of the size, and no eye sees it in a figure.

    White margin beyond the page is cut: labels that reach over a figure's edge make it wider than it was planned.
    """
    from PIL import Image, ImageChops

    image = Image.open(io.BytesIO(b64decode(png)))
    beyond = [max(0, side - most) for side, most in zip(image.size, PAGE_PIXELS, strict=True)]
    if image.mode == "P" and not any(beyond):  # it is so already
        return png
    left, top, right, bottom = ImageChops.invert(image.convert("RGB")).getbbox() or (0, 0, *image.size)
    left, top = min(left, beyond[0]), min(top, beyond[1])
    right, bottom = max(right, image.width - (beyond[0] - left)), max(bottom, image.height - (beyond[1] - top))
    few = image.crop((left, top, right, bottom))
    if few.mode != "P":
        few = few.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
    few.save(buffer := io.BytesIO(), "PNG", optimize=True)
    return b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    try:
        refresh(sys.argv[1:])
    except InputError as error:
        sys.exit(f"msa2net: {error}")
