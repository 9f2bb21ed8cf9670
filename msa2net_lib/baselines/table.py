"""The one table of networks: those that can be built by name, and what the paper's tables compare.

Every list of networks, option, report row and test parameter is derived from it. A new network takes its own file in
this folder, an entry here and a test. The table is light to import: builders load torch when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from msa2net_lib.baselines.recipes import OWN_RECIPES, OwnRecipe
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from msa2net_lib.baselines.spec import NetworkSpec

Skip = Literal[
    "none",
    "concatenation",
    "addition",
    "attention gate",
    "channel transformer",
    "cross attention",
    "bridge",
    "MASAG",
]
"""What a network does with a skip connection before its decoder goes on."""


@dataclass(frozen=True)
class NetworkEntry:
    """A network that can be built by name.

    build: (num_classes, image_size, **options) -> a module, (b, 1|3, h, w) -> logits (b, num_classes, h, w); the
    function itself, or "module:function" below `msa2net_lib.baselines`, which is imported when it is called. source:
    paper, section, or repository and commit that it follows; license: of that repository. tables: of the paper, those
    that it stands in; row: its name there. skip: what it does with its skip connections. size: the only side in pixels
    that it takes, or None; multiple: what sides have to be multiples of. classes: the only number of classes, or None.
    weights: timm's tags of its pretrained encoder; empty for a network without. unused: the parts that never get a
    gradient. remark: what its code does that a reader of its paper would not expect. no_export: why it cannot be one
    ONNX or pt2 file, where it cannot. own: registered by the reader, in this process.
    """

    title: str
    source: str
    build: Callable[..., nn.Module] | str
    tables: tuple[str, ...] = ()
    row: str = ""
    skip: Skip = "concatenation"
    license: str = ""
    size: int | None = None
    multiple: int = 1
    classes: int | None = None
    weights: str = ""
    unused: str = ""
    remark: str = ""
    no_export: str = ""
    own: bool = False

    def check(self, spec: NetworkSpec) -> None:
        """Refuse a size, classes or weights that the network does not take. Raises: `InputError`."""
        name, size, sides = spec.name, spec.image_size, spec.height_width
        if self.size is not None and set(sides) != {self.size}:
            raise InputError(f"image_size={size}: {name} takes {self.size} x {self.size} pixels only")
        if any(side < self.multiple or side % self.multiple for side in sides):
            lower = max(self.multiple, min(sides) // self.multiple * self.multiple)
            raise InputError(
                f"image_size={size} is not a multiple of {self.multiple}, which {name} needs: use {lower} or "
                f"{lower + self.multiple}"
            )
        if self.classes not in (None, spec.num_classes):
            raise InputError(
                f"num_classes={spec.num_classes}: {name} takes {self.classes} only, background counts as one"
            )
        if spec.pretrained and not self.weights:
            raise InputError(f"pretrained={spec.pretrained!r}: {name} has no pretrained encoder; leave it out")

    def own_recipe(self) -> OwnRecipe | None:
        """How its own repository trains it; None where that was not released."""
        return OWN_RECIPES.get(self.row)


def _preset(preset: str) -> Callable[..., nn.Module]:
    """The builder of a preset of MSA²Net; options are the fields of `NetworkConfig`, and ``gate``."""

    def build(num_classes: int, image_size: int | tuple[int, int], **options: Any) -> nn.Module:
        from msa2net_lib.nn.network import MSA2Net

        return MSA2Net.from_preset(preset, num_classes=num_classes, image_size=image_size, **options)

    return build


_MAXVIT = "maxvit_rmlp_small_rw_224.sw_in1k"
_JUN = "LeeJunHyun/Image_Segmentation 5e9da93"
_DERMO = "mindflow-institue/DermoSegDiff d8e7eec"
_DRAWS = "it draws masks out of random noise, step by step, and a file holds one call of a network"

NETWORKS: dict[str, NetworkEntry] = {
    "msa2net": NetworkEntry(
        "MSA²Net", "MSA²Net, section 3 and its equations", _preset("paper"), skip="MASAG", multiple=32, weights=_MAXVIT
    ),
    "msa2net_published": NetworkEntry(
        "MSA²Net, published form",
        "the network that Tables 1 and A count",
        _preset("published"),
        ("1", "2", "A"),
        row="MSA²Net",
        skip="MASAG",
        multiple=32,
        weights=_MAXVIT,
        unused="gate and blocks of the deepest level",
    ),
    "msa2net_released": NetworkEntry(
        "MSA²Net, released code",
        "github.com/xmindflow/MSA-2Net, commit 209ca72, as it executes",
        _preset("released"),
        skip="MASAG",
        multiple=32,
        weights=_MAXVIT,
        unused="the deepest level and one gate",
    ),
    "msa2net_tiny": NetworkEntry(
        "MSA²Net, tiny", "the paper's form on a small MaxViT, for laptops", _preset("tiny"), skip="MASAG", multiple=32
    ),
    "transunet": NetworkEntry(
        "TransUNet",
        "Beckschen/TransUNet 02ef001",
        "transunet:TransUNet",
        ("1", "2"),
        row="TransUNet",
        license="Apache-2.0",
        multiple=16,
        weights="vit_base_r50_s16_224.orig_in21k",
        remark="max pooling without padding; the 96.07 M and 88.91 G of Table 1 fit no setting of its code",
    ),
    "swin_unet": NetworkEntry(
        "Swin-UNet",
        "HuCaoFighting/Swin-Unet f48f623",
        "swin_unet:SwinUNet",
        ("1", "2"),
        row="Swin-UNet",
        license="no license file",
        multiple=32,
        weights="swin_tiny_patch4_window7_224.ms_in1k",
        remark="skips are what enters a stage; the decoder's configured depths are never passed on",
    ),
    "missformer": NetworkEntry(
        "MISSFormer",
        "ZhifangDeng/MISSFormer 007424e",
        "missformer:MISSFormer",
        ("1",),
        row="MISSFormer",
        skip="bridge",
        license="no license file",
        multiple=32,
        unused="the deepest decoder level's linear and blocks, two of three norms of each feed-forward network",
        remark="the bridge takes its reduced maps' channels for positions; each feed-forward network expands twice",
    ),
    "scaleformer": NetworkEntry(
        "ScaleFormer",
        "ZJUGiveLab/ScaleFormer d3e2416",
        "scaleformer:ScaleFormer",
        ("1",),
        row="ScaleFormer",
        skip="bridge",
        license="no license file",
        multiple=32,
        remark="attention over the width is transposed, its output's memory reinterpreted; 2.22 M more than printed",
    ),
    "hiformer_b": NetworkEntry(
        "HiFormer-B",
        "amirhossein-kz/HiFormer 6726d28",
        "hiformer_b:HiFormer",
        ("1",),
        row="HiFormer-B",
        skip="addition",
        license="MIT",
        multiple=32,
        weights="resnet50.tv_in1k and swin_tiny_patch4_window7_224.ms_in1k",
        unused="self-attention blocks of both branches, whose result is dropped",
        remark="the fusion cannot reach the output; preset='paper' lets it act",
    ),
    "daeformer": NetworkEntry(
        "DAE-Former",
        "mindflow-institue/DAEFormer 9460d3a",
        "daeformer:DAEFormer",
        ("1",),
        row="DAE-Former",
        skip="cross attention",
        license="MIT",
        multiple=16,
        unused="the deepest decoder level's cross attention and blocks, two of three norms of most FFNs",
        remark="efficient attention has one head, whatever the count says; each feed-forward network expands twice",
    ),
    "pvt_cascade": NetworkEntry(
        "PVT-CASCADE",
        "SLDGroup/CASCADE b40c127",
        "pvt_cascade:PVTCascade",
        ("1",),
        row="PVT-CASCADE",
        skip="attention gate",
        license="Apache-2.0 at this commit, research only from 359c628 on",
        multiple=32,
        weights="pvt_v2_b2.in1k",
        remark="four heads summed; chooses its best epoch on the test cases; trains another decoder as shipped",
    ),
    "dlka_2d": NetworkEntry(
        "2D D-LKA Net",
        "xmindflow/deformableLKA d2d2992, folder 2D",
        "dlka_2d:DLKANet",
        ("1",),
        row="2D D-LKA Net",
        skip="addition",
        license="MIT",
        multiple=32,
        weights=_MAXVIT,
        unused="the deepest decoder level's linear and blocks, the encoder's 1 to 3 channels",
        remark="offsets start from Xavier noise, not from zero, and hold most of the decoder's parameters",
    ),
    "unet": NetworkEntry(
        "U-Net",
        _JUN,
        "unet:UNet",
        ("2",),
        row="U-Net",
        license="none stated",
        multiple=16,
        remark="batch norm, padding, nearest upsampling and a 3x3 convolution: none of them in the paper",
    ),
    "unet_nitr": NetworkEntry(
        "U-Net of the group's library",
        "NITR098/Awesome-U-Net 8785625",
        "unet:SmallUNet",
        license="MIT by its badge, no file",
        multiple=8,
        remark="18 times smaller than the usual U-Net, no batch norm; the group's own skin numbers come from it",
    ),
    "attunet": NetworkEntry(
        "Attention U-Net",
        _JUN,
        "unet:AttUNet",
        ("2",),
        row="AttU-Net",
        skip="attention gate",
        license="none stated",
        multiple=16,
        remark="gates with upsampled features on the skip's own grid; the paper gates with the coarser ones",
    ),
    "fatnet": NetworkEntry(
        "FAT-Net",
        "SZUcsh/FAT-Net 732db6e",
        "fatnet:FATNet",
        ("2",),
        row="FAT-Net",
        skip="addition",
        license="none stated",
        multiple=32,
        weights="resnet34.tv_in1k and deit_tiny_distilled_patch16_224.fb_in1k",
        unused="the fourth decoder step",
        remark="one block a skip, applied 6, 4 and 2 times; a DeiT without positions; the original takes 224 only",
    ),
    "uctransnet": NetworkEntry(
        "UCTransNet",
        "McGregorWwww/UCTransNet 493bd81",
        "uctransnet:UCTransNet",
        ("2",),
        row="UCTransNet",
        skip="channel transformer",
        license="none stated",
        multiple=16,
        remark="the division by sqrt(960) acts only through an instance norm's eps; one class comes out as a sigmoid",
    ),
    "dermosegdiff": NetworkEntry(
        "DermoSegDiff",
        _DERMO,
        "dermosegdiff:DermoSegDiff",
        ("2",),
        row="DermoSegDiff",
        license="MIT",
        multiple=32,
        classes=2,
        no_export=_DRAWS,
        remark="draws masks out of noise, 5 x 250 calls an image; the paper's boundary loss is off for ISIC",
    ),
    "dermosegdiff_small": NetworkEntry(
        "DermoSegDiff, small",
        f"{_DERMO}, narrower",
        "dermosegdiff:small",
        license="MIT",
        multiple=4,
        classes=2,
        no_export=_DRAWS,
        remark="2.5 M parameters and 25 steps, for a laptop; no size of the authors'",
    ),
}
"""Every network by name, in the order in which lessons and tables show them."""

STAND_INS = {
    "MSA²Net": ("msa2net_published", "msa2net", "msa2net_released", "msa2net_tiny"),
    "DermoSegDiff": ("dermosegdiff", "dermosegdiff_small"),
}
"""Networks that stand for a row of Tables 1 and 2, the first one for choice; every other row has one."""


def networks_of(row: str) -> tuple[str, ...]:
    """Networks that stand for a published row, the first one for choice; () for a name that is no row."""
    return STAND_INS.get(row) or tuple(name for name, entry in NETWORKS.items() if row and entry.row == row)


def tables_of(name: str) -> tuple[str, ...]:
    """Which of Tables 1 and 2 a network stands in, itself or for its row; () for one that stands in none."""
    first = next(iter(networks_of(row_of(name))), "")
    return tuple(table for table in NETWORKS[first].tables if table in ("1", "2")) if first else ()


def row_of(name: str) -> str:
    """The published row that a network stands for, itself or instead of another; "" for none."""
    return next((entry.row for entry in NETWORKS.values() if name in networks_of(entry.row)), "")
