"""One slice as a trained network met it: the image, the organs, and every tensor of every gate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.resize import normalize, resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.nn.masag import MASAG, MASAGTrace
from msa2net_lib.nn.network import MSA2Net


@dataclass(frozen=True, eq=False)
class Study:
    """A slice and its way through the gates of a network in evaluation mode; make one with `study_slice`.

    image: (h, w) in about [0, 1] and label: (h, w), both at the network's input size. source: what to write on figures,
    a line on where the data are from. traces: decoder level (0 is finest) -> every tensor of the gate there, see
    `MASAGTrace`; batch of one. class_names: of the data set; the label's number is the index plus one.
    """

    network: MSA2Net
    name: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    source: str
    traces: dict[int, MASAGTrace]
    class_names: tuple[str, ...] = ORGANS

    @property
    def levels(self) -> list[int]:
        """Decoder levels that have a MASAG, finest first."""
        return sorted(self.traces)

    def gate(self, level: int) -> MASAG:
        """The gate of a level. Raises: `InputError` for a level without one."""
        if level not in self.traces:
            raise InputError(f"level {level} has no MASAG: use one of {', '.join(map(str, self.levels))}")
        gate = self.network.decoder.levels[level].gate
        assert isinstance(gate, MASAG)
        return gate

    def grid(self, level: int) -> tuple[int, int]:
        """Rows and columns of a level's features."""
        height, width = self.traces[level].x.shape[-2:]
        return height, width

    def label_at(self, level: int) -> NDArray[np.uint8]:
        """The label (h, w) on a level's grid, by the nearest neighbor."""
        return resize_label(self.label, self.grid(level))

    @cached_property
    def organs(self) -> list[str]:
        """Organs in the slice, largest first."""
        counts = np.bincount(self.label.ravel(), minlength=len(self.class_names) + 1)[1:]
        return [self.class_names[index] for index in np.argsort(-counts) if counts[index]]

    def organ_id(self, organ: str) -> int:
        """The number that the label has for an organ. Raises: `InputError` for one that the data set has not."""
        if organ not in self.class_names:
            raise InputError(f"organ {organ!r} is unknown: use {', '.join(self.class_names)}")
        return self.class_names.index(organ) + 1

    def mask(self, organ: str) -> NDArray[np.bool_]:
        """Where an organ is, (h, w). Raises: `InputError` for one that the slice, at the network's size, has not."""
        found = self.label == self.organ_id(organ)
        if not found.any():
            raise InputError(
                f"{self.name}: no {organ} is left at {' x '.join(map(str, found.shape))} pixels; choose another"
            )
        return found


def study_slice(network: MSA2Net, case: Case, z: int, source: str) -> Study:
    """Run a slice of a case through a network and keep what its gates did. Raises: `InputError`, no such slice."""
    if not 0 <= z < len(case.image):
        raise InputError(f"z={z}: {case.name} has slices 0 to {len(case.image) - 1}")
    size = network.config.height_width
    image = resize_image(case.image[z], size)
    network = network.eval()
    with torch.inference_mode():
        traces = network.trace_gates(network_input(network, image[None]))
    label = resize_label(case.label[z], size)
    return Study(network, f"{case.name}, slice {z}", image, label, source, traces, case.class_names)


def network_input(network: MSA2Net, images: NDArray) -> torch.Tensor:
    """Slices (n, h, w) in [0, 1] at the network's input size, as it takes them, (n, 1, h, w) on its device."""
    return torch.from_numpy(normalize(images))[:, None].to(next(network.parameters()).device)
