"""What a network is made of: a dataclass, validated, saved beside every result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from msa2net_lib.errors import InputError
from msa2net_lib.utils.plain import override, require_choice, take_plain
from msa2net_lib.utils.tables import read_table

Block = Literal["lka", "dual_attention", "none"]
LevelPart = Literal["linear", "gate", "norm", "blocks"]

SHIPPED_TINY = Path(__file__).parent / "checkpoints" / "tiny.safetensors"
"""The trained `tiny` network that comes with the library; `tiny.json` beside it is its record."""

MOST_PIXELS, MOST_CLASSES, MOST_WIDTH = 2048, 256, 4096
"""Bounds of an image's side, of classes (label maps are uint8), and of a network's options."""


@dataclass(frozen=True)
class LevelConfig:
    """One decoder level: its blocks, its skip gate, and the parts that it owns but never runs.

    gate: a name of `nn.gates.GATES`, looked up when a network is built, or "none" to leave the skip out.
    """

    block: Block
    gate: str
    unused: tuple[LevelPart, ...] = ()

    def __post_init__(self) -> None:
        take_plain(self)
        require_choice("block", self.block, get_args(Block))
        if not isinstance(self.unused, list | tuple):
            raise InputError(f"unused={self.unused!r}: give parts of a level, {', '.join(get_args(LevelPart))}")
        object.__setattr__(self, "unused", tuple(self.unused))
        for part in self.unused:
            require_choice("unused part", part, get_args(LevelPart))


def _level(given: Any) -> LevelConfig:
    """A level as it is, or made of a dictionary as JSON has it."""
    if isinstance(given, LevelConfig):
        return given
    if not isinstance(given, Mapping) or not {"block", "gate"} <= {*given} <= {"block", "gate", "unused"}:
        raise InputError(f"levels: {given!r} is no level; give LevelConfig(block, gate, unused)")
    return LevelConfig(**given)


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to build an `MSA2Net`.

    Args:
        preset: the name in `PRESETS` that it started from.
        encoder: name of a timm MaxViT.
        encoder_options: changes to its architecture (timm's keywords, `embed_dim` and the like), for which channels
            must double from stage to stage.
        pretrained: True downloads timm's ImageNet weights, a path loads a file of them (the authors'
            ``maxvit_rmlp_small_rw_224_sw-6ef0ae4f.pth``).
        image_size: pixels, one number or (height, width), multiples of 32 up to 2048; it sets the attention
            windows.
        num_classes: K, background included, at most 256.
        levels: decoder levels 0 (finest) to 3 (deepest).
        dilated: the dilated convolution in MASAG.
        layout: how tokens are laid out on the grid.
        gray_stem: own the 1 -> 3 channel convolution that the reference implementation's encoder never runs.
        decoder_init: torch's own start for every layer, or the reference implementation's, Xavier uniform and biases
            zero.
        position_dropout: of the small networks inside the encoder's attention that turn relative positions into biases
            (RelPosMlp). timm drops 0.125 of them in training, whatever drop rates it is given, and so does the
            reference implementation; 0 makes a pass in training mode repeatable.

    Raises:
        InputError: a value that none of these can be, or levels that do not fit together.

    Example:
        >>> from msa2net_lib import NetworkConfig
        >>> config = NetworkConfig.from_preset("tiny", num_classes=2, gate="attention")
        >>> [level.gate for level in config.levels]
        ['attention', 'attention', 'attention', 'none']
        >>> NetworkConfig.from_dict(config.to_dict()) == config
        True

    Source: paper, section 3, Tables 1 and 3; the reference implementation for what it leaves open.
    """

    preset: str = "paper"
    encoder: str = "maxvit_rmlp_small_rw_224"
    encoder_options: dict[str, Any] = field(default_factory=dict)
    pretrained: bool | str = False
    image_size: int | tuple[int, int] = 224
    num_classes: int = 9
    levels: tuple[LevelConfig, LevelConfig, LevelConfig, LevelConfig] = (
        LevelConfig("lka", "masag"),
        LevelConfig("lka", "masag"),
        LevelConfig("dual_attention", "masag"),
        LevelConfig("dual_attention", "none"),
    )
    dilated: Literal["depthwise", "dense"] = "depthwise"
    layout: Literal["grid", "reinterpreted"] = "grid"
    gray_stem: bool = False
    decoder_init: Literal["torch", "xavier"] = "torch"
    position_dropout: float = 0.125

    def __post_init__(self) -> None:
        take_plain(self)
        if not isinstance(self.levels, list | tuple):
            raise InputError(f"levels={self.levels!r}: give the decoder's 4 levels")
        levels = tuple(map(_level, self.levels))
        object.__setattr__(self, "levels", levels)
        # JSON has lists only; tuples here, so that a config read back equals the one written.
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in self.encoder_options.items()}
        object.__setattr__(self, "encoder_options", options)
        if not isinstance(self.image_size, int):
            object.__setattr__(self, "image_size", tuple(self.image_size))
            if len(self.image_size) != 2 or any(type(pixels) is not int for pixels in self.image_size):
                raise InputError(f"image_size={self.image_size}: give pixels, or (height, width)")
        if len(levels) != 4:
            raise InputError(f"levels has {len(levels)} entries: the decoder has 4, from 0 (finest) to 3")
        if levels[3].gate != "none" and "gate" not in levels[3].unused:
            raise InputError("levels[3].gate: the deepest level has no skip; use gate='none' or make it unused")
        for index, level in enumerate(levels[:3]):
            ignored = [part for part in level.unused if part in ("linear", "norm")]
            if ignored:
                raise InputError(
                    f"levels[{index}].unused: a level with a skip runs its {ignored[0]}; use 'gate' or 'blocks' only"
                )
        for pixels in self.height_width:
            if pixels < 32 or pixels % 32:
                lower = max(32, pixels // 32 * 32)
                raise InputError(f"image_size={self.image_size} is not a multiple of 32: use {lower} or {lower + 32}")
            if pixels > MOST_PIXELS:
                raise InputError(f"image_size={self.image_size}: give at most {MOST_PIXELS} pixels")
        if self.num_classes < 2:
            raise InputError(f"num_classes={self.num_classes}: give at least 2, background counts as a class")
        if self.num_classes > MOST_CLASSES:
            raise InputError(f"num_classes={self.num_classes}: give at most {MOST_CLASSES}, a label map has 8 bits")
        if not 0 <= self.position_dropout < 1:
            raise InputError(f"position_dropout={self.position_dropout}: give a share from 0 to below 1")
        require_choice("dilated", self.dilated, ("depthwise", "dense"))
        require_choice("layout", self.layout, ("grid", "reinterpreted"))
        require_choice("decoder_init", self.decoder_init, ("torch", "xavier"))

    @property
    def height_width(self) -> tuple[int, int]:
        """Input height and width in pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    @property
    def has_unused_parts(self) -> bool:
        """Whether the network owns parameters that never run and never get a gradient."""
        return self.gray_stem or any(level.unused for level in self.levels)

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> NetworkConfig:
        """Look up a preset and change the named fields; ``gate`` is short for `with_gate`.

        Raises: `InputError` for an unknown preset or field.
        """
        require_choice("preset", preset, tuple(PRESETS))
        fields = {name: value for name, value in overrides.items() if name != "gate"}
        config = override(PRESETS[preset], fields)
        return config.with_gate(overrides["gate"]) if "gate" in overrides else config

    def with_gate(self, gate: str) -> NetworkConfig:
        """The same network with another gate at every level that has one; "none" leaves the skips out.

        An unused gate stays unused: `released` adds the skip of its level 2 as it is, whatever the gate.
        """
        levels = tuple(lv if lv.gate == "none" else dataclasses.replace(lv, gate=gate) for lv in self.levels)
        return override(self, {"levels": levels})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Rebuild a config from `to_dict` or its JSON."""
        return override(cls(), values)

    def to_dict(self) -> dict[str, Any]:
        """The config as plain values, ready for JSON."""
        return dataclasses.asdict(self)


PRESETS: dict[str, NetworkConfig] = {
    name: NetworkConfig(preset=name, **fields) for name, fields in read_table("presets").items()
}


def list_presets() -> list[str]:
    """List the names of the presets of `NetworkConfig`.

    Returns:
        Names for ``MSA2Net.from_preset``, the paper's first.

    Example:
        >>> from msa2net_lib import list_presets
        >>> list_presets()
        ['paper', 'published', 'released', 'tiny']

    Source: `config.PRESETS`.
    """
    return list(PRESETS)
