"""The report: parsed as a browser would, it says all that lies in the folder, and why anything does not."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from PIL import Image
from planted_report import HOSTILE, WIDE, fail, number, plant, plant_job, plant_lesson

from msa2net_lib.batch.plan import Plan
from msa2net_lib.batch.report import page, records, write_report
from msa2net_lib.batch.report.items import ITEMS
from msa2net_lib.batch.report.records import find, tail
from msa2net_lib.paper import tables
from msa2net_lib.paper.claims import claims
from msa2net_lib.paper.discrepancies import DISCREPANCIES

VOID = {"meta", "link", "img", "br"}
BLOCKS = {"p", "li", "dt", "dd", "td", "th", "tr", "summary", "figcaption", "br", "h2", "h3", "pre"}
STYLE = Path(page.__file__).with_name("style.css").read_text()


@dataclass
class Page(HTMLParser):
    """What a page holds: tags with attributes, ids, text by the id around it; badly nested tags fail."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    open: list[tuple[str, str | None]] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag in BLOCKS:
            self.handle_data(" ")
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))

    def handle_endtag(self, tag):
        opened, _ = self.open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data):
        for tag, anchor in self.open:
            assert tag != "script"
            if anchor:
                self.texts[anchor] = self.texts.get(anchor, "") + data

    def all(self, name):
        """Attributes of every tag of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]

    def text(self, anchor):
        """The words within the element of an id, white space made one."""
        return " ".join(self.texts[anchor].split())


def parsed(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def planted(home):
    return parsed(write_report(home.parent, "smoke"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return parsed(write_report(tmp_path_factory.mktemp("empty"), "smoke"))


def test_every_picture_is_in_the_page_and_has_words(planted):
    pictures = planted.all("img")
    assert len(pictures) == 5  # one of lessons 08 and 13, three of lesson 11
    for picture in pictures:
        assert HOSTILE in picture["alt"]
        kind, content = picture["src"].split(";base64,")
        with Image.open(BytesIO(base64.b64decode(content, validate=True))) as image:
            image.load()
            assert kind == f"data:image/{str(image.format).lower()}"
            assert image.size == (int(picture["width"]), int(picture["height"]))
            assert image.width <= 1200
            assert image.convert("RGB").getpixel((min(50, image.width // 2), image.height // 2)) == (0, 0, 128)
    assert sorted(int(picture["width"]) for picture in pictures) == [300, 300, 1200, 1200, 1200]
    assert max(int(picture["height"]) for picture in pictures if picture["width"] == "1200") == 200 * 1200 // WIDE


def test_nothing_is_fetched_and_links_stay_in_the_folder(planted, home):
    for tag, attributes in planted.tags:
        assert tag not in ("script", "iframe", "object", "embed")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "srcset", "href", "poster", "data"):
            value = attributes.get(name, "")
            if tag == "a" and value.startswith("http"):
                continue
            assert not re.match(r"(https?:)?//", value), (tag, value)
            if value and not value.startswith(("data:", "#")):
                assert (home / unquote(value)).is_file(), value
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    (policy,) = [one["content"] for one in planted.all("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("which", ["planted", "empty"])
def test_ids_are_unique_and_links_within_the_page_arrive(which, request):
    found = request.getfixturevalue(which)
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not any(re.search(r"\s", one) for one in ids)
    wanted = [one["href"][1:] for one in found.all("a") if one["href"].startswith("#")]
    wanted += [one["aria-labeledby"] for _, one in found.tags if "aria-labeledby" in one]
    assert set(wanted) <= set(ids)
    assert {f"item-{item.key}" for item in ITEMS} <= set(wanted)
    assert found.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_registry_is_the_papers():
    assert [item.name for item in ITEMS] == [
        *("Table 1", "Table 2", "Table 3", "Table A"),
        *("Figure 1", "Figure 2", "Figure 3", "Figure A", "Figure B"),
    ]


def test_without_any_record_every_item_has_its_reason(empty):
    for item in ITEMS:
        text = empty.text(f"item-{item.key}")
        assert re.search(r"not measured: [^:]*not run in this batch", text), text
    assert not empty.all("img")
    assert "failed" not in empty.texts
    overview = " ".join(empty.text("overview").split())
    assert "Of the paper's 9 tables and figures 0 have numbers here that may be compared" in overview


def test_what_was_measured_stands_beside_what_was_published(planted):
    one = planted.text("item-table_1")
    for words in (
        "87.09",
        "1.48",
        "virtual patients",
        "not comparable: virtual patients",
        "last step",
        "95 % interval",
    ):
        assert words in one
    assert "not measured: needs a GPU & Synapse" in one
    assert (
        "reproduced: tiny virtual patients not measured not measured 93.78 not measured" in one
    )  # parameters, FLOPs, spleen
    for name in ("figure_2", "figure_a", "figure_1"):
        assert "Comparable?" in planted.text(f"item-{name}")
    assert "measured: reproduced: tiny: DSC (%) 87.09, HD95 1.48; data: virtual patients" in planted.text("paper")
    assert "the table of this batch has no reproduced row" in planted.text("item-table_3")
    overview = " ".join(planted.text("overview").split())  # something is measured, and Figure 1 alone compares, by eye
    assert "figures 0 have numbers here that may be compared with the printed ones, and" in overview
    assert "Figure 1" in overview.partition("may be held beside the print by eye")[0]


@pytest.mark.parametrize("key", ["table_1", "table_2", "table_3", "table_a"])
def test_published_numbers_are_the_papers_to_the_last_digit(planted, empty, key):
    values = getattr(tables, key)()
    numbers = values.to_frame() if key == "table_a" else values
    for found in (planted, empty):
        text = found.text(f"item-{key}")
        for value in numbers.select_dtypes("number").to_numpy().ravel():
            digits = 4 if key == "table_2" else 2
            assert f" {value} " in f"{text} " or f" {value:.{digits}f} " in f"{text} ", value
    one = planted.text("item-table_1")
    assert "25.51 8.045 90.99" in one
    assert "111.6 48.93 89.40" in one
    assert "35.28 6.40 90.10" in one
    assert "0.8800" in empty.text("item-table_2")


def test_every_row_of_a_table_stands_beside_its_reproduction_or_the_reason(home, tmp_path):
    whole = write_report(home.parent, "smoke").read_text(encoding="utf-8")
    table = whole.split("Table 1: row by row", 1)[1].split("</table>")[0]
    assert table.count("<tr>") == 1 + len(tables.table_1())
    row = table.split('<th scope="row">TransUNet</th>')[1].split("</tr>")[0]
    for cell in ("77.49", "71.50 ± 1.25 (3 seeds)", "-2.10: -4.00 to -0.20", "31.69", "8.75", "96.07 · 96.07"):
        assert f">{cell}</td>" in row
    assert "virtual patients, mean over organs; 64 x 64 pixels" in row
    assert table.count("not measured") >= 2 * (len(tables.table_1()) - 1)
    assert "failed: CUDA out of memory &amp; more" in table
    assert "Table 2: row by row" not in whole
    shutil.copytree(home, tmp_path / "smoke")
    (tmp_path / "smoke" / "tables" / "table_1_rows.csv").write_text("row,dsc\nTransUNet,1\n")
    again = write_report(tmp_path, "smoke").read_text(encoding="utf-8")
    assert "Row by row: tables/table_1_rows.csv cannot be read (KeyError): make it again." in again


def test_a_failed_job_comes_first_with_its_log(planted):
    anchors = [one["id"] for tag, one in planted.tags if tag == "section"]
    assert anchors[0] == "failed"
    text = planted.text("failed")
    for words in (
        "Failed: 1",
        "train: train-1",
        "RuntimeError: out of luck",
        "jobs/train-1/log.txt",
        "line 199",
        HOSTILE,
    ):
        assert words in text
    assert "line 100 " not in text  # only its end
    assert "100 %" in text
    assert "50 %" not in text
    assert "[31m" not in text
    assert "train-1" in planted.text("item-table_2")  # no table without it
    assert "nothing failed" not in planted.text("overview").lower()


def test_two_writes_are_the_same_bytes_and_the_report_job_changes_nothing(home):
    first = write_report(home.parent, "smoke").read_bytes()
    report = plant_job(home, "report", "report", minutes=9)
    (report / "log.txt").write_text("writing")
    second = write_report(home.parent, "smoke").read_bytes()
    (report / "record.json").unlink()
    assert first == second == write_report(home.parent, "smoke").read_bytes()


def test_whatever_a_record_says_is_text(planted, tmp_path):
    assert HOSTILE in planted.text("lessons")
    plant_lesson(tmp_path / "smoke", "03_selection", ["<b>"], numbers={"<i>\x00\ud800": number(float("nan"), "<u>")})
    path = write_report(tmp_path, "smoke", title="<b>title</b>")
    found = parsed(path)
    assert not {"b", "i", "u"} & {tag for tag, _ in found.tags}
    assert "<i>\ufffd\ufffd not measured" in found.text("lessons")
    assert "<title>&lt;b&gt;title" in path.read_text()


def test_a_lessons_table_is_taken_where_the_batch_has_no_reproduced_rows(planted, tmp_path):
    plant(tmp_path)
    rows = "row,dsc,origin,comparability\npublished row,84.75,published,\nall parts,50.126,measured,not comparable\n"
    folder = plant_lesson(tmp_path / "smoke", "12_ablation", ["figure_ablation"], tables=["table_3.csv"])
    (folder / "table_3.csv").write_text(rows)
    found = parsed(write_report(tmp_path, "smoke"))
    text = found.text("item-table_3")
    assert "all parts 50.13" in text
    assert "figure_ablation" in text
    assert "measured: all parts: DSC (%) 50.13" in found.text("paper")
    # Its picture is embedded once: the lesson points to it.
    assert len(found.all("img")) == len(planted.all("img")) + 1
    assert "Its figure is shown at Table 3" in found.text("run-12_ablation")


def test_a_lessons_other_checkpoints_stand_below_the_batchs_own_row(tmp_path):
    home = tmp_path / "smoke"
    own = {"method": "reproduced", "dsc": "71.5", "hd95": "9.25", "origin": "measured", "selection": "last step"}
    others = [own | {"method": "as the lesson calls it"}, own | {"method": "theirs", "dsc": "60.25"}]
    lesson = plant_lesson(home, "11_evaluation", [], tables=["table_1.csv"])
    (home / "tables").mkdir()
    pd.DataFrame([own]).to_csv(home / "tables" / "table_1.csv", index=False)
    pd.DataFrame(others).to_csv(lesson / "table_1.csv", index=False)
    words = parsed(write_report(home.parent, "smoke")).text("item-table_1")
    assert "theirs" in words
    assert "60.25" in words
    assert "as the lesson calls it" not in words, "the same scores twice"


def test_tables_of_an_earlier_run_are_called_so(tmp_path):
    home = plant(tmp_path)
    plant_job(home, "tables", "tables")
    assert "earlier run" not in parsed(write_report(tmp_path, "smoke")).text("item-table_1")
    fail(home, "tables", "no scores")
    assert "reproduced rows are an earlier run's" in parsed(write_report(tmp_path, "smoke")).text("item-table_1")


def test_a_log_elsewhere_is_not_read(tmp_path):
    (tmp_path / "secret.txt").write_text("secret words")
    home = tmp_path / "smoke"
    plant_job(home, "train-1", "train")
    fail(home, "train-1", "broken", log="../secret.txt")
    text = parsed(write_report(tmp_path, "smoke")).text("failed")
    assert "secret words" not in text
    assert "The log is not there." in text


def test_damage_is_named_and_stops_nothing(tmp_path):
    home = tmp_path / "smoke"
    folder = plant_lesson(home, "11_evaluation", ["figure_2", "figure_3"])
    (folder / "figure_2.png").write_bytes(b"no picture")
    (folder / "figure_3.png").unlink()
    (plant_lesson(home, "08_network", []) / "record.json").write_text("{")
    (plant_lesson(home, "09_boundary_loss", []) / "record.json").write_text(
        '{"figures": 3, "numbers": [], "tables": 1}'
    )
    (plant_job(home, "data-virtual", "data") / "record.json").write_text("[]")
    notebook = {"cells": [{"outputs": [{"output_type": "error", "ename": "KeyError", "evalue": "'x'\nmore"}]}]}
    (home / "10_training").mkdir()
    (home / "10_training" / "10_training.ipynb").write_text(json.dumps(notebook))
    (home / "07_decoder_blocks").mkdir()
    (home / "tables").mkdir()
    (home / "tables" / "table_1.csv").write_bytes(b"\xff\xfe\x00")
    (home / "tables" / "table_2.csv").write_text("row,dsc\nmeasured,1\n")
    (home / "plan.json").write_text('["no plan"]')
    found = parsed(write_report(tmp_path, "smoke"))
    assert "the figure figure_2.png cannot be read" in found.text("item-figure_2")
    assert "recorded figure_3.png, and the file is not there" in found.text("item-figure_3")
    assert "lesson 08_network failed: 08_network/record.json cannot be read" in found.text("item-table_a")
    assert "tables/table_1.csv cannot be read" in found.text("item-table_1")
    assert "tables/table_2.csv has no rows with a column 'origin'" in found.text("item-table_2")
    failed = found.text("failed")
    for words in ("Failed: 3", "KeyError: 'x'", "data-virtual/record.json holds no record", "08_network/record.json"):
        assert words in failed
    assert "unfinished: it started and left no record" in found.text("run-07_decoder_blocks")


def test_what_waits_for_a_failed_job_says_so(tmp_path):
    home = tmp_path / "smoke"
    plan = Plan(lessons=("03_selection", "10_training", "15_integration"))
    plant_job(home, "data-virtual", "data")
    plant_job(home, plan.main_training, "train")
    fail(home, plan.main_training, "the disk is full")
    plan.save(home)
    found = parsed(write_report(tmp_path, "smoke"))
    why = f"it needs {plan.main_training}, which failed"
    assert f"not run in this batch: {why}" in found.text("run-10_training")
    assert f"lesson-10_training outcome not run: {why}" in found.text("cost")
    assert "data-patient2 outcome not run: the batch did not come to it" in found.text("cost")
    assert "1 done, 1 failed, 4 not run" in found.text("run")


def test_every_claim_and_every_discrepancy_is_there(planted):
    ids = {attributes.get("id") for _, attributes in planted.tags}
    assert {f"claim-{claim.key}" for claim in claims()} <= ids
    assert {f"discrepancy-{entry.key}" for entry in DISCREPANCIES} <= ids
    for entry in DISCREPANCIES:
        text = planted.text(f"discrepancy-{entry.key}")
        assert " ".join(entry.title.split()) in text
        assert " ".join(entry.advice.split()) in text


def test_the_effects_of_this_batchs_audit_are_taken(tmp_path):
    folder = plant_lesson(tmp_path / "smoke", "16_paper_audit", [], tables=["discrepancies.csv"])
    (folder / "discrepancies.csv").write_text("key,effect on the score\nnotation,-0.5 DSC in this batch\n")
    found = parsed(write_report(tmp_path, "smoke"))
    assert "-0.5 DSC in this batch" in found.text("discrepancy-notation")
    other = next(entry for entry in DISCREPANCIES if entry.key != "notation")
    assert other.effect in found.text(f"discrepancy-{other.key}")
    assert "ran the evidence of each" in found.text("discrepancies")


def test_minutes_are_counted_once_and_side_by_side(home):
    batch = find(home.parent, "smoke")
    rows = records.spent(batch)
    # Two jobs of 6 minutes and two lessons of 1.5; the lesson that a job ran is not counted again.
    assert sum(row.minutes or 0 for row in rows) == 6 + 6 + 1.5 + 1.5
    assert sorted(row.name for row in rows) == sorted(
        ["train-1", "lesson-11_evaluation", "evaluate-1", "08_network", "13_frequency"]
    )
    # 00:00 to 00:06 and 00:03 to 00:09: 12 minutes of work in 9.
    assert records.side_by_side(batch).startswith("1.3 jobs at once on average: 12.0 min of work in 9.0 min")


@pytest.mark.parametrize(
    ("minutes", "words"), [(None, "not recorded"), (0, "0 s"), (0.04, "2 s"), (1.44, "1.4 min"), (90, "1.5 h")]
)
def test_minutes_in_words(minutes, words):
    assert records.in_words(minutes) == words


def test_the_tail_of_a_log_keeps_its_last_lines():
    assert tail("a\nb\n\nc\n", 2) == "b\nc"
    assert tail("") == ""


def test_the_commands_are_those_of_the_command_line(empty):
    from msa2net_lib.cli.main import _parser

    commands = re.findall(r"msa2net (reproduce [^\n]*)", empty.texts["again"])
    assert len(commands) >= 6
    for profile in ("smoke", "gpu", "paper"):
        assert any(f"--profile {profile} " in f"{line} " for line in commands)
    for line in commands:
        _parser().parse_args(line.split())


def colors(block):
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def luminance(color):
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", range(3))
def test_text_stands_out_from_its_ground(scheme):
    """WCAG 2: contrast of 4.5 or more; screen light and dark, and print."""
    found = colors(STYLE.split(":root {")[scheme + 1].split("}")[0])
    for text in ("text", "quiet", "link", "good", "bad", "wait"):
        for ground in ("page", "panel", "bad-panel", "reproduced"):
            light, dark = sorted((luminance(found[text]), luminance(found[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_a_page_is_written_without_what_computes(tmp_path):
    """It is written at the end of each batch: loading torch took ten times as long as the page."""
    code = "import sys; from msa2net_lib.batch.report import write_report; write_report(sys.argv[1], 'smoke'); "
    code += "print({'torch', 'scipy', 'matplotlib'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"
    assert (tmp_path / "smoke" / "index.html").is_file()


def test_seeds_are_those_of_every_job_also_of_one_that_trained_with_several(tmp_path):
    home = tmp_path / "smoke"
    plant_job(home, "train-1", "train")
    plant_job(home, "ablation-lka", "ablation", seed=None, parameters={"row": "lka", "seeds": [1, 2, 3]})
    plant_job(home, "data-virtual", "data", seed=None, parameters={})
    assert records.facts(find(tmp_path, "smoke"))["seeds"] == ["1, 2, 3"]
