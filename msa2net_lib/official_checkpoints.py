"""Checkpoints of the authors' released code: read, checked key by key, and written back.

A file is read by torch's weights-only loader, so nothing in it is executed. Source of the format:
github.com/xmindflow/MSA-2Net, commit 209ca72, ``trainer.py`` (a plain state dict); other wrappings are the
ones that training scripts of this field use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from msa2net_lib.baselines.registry import build_network, find_network, official_rules
from msa2net_lib.checkpoints import load_network, name_network
from msa2net_lib.config import MOST_CLASSES, NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.nn.official import official_key
from msa2net_lib.utils.files import atomic_path
from msa2net_lib.utils.names import listed
from msa2net_lib.utils.official_keys import to_our_keys
from msa2net_lib.utils.torch_files import Undrawn, misfits, read_state_dict, require_finite

FORMS = ("published", "released")
"""The two networks that the released source defines; see `config.PRESETS`."""
HEAD = "decoder_0.last_layer.weight"


@dataclass(frozen=True)
class KeyReport:
    """How the entries of a file fit one of the two released networks."""

    path: Path
    form: str
    num_classes: int
    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every entry fits and none is left over."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    def __str__(self) -> str:
        return (
            f"{self.path.name}: form {self.form}, {self.num_classes} classes; {self.matched} matched, "
            f"{len(self.missing)} missing, {len(self.unexpected)} unexpected, "
            f"{len(self.wrong_shape)} of wrong shape or type"
        )

    def offenders(self) -> str:
        """The first entries that do not fit, by kind, in one line."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "wrong shape or type": self.wrong_shape}
        shown = (f"{kind}: {listed(keys, 3)}" for kind, keys in kinds.items() if keys)
        return "; ".join(shown)


def load_official_checkpoint(
    path: str | Path,
    *,
    network: str | None = None,
    image_size: int | tuple[int, int] = 224,
    verbose: bool = True,
    **options: Any,
) -> Any:
    """Read weights saved by the reference implementation, or by the original code of a rival, into their network.

    Whether it is the `published` or the `released` network and its number of classes are found out from the
    keys; a state dict may be plain, under "state_dict", "model" or "model_weights", and have "module." prefixes.

    Args:
        path: a PyTorch file; nothing in it is executed.
        network: a name of Tables 1 and 2, such as "swin_unet", whose original code saved the file; a head of one
            channel becomes two, with the same probabilities. By default the file is MSA²Net's.
        image_size: pixels to build the network for, as it was trained where it has position tables.
        options: of a network of Tables 1 and 2.
        verbose: print a `KeyReport`.

    Returns:
        The network; float32, on the CPU, in evaluation mode.

    Raises:
        InputError: a missing or damaged file, one that would run code, another network's weights, any entry missing,
            left over or of another shape or kind of number, and values that are not finite.

    Example:
        >>> import torch
        >>> from msa2net_lib import load_official_checkpoint
        >>> torch.save({"conv1.weight": torch.zeros(3)}, "other.pth")
        >>> load_official_checkpoint("other.pth", verbose=False)
        Traceback (most recent call last):
        msa2net_lib.errors.InputError: other.pth: not a checkpoint of MSA²Net's released code (0 of 1 keys fit)

    Source: github.com/xmindflow/MSA-2Net, commit 209ca72, ``trainer.py``.
    """
    path = Path(path)
    state = read_state_dict(path)
    if network is not None:
        return _load_rival(state, path, network, image_size, options, verbose)
    report = report_keys(state, path)
    if verbose:
        print(report)
    if report.matched < len(state) / 2:
        raise InputError(
            f"{path}: not a checkpoint of MSA²Net's released code ({report.matched} of {len(state)} keys fit)"
        )
    if not report.complete:
        raise InputError(f"{path}: does not fit the {report.form} network; {report.offenders()}; use the original file")
    require_finite(state, path)
    config = NetworkConfig.from_preset(report.form, num_classes=report.num_classes, image_size=image_size)
    with Undrawn():
        built = MSA2Net(config)
    theirs = official_keys(built)
    built.load_state_dict({ours: _as_stored(state[key]) for ours, key in theirs.items()})
    return built.eval()


def _load_rival(
    state: Mapping[str, Tensor],
    path: Path,
    name: str,
    image_size: int | tuple[int, int],
    options: dict[str, Any],
    verbose: bool,
) -> nn.Module:
    """A network of Tables 1 and 2 with the weights of its original code. Raises: `InputError`."""
    rules, classes = official_rules(name), find_network(name).classes
    with torch.device("meta"):
        two, three = (build_network(name, classes or k, image_size, **options).state_dict() for k in (2, 3))
    heads = [key for key in two if two[key].shape != three[key].shape]
    found = to_our_keys(state, rules, two)
    fitting = sum(key in two for key in found)
    if fitting < len(found) / 2 or not fitting:
        raise InputError(f"{path}: not a checkpoint of the original {name} ({fitting} of {len(state)} keys fit)")
    for key in heads:
        if key in found and found[key].ndim and len(found[key]) == 1:
            found[key] = torch.cat([torch.zeros_like(found[key]), found[key]])
    sizes = {len(found[key]) for key in heads if key in found and found[key].ndim}
    num_classes = classes or (sizes.pop() if len(sizes) == 1 else 2)
    with torch.device("meta"):
        expected = build_network(name, num_classes, image_size, **options).state_dict()
    copies = {key: found[key.replace("average.", "denoiser.", 1)] for key in expected if _is_average(key, found)}
    found |= copies
    if "updates" in expected:
        found.setdefault("updates", torch.tensor(0))
    if wrong := misfits(found, expected):
        raise InputError(
            f"{path}: does not fit {name} at image_size={image_size} ({listed(wrong, 3)}); use the original file, and "
            "the size it was trained at"
        )
    require_finite(state, path)
    with Undrawn():
        network = build_network(name, num_classes, image_size, **options)
    network.load_state_dict({key: _as_stored(value) for key, value in found.items()})
    if verbose:
        print(f"{path.name}: {name}, {num_classes} classes; all {len(state)} entries fit")
    return network.eval()


