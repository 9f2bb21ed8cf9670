"""One deck of slides a session, from the lessons' own words and figures: `python site/slides.py FOLDER`.

A section of a lesson is a slide: its heading, its first sentences, its first equation, its first figure. A deck is one
page of HTML; Page Down and the arrow keys turn the slides.
"""

from __future__ import annotations

import html
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from msa2net_lib.lessons.registry import LESSONS

ROOT = Path(__file__).resolve().parents[1]
SENTENCES = 2
SESSIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "class": ("One class: how a gate weighs a skip", ("02", "03", "04", "05", "06")),
    "course_1": ("Course, session 1: two maps meet", ("00", "02", "03")),
    "course_2": ("Course, session 2: the whole gate", ("04", "05", "06")),
    "course_3": ("Course, session 3: what is it worth?", ("10", "11", "12")),
    "lab_1": ("Lab, day 1: data and a first network", ("01", "10")),
    "lab_2": ("Lab, day 2: write the gate", ("02", "03", "04", "05")),
    "lab_3": ("Lab, day 3: gates and maps compared", ("06", "14")),
    "lab_4": ("Lab, day 4: losses, scores, ablation", ("09", "11", "12")),
    "lab_5": ("Lab, day 5: your network, and the paper", ("15", "16")),
}
"""Name of the deck -> its title and lessons; docs/teaching.md says how the minutes go."""

NO_WORDS = re.compile(r"[|#!<\[-]|\*(?!\*)|\$\$|```")
"""How a table, a heading, a figure, a list, an equation and code begin."""

STYLE = """
html { scroll-snap-type: y mandatory; font: 22px/1.4 system-ui, sans-serif; color-scheme: light dark; }
body { margin: 0; }
section { height: 100vh; overflow: auto; scroll-snap-align: start; padding: 3vh 6vw; box-sizing: border-box; }
section { display: flex; flex-direction: column; justify-content: safe center; }
h1, h2 { margin: 0 0 0.5rem; line-height: 1.2; }
img { flex: 1; min-height: 40vh; object-fit: contain; background: #fff; }
p { flex: none; max-width: 55em; margin: 0.4rem 0; overflow: auto hidden; }
small { opacity: 0.75; }
@media print { section { break-after: page; } }
"""

KEYS = """
addEventListener("keydown", event => {
  const step = { PageDown: 1, ArrowRight: 1, PageUp: -1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...document.querySelectorAll("section")];
  const now = all.findIndex(one => one.getBoundingClientRect().bottom > innerHeight / 2);
  all[Math.max(0, Math.min(all.length - 1, now + step))].scrollIntoView();
});
"""


@dataclass
class Slide:
    """What a slide shows: a heading, words, TeX and a PNG in base64, each of the last three or none."""

    heading: str
    words: str = ""
    equation: str = ""
    figure: str = ""
    lesson: str = field(default="", repr=False)


def slides_of(notebook: nbformat.NotebookNode, lesson: str) -> list[Slide]:
    """The lesson's title with what one can do after it, then each section that has a figure or an equation."""
    slides: list[Slide] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for part in re.split(r"^(?=##? )", cell.source, flags=re.M):
                heading = re.match(r"##? (.*)", part)
                if heading:
                    slides.append(Slide(heading[1], _first_words(part[heading.end() :]), lesson=lesson))
                if slides and not slides[-1].equation and (tex := re.search(r"\$\$(.+?)\$\$", part, re.S)):
                    slides[-1].equation = tex[1].strip()
        elif slides and not slides[-1].figure:
            pictures = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
            slides[-1].figure = "".join(pictures[:1]).strip()
    return [slide for place, slide in enumerate(slides) if place == 0 or slide.figure or slide.equation]


def _first_words(text: str) -> str:
    """The first sentences of the first paragraph, without marks; what an exercise asks is none of them."""
    text = re.split(r"^### Exercise", text, flags=re.M)[0]
    plain = (block.strip() for block in re.split(r"\n\s*\n|^###.*$", text, flags=re.M))
    paragraph = next((block for block in plain if block and not NO_WORDS.match(block)), "")
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)|\*\*|`", lambda match: match[1] or "", " ".join(paragraph.split()))
    words = re.sub(r"\*([^*$]+)\*", r"\1", words)
    return " ".join(re.split(r"(?<=[.?!]) (?=\(?[A-Z]|\$)", words)[:SENTENCES])


def deck(title: str, slides: list[Slide], mathjax: str = "../_static/mathjax.js") -> str:
    """The page."""
    parts = [f"<section><h1>{html.escape(title)}</h1><p>{len(slides)} slides; Page Down turns them.</p></section>"]
    for slide in slides:
        body = f"<h2>{html.escape(slide.heading)}</h2><p>{html.escape(slide.words)}</p>"
        body += f"<p>$${html.escape(slide.equation)}$$</p>" if slide.equation else ""
        alt = html.escape(f"Figure of {slide.lesson}: {slide.heading}", quote=True)
        body += f'<img alt="{alt}" src="data:image/png;base64,{slide.figure}">' if slide.figure else ""
        parts.append(f"<section>{body}<p><small>{slide.lesson}</small></p></section>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><script>MathJax = {{ tex: {{ inlineMath: [['$', '$']] }} }};</script>"
        f'<script>{KEYS}</script><script src="{mathjax}" defer></script></head><body>{"".join(parts)}</body></html>\n'
    )


def main(folder: Path) -> None:
    """Write every deck."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, numbers) in SESSIONS.items():
        slides: list[Slide] = []
        for lesson in LESSONS:
            if lesson[:2] in numbers:
                slides += slides_of(nbformat.read(ROOT / "notebooks" / f"{lesson}.ipynb", as_version=4), lesson)
        (folder / f"{name}.html").write_text(deck(title, slides), encoding="utf-8")
        print(f"{name}: {len(slides)} slides")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
