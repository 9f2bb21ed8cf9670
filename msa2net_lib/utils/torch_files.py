"""Weights in PyTorch's own file format, read without executing anything in the file."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import listed

MOST_WRAPPINGS = 5
WRAPPINGS = ("state_dict", "model", "model_weights", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")
# A best score stored beside the weights is often a NumPy number; these names only build one.
NUMPY_SCALARS: list[Any] = [
    np.dtype,
    *{type(np.dtype(code)) for code in ["f2", "f4", "f8", "i4", "i8", "b1"]},
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict out of a PyTorch file, whatever it is wrapped in, executing nothing.

    Raises: `InputError` for a missing, truncated or foreign file, and for one with anything but tensors and
    plain values in it.
    """
    path = Path(path)
    content: Any = _load_weights_only(path)
    for _ in range(MOST_WRAPPINGS):  # one may hold itself
        if not isinstance(content, Mapping):
            break
        inner = next((content[name] for name in WRAPPINGS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        found = listed([*content], 3) if isinstance(content, Mapping) else type(content).__name__
        raise InputError(f"{path}: holds no state dict (found {found or 'nothing'}); give the file that holds weights")
    if sparse := [str(key) for key, value in content.items() if value.layout != torch.strided]:
        raise InputError(f"{path}: {listed(sparse, 3)}: sparse, where weights are dense; save it after .to_dense()")
    return {_without_prefixes(str(key)): value for key, value in content.items()}


def _load_weights_only(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; train or download one, or name another file")
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named is None:
            raise InputError(f"{path}: damaged, or not a PyTorch file; copy or download it again") from error
        raise InputError(
            f"{path}: refused, loading it would run {named[1]}, which is no tensor; nothing in it was executed: "
            "re-save it as a plain state dict where you trust it"
        ) from error
    except Exception as error:  # torch raises whatever its zip and pickle readers do
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}" if str(error) else type(error).__name__
        raise InputError(f"{path}: damaged, or not a PyTorch file ({reason}); copy or download it again") from error


def _without_prefixes(key: str) -> str:
    while key.startswith(PREFIXES):
        key = key.partition(".")[2]
    return key


class Undrawn(TorchFunctionMode):
    """Within it layers start from zeros where they would draw: for a network that gets all its weights right after.

    To draw the 113 M weights of MSA²Net takes ten times as long as all else of building it.
    """

    _DRAWS = frozenset({"uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_"})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in self._DRAWS:
            tensor = args[0] if args else kwargs["tensor"]
            tensor.detach().zero_()
            return tensor
        return func(*args, **kwargs)


def misfits(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Say which entries of a state dict are missing, left over, of another shape or of another kind of number.

    Whole numbers would be copied into weights without a word: a quantized file is no match.
    """
    found = [f"{key} is missing" for key in expected if key not in state]
    for key, value in state.items():
        if (ours := expected.get(key)) is None:
            found.append(f"{key} is left over")
        elif value.shape != ours.shape:
            found.append(f"{key} is {tuple(value.shape)} and not {tuple(ours.shape)}")
        elif value.is_floating_point() != ours.is_floating_point():
            found.append(f"{key} is of type {value.dtype}")
    return found


def require_finite(
    state: Mapping[str, Tensor], path: str | Path, so: str = "are not finite; the training diverged, use another file"
) -> None:
    """Refuse weights with nan or infinite values. Raises: `InputError` with the first entry's name."""
    bad = {key: int((~value.isfinite()).sum()) for key, value in state.items() if not is_finite(value)}
    if bad:
        key, count = next(iter(bad.items()))
        more = f" (and some of {len(bad) - 1} more entries)" if len(bad) > 1 else ""
        raise InputError(f"{path}: {count} values of {key}{more} {so}")


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is nan or infinite: its extremes tell, ten times as fast as a look at each (`isfinite`)."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.numel() == 0 or all(bool(extreme.isfinite()) for extreme in tensor.aminmax())


def require_finite_logits(logits: Tensor, advice: str = "use another checkpoint") -> Tensor:
    """Return logits (n, ...) as they are. Raises: `InputError` for any that is nan or infinite: no class is largest."""
    if not is_finite(logits):
        bad = int((~logits.isfinite()).flatten(1).any(dim=1).sum())
        raise InputError(
            f"logits are not finite in {bad} of {len(logits)} slices or images: the network's weights are damaged, or "
            f"its numbers overflow; {advice}"
        )
    return logits