def _is_average(key: str, found: Mapping[str, Tensor]) -> bool:
    """Whether an entry of DermoSegDiff's running mean is to start from the weights, which a file holds alone."""
    return key.startswith("average.") and key not in found and key.replace("average.", "denoiser.", 1) in found


def save_official_checkpoint(network: MSA2Net, path: str | Path) -> Path:
    """Write a `published` or `released` network as the reference implementation saves it, atomically.

    A `released` one runs in the authors' source as it stands, a `published` one after its second definition of
    the deep level is removed.

    Args:
        network: of preset `published` or `released`, with another number of classes or size at most.
        path: the file; it gets a plain state dict.

    Returns:
        The path.

    Raises:
        InputError: a network of another form, which that source cannot run.

    Example:
        >>> from msa2net_lib import MSA2Net, save_official_checkpoint
        >>> save_official_checkpoint(MSA2Net.from_preset("tiny", image_size=64), "tiny.pth")
        Traceback (most recent call last):
        msa2net_lib.errors.InputError: network of preset 'tiny', or changed from it, has another form than ...

    Source: github.com/xmindflow/MSA-2Net, commit 209ca72, ``trainer.py``.
    """
    config = network.config
    same = NetworkConfig.from_preset(
        config.preset if config.preset in FORMS else FORMS[0],
        num_classes=config.num_classes,
        image_size=config.image_size,
        pretrained=config.pretrained,
        position_dropout=config.position_dropout,
    )
    if config != same:
        raise InputError(
            f"network of preset {config.preset!r}, or changed from it, has another form than the released code: "
            f"train preset {' or '.join(FORMS)} to save in its format"
        )
    ours = network.state_dict()
    state = {key: ours[name].detach().cpu().contiguous() for name, key in official_keys(network).items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)  # given a path it would write the file's name into the file
    return Path(path)


def open_checkpoint(
    path: str | Path,
    image_size: int | tuple[int, int] | None = None,
    network: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Read a network from either kind of file: this library's ``.safetensors`` or original code's.

    network: of a file of original code, whose it is (`load_official_checkpoint`); of a file of this library, the
    function that builds it, "package.module:function", where it is the reader's own. options: of the network's own.
    """
    options = dict(options or {})
    if Path(path).suffix == ".safetensors":
        if network is not None:
            name_network(path, network)
        return load_network(path, image_size, **options)
    size = 224 if image_size is None else image_size
    return load_official_checkpoint(path, network=network, image_size=size, **options)


def official_keys(network: MSA2Net) -> dict[str, str]:
    """Released name of each entry of a `published` or `released` network's state dict."""
    blocks = tuple(level.block for level in network.config.levels)
    return {key: official_key(key, blocks) for key in network.state_dict()}


def report_keys(state: Mapping[str, Tensor], path: Path) -> KeyReport:
    """Compare a state dict with both released networks; the report is of the one that fits better."""
    num_classes = state[HEAD].shape[0] if HEAD in state and state[HEAD].ndim == 4 else 9
    reports = [_report(state, form, num_classes, path) for form in FORMS]
    return max(reports, key=lambda report: report.matched - len(report.unexpected))


def _report(state: Mapping[str, Tensor], form: str, num_classes: int, path: Path) -> KeyReport:
    with torch.device("meta"):
        network = MSA2Net(NetworkConfig.from_preset(form, num_classes=min(max(2, num_classes), MOST_CLASSES)))
    theirs, ours = official_keys(network), network.state_dict()
    shapes = {theirs[name]: tuple(value.shape) for name, value in ours.items()}
    floating = {theirs[name]: value.is_floating_point() for name, value in ours.items()}
    both = [key for key in shapes if key in state]
    wrong = {key: f"{tuple(state[key].shape)} for {shapes[key]}" for key in both if state[key].shape != shapes[key]}
    # Whole numbers would be copied into float weights without a word: a quantized file is no match.
    typed = {key: f"of type {state[key].dtype}" for key in both if state[key].is_floating_point() != floating[key]}
    wrong = typed | wrong
    return KeyReport(
        path,
        form,
        num_classes,
        matched=len(both) - len(wrong),
        missing=tuple(key for key in shapes if key not in state),
        unexpected=tuple(key for key in state if key not in shapes),
        wrong_shape=tuple(f"{key} {found}" for key, found in wrong.items()),
    )


def _as_stored(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
