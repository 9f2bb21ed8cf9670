#!/usr/bin/env bash
# `import nbformat` takes as long as loading a deep-learning framework, in any environment that has JupyterLab.
#
# One would guess that a small library that reads JSON is there in a few hundredths of a second. But nbformat imports
# jsonschema, which imports every format checker that it finds, and JupyterLab (by jupyter-events) brings the extra
# `jsonschema[format-nongpl]`: its rfc3987-syntax builds a parser from a grammar when it is imported, for the format
# "iri", which no notebook's schema asks for. That takes almost nine tenths of the import's time.
#
# It matters here because a batch runs many short processes: lessons/execute.py imports nbformat only where a notebook
# is read, and a command that starts a batch was two seconds faster for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/python -m pip install --quiet nbformat==5.11.1 'jsonschema[format-nongpl]==4.26.0' rfc3987-syntax==1.1.0 lark==1.3.1
cat > measure.py <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

print("Python", sys.version.split()[0], *(f"{name} {version(name)}" for name in ("nbformat", "jsonschema", "rfc3987-syntax", "lark")))
MEASURE = """
import sys, time
if sys.argv[1] == "without": sys.modules["rfc3987_syntax"] = None  # as if it were not installed
started = time.process_time()
import nbformat
print(time.process_time() - started, sys.modules.get("rfc3987_syntax") is not None)
"""


def seconds(how):
    """The least of three, as other processes only ever add to it; and whether the parser was loaded."""
    words = [subprocess.run([sys.executable, "-c", MEASURE, how], capture_output=True, text=True, check=True) for _ in range(3)]
    times, loaded = zip(*(word.stdout.split() for word in words))
    return min(map(float, times)), set(loaded)


seconds("with")  # writes the bytecode
(long, there), (short, gone) = seconds("with"), seconds("without")
print(f"import nbformat: {long:.2f} s of processor time; without rfc3987-syntax: {short:.2f} s")
assert (there, gone) == ({"True"}, {"False"}), "the parser is no longer loaded by an import of nbformat"
assert long > 4 * short, "the parser is built fast, or later, now"
PYTHON
env -u PYTHONDONTWRITEBYTECODE env/bin/python measure.py
