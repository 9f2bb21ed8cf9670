"""Slurm's commands, played: a job runs at once, as a process of its own with the variables that Slurm would set.

`install` puts sbatch, srun, sacct, squeue, sinfo, sacctmgr and scancel into a folder for PATH. What was asked of sbatch
is kept there, one file of its arguments for each job.
"""

from __future__ import annotations

import sys
from pathlib import Path

_SBATCH = """
import json, os, subprocess, sys
from pathlib import Path
home = Path(__file__).parent
number = 1
while True:
    try:
        (home / f"job_{number}.json").open("x").close()
        break
    except FileExistsError:
        number += 1
words = sys.argv[1:]
(home / f"job_{number}.json").write_text(json.dumps(words))
name = words[words.index("--job-name") + 1]
(home / f"name_{number}").write_text(name)
command = next(word.removeprefix("--wrap=") for word in words if word.startswith("--wrap="))
environment = os.environ | {"SLURM_JOB_ID": str(number), "SLURM_CPUS_PER_TASK": "1", "SLURM_JOB_NAME": name}
done = f'({command}); echo $? > {home}/part_{number}; mv {home}/part_{number} {home}/code_{number}'
log = open(home / f"log_{number}", "w")
subprocess.Popen(["bash", "-c", done], env=environment, stdout=log, stderr=log, start_new_session=True)
print(number)
"""
_SACCT = """
import sys
from pathlib import Path
home = Path(__file__).parent
if "--version" in sys.argv:
    print("slurm 24.05")
for name in sorted(home.glob("name_*")):
    code = home / name.name.replace("name", "code")
    state = "RUNNING" if not code.is_file() else "COMPLETED" if code.read_text().strip() == "0" else "FAILED"
    print(f"{name.name.removeprefix('name_')}|{state}")
"""
_SRUN = """
import os, sys
words = sys.argv[1:]
while words[0].startswith("-"):
    words = words[1:]
os.execvp(words[0], words)
"""
_PARTITIONS = "print('PARTITION'); print('normal*')"
_ACCOUNTS = "print('us')"
_NOTHING = "print()"


def install(folder: Path) -> Path:
    """Write the commands to a folder and return it; it goes first in PATH."""
    folder.mkdir(parents=True)
    scripts = {"sbatch": _SBATCH, "sacct": _SACCT, "srun": _SRUN, "sinfo": _PARTITIONS, "sacctmgr": _ACCOUNTS}
    for name in ("squeue", "scancel"):
        scripts[name] = _NOTHING
    for name, text in scripts.items():
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{text.lstrip()}")
        path.chmod(0o755)
    return folder
