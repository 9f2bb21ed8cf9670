"""A process of a command's own leaves its garbage to the system, except where a package would complain."""

import gc
import subprocess
import sys

import pytest

from msa2net_lib.utils.garbage import collect_after_this_cell

END = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 0, gc.get_threshold()[0]))\n"
OWN = "from msa2net_lib.utils.garbage import collect_rarely\ncollect_rarely()\n"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("", "False 700"),
        (OWN, "True 100000"),
        (OWN + "sys.modules['triton'] = sys", "False 100000"),
        ("from msa2net_lib.cli.main import main\nsys.argv = ['msa2net', '--version']\nmain()", "True 100000"),
        ("from msa2net_lib.cli.main import main\nmain(['--version'])", "False 700"),
    ],
)
def test_garbage_at_the_end(code, told):
    """Handlers run in the reverse of their order: the one that looks is the last."""
    done = subprocess.run([sys.executable, "-c", END + code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == told
    assert not done.stderr


CELL = "import gc\nfrom msa2net_lib.utils.garbage import collect_after_this_cell\n"


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["collect_after_this_cell(); print(gc.isenabled())", "print(gc.isenabled())"], ["False", "True"]),
        (["collect_after_this_cell(); 1 / 0", "print(gc.isenabled())"], ["True"]),
        (["gc.disable()", "collect_after_this_cell()", "print(gc.isenabled())"], ["False"]),
    ],
)
def test_a_cell_that_imports_is_not_searched_for_garbage_and_the_next_one_is(cells, told):
    run = "from IPython.core.interactiveshell import InteractiveShell as Shell\nshell = Shell.instance()\n"
    run += "".join(f"shell.run_cell({cell!r})\n" for cell in [CELL, *cells])
    done = subprocess.run([sys.executable, "-c", END + run], capture_output=True, text=True, check=True)
    *printed, last = [line for line in done.stdout.splitlines() if line.startswith(("True", "False"))]
    assert printed == told
    assert last == f"{'gc.disable()' not in cells} 700"


def test_outside_of_a_notebook_nothing_changes():
    collect_after_this_cell()
    assert gc.isenabled()
