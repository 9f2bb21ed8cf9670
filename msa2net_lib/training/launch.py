"""Training on several GPUs of this machine from a notebook; elsewhere `accelerate launch` or `torchrun` do it.

On the command line: ``torchrun --nproc-per-node 4 -m msa2net_lib train ...`` or ``accelerate launch``, see
docs/training.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import notebook_launcher
from accelerate.state import AcceleratorState
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from msa2net_lib.baselines.spec import Config
from msa2net_lib.checkpoints import load_network, load_state
from msa2net_lib.data.datasets import TrainingData
from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.files import BEST_FILES, RECORD_FILE, STATE_FILE, WEIGHTS_FILE
from msa2net_lib.training.run import TrainResult, train
from msa2net_lib.utils.files import read_json


def train_on_gpus(
    network: Config, config: TrainConfig, dataset: TrainingData, output_dir: str | Path, *, processes: int
) -> TrainResult:
    """Train as `train` does, in one process for each of ``processes`` GPUs; the result is read back from the folder.

    Nothing may have used CUDA in this notebook before, since its processes are forked. Raises: `InputError` without so
    many GPUs, after CUDA was used, and where a process fails (why is printed by that process).
    """
    here = _gpus()
    if not 1 <= processes <= here:
        raise InputError(
            f"processes={processes}: torch sees {here} CUDA devices here; give 1 to {here}, or use train()"
        )
    if torch.cuda.is_initialized():
        raise InputError("CUDA is in use in this process already: restart the kernel and train first")
    AcceleratorState._reset_state(reset_partial_state=True)  # the launcher refuses to follow a run in this process
    try:
        notebook_launcher(_train, (network, config, dataset, output_dir), num_processes=processes)
    except ChildFailedError as error:
        said = f"one of {processes} processes failed, its own words are above"
        raise InputError(f"{said}: {error.format_msg()}") from error
    folder = Path(output_dir)
    record = read_json(folder / RECORD_FILE)
    best = folder / BEST_FILES[config.selection] if record["best"] else None
    return TrainResult(
        network=load_network(folder / WEIGHTS_FILE),
        history=load_state(folder / STATE_FILE)["history"],
        minutes=record["minutes"],
        weights=folder / WEIGHTS_FILE,
        best=best,
        best_score=record["best"]["score"] if record["best"] else None,
    )


def _train(*arguments: Any) -> None:
    """Train in a launched process; its result would be sent back tensor by tensor, and lies in the folder anyway."""
    # The notebook may have computed on several threads. They are not forked along, and OpenMP would wait for them.
    torch.set_num_threads(1)
    train(*arguments)


def _gpus() -> int:
    return torch.cuda.device_count()
