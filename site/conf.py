"""The site: lessons with their committed outputs, task pages and the API, readable from a disk without a network.

Sphinx with myst-nb and not Jupyter Book 2: see docs/site.md.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
WIDGET = "application/vnd.jupyter.widget-view+json"

project = "MSA²Net workbook"
author = copyright = "the authors of the MSA²Net workbook"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
root_doc = "site/contents"  # index.html is the live page
include_patterns = ["site/*.md", "docs/*.md", "notebooks/*.ipynb", "data/README.md", "data/*/README.md", "*.md"]
exclude_patterns = [".*", "build", "results", "**/node_modules", "data/virtual*"]
templates_path = ["templates"]

nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}  # else every page with a widget asks two other servers for its program
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
mathjax_path = "mathjax.js"  # one file from npm, letters as paths

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and units stand in the words
autodoc_preserve_defaults = True
napoleon_custom_sections = ["Source"]
default_role = "code"

html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {
    "**": [
        *("sidebar/brand.html", "live.html", "sidebar/search.html", "sidebar/scroll-start.html"),
        *("sidebar/navigation.html", "sidebar/scroll-end.html"),
    ]
}
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_static_path = ["static"]

_BADGE = re.compile(r"\[!\[([^\]]*)\]\(https?://[^)]*\)\]")
_LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def mend(text: str, folder: Path) -> str:
    """A badge becomes words, and a link to what is no page of the site leads to the repository."""

    def target(match: re.Match[str]) -> str:
        path = (folder / match[1]).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            return match[0]  # Sphinx says so
        if path.suffix in (".png", ".svg"):
            return match[0]  # a figure, which is copied
        inside = path.relative_to(ROOT)
        if path.is_dir() or not any(
            inside.match(pattern) and len(inside.parts) == len(pattern.split("/")) for pattern in include_patterns
        ):
            return f"]({REPOSITORY}/{'tree' if path.is_dir() else 'blob'}/main/{inside}{match[2] or ''})"
        return match[0]

    text = text.replace("```mermaid", "```text")  # drawn on GitHub only, by a program from elsewhere
    return _LINK.sub(target, _BADGE.sub(r"[\1]", text))


def mend_notebook(text: str, folder: Path) -> str:
    """Fold what Jupyter folds, and leave out what only runs beside a kernel."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = mend("".join(cell["source"]), folder)
        if cell["metadata"].get("jupyter", {}).get("source_hidden"):
            cell["metadata"].setdefault("tags", []).append("hide-input")
        for output in cell.get("outputs", []):
            if output.get("data", {}).pop(WIDGET, None) and "".join(output["data"].get("text/plain", "")).startswith(
                ("VBox(", "interactive(", "NiiVue(")
            ):
                output["data"]["text/plain"] = "Run this lesson to move it."
    notebook["metadata"].pop("widgets", None)
    notebook["metadata"]["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return json.dumps(notebook)


def read_source(app: Any, name: str, source: list[str]) -> None:
    """What Sphinx calls with the text of each page."""
    path = Path(app.env.doc2path(name))
    source[0] = (mend_notebook if path.suffix == ".ipynb" else mend)(source[0], path.parent)


def setup(app: Any) -> None:
    """What Sphinx calls first."""
    app.connect("source-read", read_source)
