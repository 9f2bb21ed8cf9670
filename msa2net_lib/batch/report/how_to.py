"""How a reader makes the page anew: the commands, word for word, kept in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """What a command is for, the command, and what to know before."""

    purpose: str
    line: str
    note: str = ""


def commands(profile: str, lesson: str) -> list[Command]:
    """The commands for this page's profile first, then the others; ``lesson`` is taken as an example."""
    installed = ".venv/bin/msa2net"
    notes = {
        "smoke": "laptop CPU, shipped data",
        "gpu": "one GPU, shipped data",
        "paper": "the paper's schedule; needs Synapse in data/synapse, which you bring: msa2net prepare synapse --help",
    }
    order = sorted(notes, key=lambda name: name != profile)
    return [
        Command("Install, and run the profile smoke", "make workbook", "in a clone of the workbook"),
        *(
            Command(f"The profile {name}", f"{installed} reproduce --profile {name} --output results", notes[name])
            for name in order
        ),
        Command(
            "Go on after an interruption or a failed job",
            f"{installed} reproduce --profile {profile} --output results",
            "the same command again: what is done is not run twice",
        ),
        Command(
            "One lesson", f"{installed} reproduce --profile {profile} --output results --only {lesson}",
            "with -p NAME=VALUE for a parameter of it",
        ),
        Command("See first what would be done", f"{installed} reproduce --profile {profile} --dry-run"),
        Command(
            "On a cluster",
            f"{installed} reproduce --profile {profile} --output results --cluster workflow/profiles/slurm",
            "each job through Slurm; name your account and partition in workflow/profiles/slurm/config.yaml first",
        ),
        Command(
            "The same by Snakemake itself",
            f".venv/bin/snakemake --snakefile workflow/Snakefile --configfile workflow/config/{profile}.yaml "
            f"--directory results/{profile} --cores 2 --keep-going --rerun-incomplete",
            "on a cluster with --profile workflow/profiles/slurm instead of the options behind the folder",
        ),
    ]  # fmt: skip
