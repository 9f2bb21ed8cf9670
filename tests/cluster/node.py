"""A Slurm cluster of this one machine, started and stopped: Debian's slurm-wlm and munge, no accounts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SETTINGS = Path("/etc/slurm/slurm.conf")
OURS = "# Written by tests/cluster of the MSA²Net workbook, and removed by it."
DAEMONS = ("munged", "slurmctld", "slurmd")
CPUS, MEMORY = 2, min(16000, psutil.virtual_memory().total * 9 // 10 >> 20)
"""What the node says it has: jobs that want 4 CPUs, as the profile's trainings do, never fit."""


class NoSlurmError(Exception):
    """There is no Slurm and none could be installed, or there is one already."""


def find_slurm() -> None:
    """Have Slurm's programs, installing Debian's packages if need be. Errors: `NoSlurmError`."""
    if os.geteuid() != 0:
        raise NoSlurmError("a cluster is started by root alone: try again as root, on a test machine")
    if SETTINGS.exists() and OURS not in SETTINGS.read_text():
        raise NoSlurmError(f"{SETTINGS} is there: this machine is part of a cluster already, use another")
    if all(map(shutil.which, DAEMONS)):
        return
    if not shutil.which("apt-get"):
        raise NoSlurmError("install Slurm and munge first (slurmctld, slurmd, munged are not all there)")
    print("installing Debian's slurm-wlm and munge with apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in ("update", "install -y --no-install-recommends slurm-wlm munge"):
        done = subprocess.run(["apt-get", "-qq", *words.split()], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise NoSlurmError(f"apt-get {words} ended with status {done.returncode}: {done.stderr[-2000:]}")


@contextmanager
def one_node(home: Path, there: Collection[int] = ()) -> Iterator[None]:
    """Run a cluster as long as the block runs, its files in ``home``; nothing of it is left.

    there: numbers of processes that were there before, such as a munge of the system's own, and stay.
    """
    host, begun = socket.gethostname().partition(".")[0], []
    for name in ("state", "spool"):
        (home / name).mkdir()
    key, door = home / "munge.key", home / "munge.socket"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    SETTINGS.parent.mkdir(exist_ok=True)
    SETTINGS.write_text(
        f"""{OURS}
ClusterName=workbook
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={door}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory={MEMORY} State=UNKNOWN
PartitionName=normal Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
    )
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={door}", "--num-threads=1"]
    munged += [f"--{name}-file={home}/munged.{name}" for name in ("pid", "log", "seed")]
    try:
        with open(home / "daemons.log", "a") as log:
            for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
                begun.append(psutil.Popen(command, stdout=log, stderr=log, start_new_session=True))
                wait_for("munge", door.exists, 30)
        wait_for("a node that is idle", lambda: "idle" in said("sinfo", "-h", "-o", "%T"), 60)
        yield
    finally:
        said("scancel", "--user=root")
        said("scancel", "--signal=KILL", "--full", "--user=root")
        with suppress(TimeoutError):
            wait_for("no job", lambda: not said("squeue", "-h"), 30)
        end([process for daemon in begun[::-1] for process in family(daemon.pid)])
        end([process for number in left(there) for process in family(number)])
        SETTINGS.unlink(missing_ok=True)


def family(number: int) -> list[psutil.Process]:
    """A process and all that it started; nothing where it has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(number)
        return [process, *process.children(recursive=True)]
    return []


def end(processes: list[psutil.Process]) -> None:
    """Have processes end, at last by force."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=20)


def left(there: Collection[int] = ()) -> dict[int, str]:
    """Processes of a cluster, jobs included, beside those that were there before: number -> name."""
    found = {}
    for process in psutil.process_iter(["name", "status", "environ"]):
        name, of_a_job = process.info["name"], "SLURM_JOB_ID" in (process.info["environ"] or ())
        ours = of_a_job or name in (*DAEMONS, "slurmstepd", "srun", "sbatch")
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid not in there:
            found[process.pid] = name
    return found


def said(*command: str) -> str:
    """What one of Slurm's commands prints; nothing where it fails or does not answer."""
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return done.stdout if done.returncode == 0 else ""
    return ""


def wait_for(what: str, is_there, seconds: float) -> None:
    """Wait until something is there. Errors: `TimeoutError`."""
    until = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:g} s for {what}\n{said('squeue')}{said('sinfo')}")
        time.sleep(0.5)
