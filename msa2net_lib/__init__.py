"""MSA²Net as a workbook: the library behind the notebooks.

Public names are imported on first use (PEP 562), so that ``import msa2net_lib`` loads nothing else. No module of the
library imports a name from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msa2net_lib.baselines.registry import build_network, list_networks, register_network
    from msa2net_lib.baselines.spec import NetworkSpec, adopt_network
    from msa2net_lib.checkpoints import load_network, save_network
    from msa2net_lib.config import NetworkConfig, list_presets
    from msa2net_lib.data.catalog import list_datasets, open_dataset
    from msa2net_lib.data.isic import prepare_isic
    from msa2net_lib.data.synapse import prepare_synapse
    from msa2net_lib.errors import InputError
    from msa2net_lib.evaluation.volumes import evaluate
    from msa2net_lib.export import export_network
    from msa2net_lib.inference import predict_image, predict_volume
    from msa2net_lib.losses import BoundaryDoULoss
    from msa2net_lib.metrics import dice, hd95, pixel_scores, score_volume
    from msa2net_lib.nn.gates import build_gate, list_gates
    from msa2net_lib.nn.masag import MASAG
    from msa2net_lib.nn.network import MSA2Net
    from msa2net_lib.official_checkpoints import load_official_checkpoint, save_official_checkpoint
    from msa2net_lib.optimize import optimize_for_inference
    from msa2net_lib.prediction.run import predict_file
    from msa2net_lib.train_config import PROFILES, TrainConfig
    from msa2net_lib.training import train

    __version__: str

_NAMES = {
    "baselines.registry": "build_network list_networks register_network",
    "baselines.spec": "NetworkSpec adopt_network",
    "checkpoints": "load_network save_network",
    "config": "NetworkConfig list_presets",
    "data.catalog": "list_datasets open_dataset",
    "data.isic": "prepare_isic",
    "data.synapse": "prepare_synapse",
    "errors": "InputError",
    "evaluation.volumes": "evaluate",
    "export": "export_network",
    "inference": "predict_image predict_volume",
    "losses": "BoundaryDoULoss",
    "metrics": "dice hd95 pixel_scores score_volume",
    "nn.gates": "build_gate list_gates",
    "nn.masag": "MASAG",
    "nn.network": "MSA2Net",
    "official_checkpoints": "load_official_checkpoint save_official_checkpoint",
    "optimize": "optimize_for_inference",
    "prediction.run": "predict_file",
    "train_config": "PROFILES TrainConfig",
    "training": "train",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module(f"{__name__}.utils.system_info").library_version()
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
