"""MASAG and its adapters come alone: they load what torch and einops load, and run where there is nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import sys
import torch, einops
before = {name.partition(".")[0] for name in sys.modules}
for module in ("masag", "adapters"):
    __import__("msa2net_lib.nn." + module)
    print(sorted({name.partition(".")[0] for name in sys.modules} - before))
    print(sorted(name for name in sys.modules if name.startswith("msa2net_lib")))
"""

# The finder comes after torch and einops have loaded what they need: what is asked for from then on, we ask for.
BLOCKED = """
for name in [name for name in sys.modules if name.startswith("msa2net_lib")]:
    del sys.modules[name]
class Finder:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"msa2net_lib", "torch", "einops"} and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)
sys.meta_path.insert(0, Finder())
try:
    import timm
except ModuleNotFoundError as error:
    print(error)
x = torch.randn(2, 3, 5, 6, requires_grad=True)
from msa2net_lib.nn.masag import MASAG
MASAG(3)(x, x).sum().backward()
print("masag", tuple(x.grad.shape))
from msa2net_lib.nn.adapters import GatedSkip
print("adapters", tuple(GatedSkip(3, 4)(x, torch.zeros(2, 4, 2, 3)).shape))
"""

MASAG_NEEDS = ["msa2net_lib", "msa2net_lib.nn", "msa2net_lib.nn.masag"]
ADAPTERS_NEED = sorted([*MASAG_NEEDS, "msa2net_lib.errors", "msa2net_lib.nn.adapters"])


@pytest.mark.slow
def test_they_load_no_package_beside_torch_and_einops_and_run_where_every_other_is_blocked():
    """In one fresh interpreter, in which they are imported twice."""
    done = subprocess.run([sys.executable, "-c", LOADED + BLOCKED], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    packages, own, packages_then, own_then, *told = done.stdout.splitlines()
    assert packages == packages_then == "['msa2net_lib']"
    assert own == str(MASAG_NEEDS)
    assert own_then == str(ADAPTERS_NEED)
    assert told == ["blocked: timm", "masag (2, 3, 5, 6)", "adapters (2, 3, 5, 6)"]
