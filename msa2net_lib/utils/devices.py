"""Which device computes: one place, light to import, for commands that train nothing."""

from __future__ import annotations

import torch

from msa2net_lib.errors import InputError


def choose_device(name: str = "auto") -> torch.device:
    """Return the device named, or for "auto" the best one at hand: CUDA, Apple's MPS, else the CPU.

    Raises: `InputError` for a device that torch does not know or does not see here.
    """
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [kind for kind, is_here in seen.items() if is_here]
    if name != "auto" and name.partition(":")[0] not in here:
        raise InputError(f"device {name!r}: torch sees none such here; use auto or one of {', '.join(here)}")
    return torch.device(here[0] if name == "auto" else name)
