"""MSA²Net as a workbook: the library behind the notebooks.

Public names are imported on first use (PEP 562), so that ``import msa2net_lib.nn.masag`` needs torch and
einops and nothing more.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msa2net_lib.config import NetworkConfig
    from msa2net_lib.data.isic import prepare_isic
    from msa2net_lib.data.synapse import prepare_synapse
    from msa2net_lib.evaluation.volumes import evaluate
    from msa2net_lib.export import export_network
    from msa2net_lib.inference import predict_image, predict_volume
    from msa2net_lib.losses import BoundaryDoULoss
    from msa2net_lib.metrics import dice, hd95, pixel_scores, score_volume
    from msa2net_lib.nn.masag import MASAG
    from msa2net_lib.nn.network import MSA2Net
    from msa2net_lib.official_checkpoints import load_official_checkpoint, save_official_checkpoint
    from msa2net_lib.optimize import optimize_for_inference
    from msa2net_lib.prediction.run import predict_file
    from msa2net_lib.train_config import TrainConfig
    from msa2net_lib.training import train

__version__ = "0.1.0"

_HOME = {
    "MSA2Net": "nn.network",
    "NetworkConfig": "config",
    "TrainConfig": "train_config",
    "MASAG": "nn.masag",
    "BoundaryDoULoss": "losses",
    "load_official_checkpoint": "official_checkpoints",
    "save_official_checkpoint": "official_checkpoints",
    "dice": "metrics",
    "hd95": "metrics",
    "score_volume": "metrics",
    "pixel_scores": "metrics",
    "predict_volume": "inference",
    "predict_image": "inference",
    "optimize_for_inference": "optimize",
    "predict_file": "prediction.run",
    "export_network": "export",
    "train": "training",
    "evaluate": "evaluation.volumes",
    "prepare_synapse": "data.synapse",
    "prepare_isic": "data.isic",
}

__all__ = [
    "MASAG",
    "BoundaryDoULoss",
    "MSA2Net",
    "NetworkConfig",
    "TrainConfig",
    "dice",
    "evaluate",
    "export_network",
    "hd95",
    "load_official_checkpoint",
    "optimize_for_inference",
    "pixel_scores",
    "predict_file",
    "predict_image",
    "predict_volume",
    "prepare_isic",
    "prepare_synapse",
    "save_official_checkpoint",
    "score_volume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
