"""A process of a command's own leaves its garbage to the system, except where a package would complain."""

import subprocess
import sys

import pytest

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
