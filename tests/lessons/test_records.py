"""Records: what is written is what was measured, and holds no path of the machine."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import sys
from io import BytesIO
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from IPython.core.pylabtools import select_figure_formats
from matplotlib.backend_bases import FigureCanvasBase
from PIL import Image

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.records import BUSY, LOCK, Recorder, read_record
from msa2net_lib.lessons.registry import LESSONS, QUICK
from msa2net_lib.utils.locks import exclusive
from msa2net_lib.viz.plots import figure_grid


def namespace(tmp_path, **more):
    return {"PROFILE": "smoke", "DATASET": "virtual", "DATA_DIR": str(tmp_path), "OUTPUT_DIR": str(tmp_path),
            "SEED": 3, "DEVICE": "cpu", "_HIDDEN": 1, "MASAG": object, "lower": 2} | more  # fmt: skip


def test_a_record_holds_what_was_given(tmp_path):
    data = tmp_path / "scan.nii.gz"
    data.write_bytes(b"voxels")
    record = Recorder.start("00_start_here", namespace(tmp_path))
    record.number("mean DSC", 0.5, "DSC", "a note")
    record.number("on the GPU", None, "s")
    record.number("nowhere", float("nan"), "s")
    record.figure(figure_grid(1, 1)[0], "figure", "A figure.", headline=True)
    record.table(pd.DataFrame({"a": [1]}), "numbers")
    record.used([data])
    written = json.loads(record.finish().read_text())
    assert written == read_record(tmp_path, "smoke", "00_start_here")
    assert written["numbers"]["mean DSC"] == {"value": 0.5, "unit": "DSC", "note": "a note"}
    assert written["numbers"]["on the GPU"]["value"] == written["numbers"]["nowhere"]["value"] == "not measured"
    assert written["data_sha256"] == {"scan.nii.gz": hashlib.sha256(b"voxels").hexdigest()}
    assert written["seed"] == 3
    assert sorted(written["parameters"]) == ["DATASET", "DATA_DIR", "DEVICE", "OUTPUT_DIR", "PROFILE", "SEED"]
    assert {p.name for p in record.folder.glob("[a-z]*")} == {"record.json", "figure.png", "numbers.csv"}


@pytest.fixture
def page(monkeypatch):
    """A page with IPython's own printers: how it shows figures -> (figure -> PNG shown, None where there is none)."""

    def made(formats, **how):
        shell = SimpleNamespace(display_formatter=DisplayFormatter())
        monkeypatch.setattr("IPython.get_ipython", lambda: shell)
        select_figure_formats(shell, formats, **how)
        return lambda figure: shell.display_formatter.format(figure)[0].get("image/png")

    return made


def plotted():
    figure, axes = figure_grid(1, 1)
    axes[0, 0].plot([0, 1, 0])
    return figure


@pytest.mark.parametrize("how", [{}, {"bbox_inches": "tight"}])
def test_a_page_shows_the_file_itself_once_and_only_if_the_figure_did_not_change(tmp_path, page, monkeypatch, how):
    record, shown = Recorder.start("00_start_here", namespace(tmp_path)), page({"png"}, **how)
    expected, figure = shown(plotted()), plotted()
    record.figure(figure, "figure", "A figure.")
    with monkeypatch.context() as context:
        context.setattr(FigureCanvasBase, "print_figure", None)  # it is not drawn a second time
        assert base64.b64decode(file := shown(figure)) == (record.folder / "figure.png").read_bytes()
        assert file == expected
    figure.axes[0].xaxis.label.set_text("changed, which the figure is not told")
    assert shown(figure) not in (expected, None)
    record.figure(figure := plotted(), "figure", "A figure.")
    figure.axes[0].set_title("changed")
    assert shown(figure) not in (expected, None)
    assert shown(plotted()) == expected, "one that is not recorded is drawn as ever"


@pytest.mark.parametrize(
    ("formats", "how", "size"), [({"retina"}, {}, 2), ({"png"}, {"dpi": 50}, 0.5), ({"svg"}, {}, None)]
)
def test_where_a_reader_wants_other_pictures_jupyter_draws_them(tmp_path, page, formats, how, size):
    record, shown = Recorder.start("00_start_here", namespace(tmp_path)), page(formats, **how)
    record.figure(figure := plotted(), "figure", "A figure.")
    picture, file = shown(figure), Image.open(record.folder / "figure.png")
    if size is None:
        assert picture is None
    else:
        assert abs(Image.open(BytesIO(base64.b64decode(picture))).width - size * file.width) < 6


def test_a_guess_is_kept_and_shown_beside_the_result_and_a_default_is_no_guess(tmp_path, capsys):
    record = Recorder.start("00_start_here", namespace(tmp_path))
    record.guess("side", None, 7)
    record.guess("\nshare", 0.5, "0.39")
    record.guess("alike", ["aff", "sk"], [])
    record.guess("levels", [], [0, 2])
    record.guess("parts", {"aff"}, ("sk",))
    assert capsys.readouterr().out.splitlines() == [
        "side: 7; no guess",
        "",
        "share: 0.39; your guess 0.5",
        "alike: none; your guess aff, sk",
        "levels: 0, 2; your guess none",
        "parts: sk; your guess aff",
    ]
    written = json.loads(record.finish().read_text())["guesses"]
    assert written["side"] == {"guess": None, "result": "7"}
    assert written["share"] == {"guess": "0.5", "result": "0.39"}


