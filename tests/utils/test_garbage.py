"""A process of a command's own leaves its garbage to the system, except where a package would complain."""

import gc
import subprocess
import sys

import pytest

from msa2net_lib.utils.garbage import collect_after_this_cell

USUAL = gc.get_threshold()[0]
"""Another one in other versions of Python."""
END = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 0, gc.get_threshold()[0]))\n"
OWN = "from msa2net_lib.utils.garbage import collect_rarely\ncollect_rarely()\n"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("", f"False {USUAL}"),
        (OWN, "True 100000"),
        (OWN + "sys.modules['triton'] = sys", "False 100000"),
        ("from msa2net_lib.cli.main import main\nsys.argv = ['msa2net', '--version']\nmain()", "True 100000"),
        ("from msa2net_lib.cli.main import main\nmain(['--version'])", f"False {USUAL}"),
    ],
)
def test_garbage_at_the_end(code, told):
    """Handlers run in the reverse of their order: the one that looks is the last."""
    done = subprocess.run([sys.executable, "-c", END + code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == told
    assert not done.stderr


LOOK = "print(gc.get_threshold()[0])"
CELL = "import gc\nfrom msa2net_lib.utils.garbage import collect_after_this_cell\n"


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["collect_after_this_cell(); print(gc.get_threshold()[0])", LOOK], [1_000_000, USUAL]),
        (["collect_after_this_cell(); collect_after_this_cell()", LOOK], [USUAL]),
        (["collect_after_this_cell()", "collect_after_this_cell()", LOOK], [USUAL]),
        (["collect_after_this_cell(); 1 / 0", LOOK], [USUAL]),
        (["gc.set_threshold(0)", "collect_after_this_cell()", LOOK], [0]),
        (["gc.set_threshold(5)", "collect_after_this_cell()", LOOK], [5]),
    ],
)
def test_a_cell_that_imports_is_not_searched_for_garbage_and_the_next_one_is(cells, told):
    run = "from IPython.core.interactiveshell import InteractiveShell as Shell\nshell = Shell.instance()\n"
    run += "".join(f"shell.run_cell({cell!r})\n" for cell in [CELL, *cells])
    done = subprocess.run([sys.executable, "-c", END + run], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    *printed, last = [line for line in lines if line.isdecimal() or line.startswith(("True ", "False "))]
    assert [*map(int, printed)] == told
    assert last == f"{told[-1] > 0} {told[-1]}"


def test_outside_of_a_notebook_nothing_changes():
    collect_after_this_cell()
    assert gc.get_threshold()[0] == USUAL
