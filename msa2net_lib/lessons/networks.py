"""Which trained network a lesson looks at, and which case."""

from __future__ import annotations

from pathlib import Path

from msa2net_lib.checkpoints import SHIPPED_TINY
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.errors import InputError
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.official_checkpoints import open_checkpoint
from msa2net_lib.training.files import WEIGHTS_FILE


def find_network(results: Path, checkpoint: str = "auto") -> tuple[MSA2Net, Path, str]:
    """The network that a lesson looks at: (network, its file, where it is from in words).

    results: the folder of this profile's results. checkpoint: a file of `msa2net train` or of the released code, or
    "auto" for the one that lesson 10 trained there, else the one that ships, or "shipped" for that.
    """
    trained_here = results / "10_training" / "run" / WEIGHTS_FILE
    if checkpoint not in ("auto", "shipped"):
        path, origin = Path(checkpoint), "the checkpoint you named"
    elif checkpoint == "auto" and trained_here.is_file():
        path, origin = trained_here, "trained by lesson 10 on this machine"
    else:
        path, origin = SHIPPED_TINY, "the network that ships"
    return open_checkpoint(path), path, origin


def held_out_case(dataset: PreparedDataset, place: int) -> Case:
    """The held-out case at a place of the data set's list. Raises: `InputError` for a place that it has not."""
    count = len(dataset.test_cases)
    if not 0 <= place < count:
        there = f"counts 0 to {count - 1}: {', '.join(dataset.test_cases)}" if count else "lists no held-out case"
        raise InputError(f"CASE={place}: {dataset.root} {there}")
    return dataset.load_case(dataset.test_cases[place])