@pytest.mark.parametrize("name", ["SEEED", "seed", "Seed", "SEEDS", "seeed", "x"])
@pytest.mark.parametrize("cell", ['PROFILE = "smoke"\n{} = 4', "# Parameters\n{} = 4\n"])
def test_what_the_cells_of_parameters_assign_has_to_be_declared(tmp_path, name, cell):
    given = namespace(tmp_path, **{name: 4}) | {"In": ["", 'PROFILE = "smoke"', cell.format(name), "setup()"]}
    with pytest.raises(InputError, match=f"{name} is no parameter of 00_start_here"):
        Recorder.start("00_start_here", given)
    corrected = {"In": [*given["In"], 'PROFILE = "smoke"\nSEED = 4', "setup()"]}  # the cell above, mended and run again
    assert Recorder.start("00_start_here", given | corrected).parameters["SEED"] == 3


def test_names_of_other_cells_are_the_lessons_own(tmp_path):
    cells = ["!ls", 'PROFILE = "smoke"', "import x\nROWS = (1,)", "SEEDS = [1, 2]", "seeds = 3", "def broken(:"]
    given = namespace(tmp_path, ROWS=(1,), SEEDS=[1, 2], seeds=3) | {"In": cells}
    assert sorted(Recorder.start("00_start_here", given).parameters) == sorted(LESSONS["00_start_here"].parameters)


def test_a_setup_cell_without_the_cell_above_it_says_so(refused):
    refused(["PROFILE", "run the cell of parameters"], Recorder.start, "00_start_here", {"In": ["setup()"]})


def test_checked_values_go_back_into_the_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    notebook = namespace(tmp_path, SEED=np.int64(7), OUTPUT_DIR="~/results", DATA_DIR=tmp_path)
    record = Recorder.start("00_start_here", notebook)
    assert type(notebook["SEED"]) is int
    assert record.folder == tmp_path / "results" / "smoke" / "00_start_here"
    assert notebook["OUTPUT_DIR"] == str(tmp_path / "results")
    record.finish()


@pytest.mark.parametrize("name", LESSONS)
def test_a_setup_cell_runs_twice_in_one_kernel(root, tmp_path, name):
    """With all that the cell imports; what it opens then is its own."""
    cells = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4).cells
    parameters = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    setup = next(cell.source for cell in cells if "Recorder.start(" in cell.source)
    body = [node for node in ast.parse(setup).body if isinstance(node, ast.Import | ast.ImportFrom)]
    page = {"In": [""]}
    for again in range(2):
        page["In"] += [parameters, setup]
        exec(
            parameters.replace("../results", str(tmp_path)).replace("../data", str(root / "data")), page
        )  # our own page
        exec("\n".join(ast.unparse(node) for node in body), page)
        record = Recorder.start(name, page)
        assert record.parameters.keys() == set(LESSONS[name].parameters), again


@pytest.mark.parametrize("place", ["../data", "nowhere", "~/nowhere"])
def test_a_page_run_from_another_folder_says_what_to_do(tmp_path, monkeypatch, refused, place):
    """As papermill does without ``--cwd``."""
    monkeypatch.chdir(tmp_path)
    given = namespace(tmp_path, DATA_DIR=place)
    refused(["DATA_DIR=", tmp_path, "--cwd notebooks"], Recorder.start, "00_start_here", given)


@pytest.mark.parametrize("absent", [("monai",), ("segmentation_models_pytorch", "monai"), ("no_such_package",)])
def test_a_section_that_lacks_packages_says_so_and_is_left_out(tmp_path, monkeypatch, capsys, absent):
    record = Recorder.start("00_start_here", namespace(tmp_path))
    assert not record.lacks("torch", "numpy")
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    assert record.lacks("torch", *absent)
    told = f"left out: this part needs {', '.join(absent)}: run pip install 'msa2net-workbook[notebooks]'\n"
    assert capsys.readouterr().out == told


def test_a_lesson_that_lacks_all_it_needs_is_one_line(tmp_path, monkeypatch, refused):
    more = {
        "CHECKPOINT": "auto",
        "CASE": 0,
        "SLICE": "auto",
        "ORGAN": "liver",
        "SLICES": 1,
        "SEEDS": 1,
        "MEASURED": "x",
    }
    monkeypatch.setitem(sys.modules, "captum", None)
    refused(["captum", "pip install"], Recorder.start, "14_grad_cam", namespace(tmp_path, **more))


def test_a_quick_run_takes_the_lessons_short_settings_and_says_so(tmp_path, monkeypatch, capsys):
    def start():
        more = {
            "PRESET": "auto",
            "STEPS": 700,
            "BATCH_SIZE": 0,
            "SELECTION": "last",
            "GPUS": 0,
            "RESUME": False,
            "SCORED": "trained",
        }
        notebook = namespace(tmp_path, BENCHMARKS=str(tmp_path), **more)
        return notebook, Recorder.start("10_training", notebook)

    quick = LESSONS["10_training"].quick
    assert start()[0]["STEPS"] == 700
    monkeypatch.setenv(QUICK, "1")
    notebook, record = start()
    assert notebook["STEPS"] == record.parameters["STEPS"] == quick["STEPS"]
    assert f"quick run: STEPS = {quick['STEPS']}" in capsys.readouterr().out


def test_one_kernel_at_a_time_writes_a_lessons_results(tmp_path):
    """Its own setup cell may run again; the folder is free after `finish`."""
    first = Recorder.start("00_start_here", namespace(tmp_path))
    again = Recorder.start("00_start_here", namespace(tmp_path))
    refused = pytest.raises(InputError, match=r"00_start_here: another kernel or run is at work on this lesson; end it")
    with refused, exclusive(first.folder, lock=first.folder / LOCK, busy=BUSY):
        pass
    again.finish()
    with exclusive(first.folder, lock=first.folder / LOCK, busy=BUSY):
        pass
