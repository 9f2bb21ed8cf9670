"""Fixtures of the export tests: one thread, a one-layer network in the place of a real one, and refusals."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.export import network as export_network_module


@pytest.fixture(autouse=True)
def no_trace_log():
    """pytest's own log handler makes torch write down every step of a trace; nobody reads it here."""
    log = logging.getLogger("torch.__trace")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


class OneLayer(nn.Module):
    """One convolution with a network's config: a whole network takes half a minute to trace and translate."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.encoder = SimpleNamespace(gray_stem=None)
        self.decoder = SimpleNamespace(levels=[])
        self.head = nn.Conv2d(1, config.num_classes, 3, padding=1)

    def forward(self, image):
        return self.head(image.mean(dim=1, keepdim=True))


@pytest.fixture
def thin(monkeypatch, tmp_path):
    """A checkpoint file whose network is `OneLayer`; call it to change what is read from the file."""
    checkpoint = tmp_path / "thin.safetensors"
    checkpoint.write_bytes(b"weights")

    def install(fingerprint=None, class_names=ORGANS, num_classes=9):
        def open_checkpoint(path, image_size=None, *args, **options):
            if not path.is_file():
                raise InputError(f"{path}: no such checkpoint; train one (msa2net train) or name another file")
            torch.manual_seed(0)
            size = 64 if image_size is None else image_size
            return OneLayer(NetworkConfig.from_preset("tiny", image_size=size, num_classes=num_classes)).eval()

        monkeypatch.setattr(export_network_module, "open_checkpoint", open_checkpoint)
        monkeypatch.setattr(export_network_module, "read_fingerprint", lambda path: fingerprint)
        monkeypatch.setattr(export_network_module, "read_class_names", lambda path: class_names)
        return checkpoint

    install()
    install.checkpoint = checkpoint  # pyright: ignore[reportFunctionMemberAccess]
    return install
