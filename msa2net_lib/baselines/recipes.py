"""How the original repositories train the networks of Tables 1 and 2, as their code says, and as it is run here.

Read at the commits that `baselines.table` names. Where an entry is missing, no training code was released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class OwnRecipe:
    """One repository's training, in words as short as its code allows.

    images: values that enter the network. chosen: which weights are reported, and on which data that was decided.
    where: files and lines. settings: fields of `TrainConfig` that do the same here. unit: images in [0, 1] enter the
    network, not (x - 0.5) / 0.5. otherwise: what of it is done otherwise here.
    """

    optimizer: str
    batch: str
    epochs: str
    loss: str
    augmentation: str
    images: str
    chosen: str
    where: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    unit: bool = False
    otherwise: str = ""


_ROTATE = "half: right-angle rotation and flip; a quarter: -20 to 19 degrees; a quarter: none"
_IMGAUG = "the imgaug recipe that MSA²Net's code uses"
_SIGNED = "(x - 0.5) / 0.5"
_UNIT = "[0, 1]"
_SKIN = "min-max of the image, all channels together"
_EVERY_20 = "scored on the test cases every 20 epochs"
_EVERY_20_FROM_HALF = f"{_EVERY_20} from half on"
_POLY = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-4, "schedule": "poly", "poly_power": 0.9}
_ADAM = {"optimizer": "adam", "weight_decay": 0.0, "schedule": "constant"}
_VALIDATED = {"selection": "validation", "validate_every": 1}
_SIZE = "augmented at the network's size, not at 512 x 512"
_FROM_HALF = "the test cases are scored from the start on, not from half on"


def _scored(every: int) -> dict[str, Any]:
    return {"selection": "test", "validate_every": every}


RANDOM = OwnRecipe(
    "Adam (0.5, 0.999), rate drawn at random from 5e-7 to 5e-4, linear decay at the end",
    "1",
    "100, 150, 200 or 250, drawn at random",
    "binary cross-entropy on the sigmoid",
    "drawn once a run: rotations, crop, shift, flips, jitter",
    f"{_SIGNED}, width 256, the mask bilinear too",
    "best on validation, scores averaged over images",
    "main.py, solver.py, data_loader.py",
    _ADAM | {"beta_1": 0.5, "batch_size": 1, "loss": "cross_entropy", "augment": "none"} | _VALIDATED,
    otherwise="square images of the network's size; no augmentation, whose strength is drawn once a run; no decay at "
    "the end; two logits, whose cross-entropy is that of one sigmoid of their difference",
)


def _like_transunet(
    rate: float,
    batch: int,
    epochs: int,
    augment: str,
    chosen: str,
    where: str,
    dice: float = 0.6,
    batch_in_words: str = "",
    **settings: Any,
) -> OwnRecipe:
    """SGD, poly, cross-entropy and Dice: TransUNet's script, from which six repositories took theirs."""
    imgaug, scaled = augment == "released", f", {rate * batch / 24:.5g} at batch {batch}"
    return OwnRecipe(
        f"SGD {rate:g}{scaled * ('scale_rate' in settings)}, momentum 0.9, weight decay 1e-4, poly 0.9",
        batch_in_words or str(batch),
        str(epochs),
        f"cross-entropy and Dice, {1 - dice:g} and {dice:g}",
        _IMGAUG if imgaug else _ROTATE,
        _SIGNED if imgaug else _UNIT,
        chosen,
        where,
        _POLY
        | {"learning_rate": rate, "batch_size": batch, "epochs": epochs, "augment": augment}
        | {"loss": f"cross_entropy_{1 - dice:g}+dice_{dice:g}"}
        | settings,
        unit=not imgaug,
        otherwise=_SIZE + ("; " + _FROM_HALF if "from half on" in chosen else ""),
    )


OWN_RECIPES: dict[str, OwnRecipe] = {
    "TransUNet": _like_transunet(
        0.01, 24, 150, "right_angles", "last epoch", "trainer.py:43,58,62; train.py:23-30", dice=0.5
    ),
    "Swin-UNet": _like_transunet(
        0.05,
        24,
        150,
        "right_angles",
        "last epoch in 2021; the newest code takes the lowest loss on the training list",
        "trainer.py:42,69,122; the README's command",
    ),
    "MISSFormer": _like_transunet(0.05, 24, 400, "released", "last epoch", "trainer.py:54,71,76,96"),
    "HiFormer-B": _like_transunet(
        *(0.01, 10, 400, "right_angles", f"{_EVERY_20}, the best file chosen by hand", "trainer.py:105,131,160"),
        **_scored(20),
    ),
    "DAE-Former": _like_transunet(
        *(0.05, 20, 400, "released", _EVERY_20_FROM_HALF, "trainer.py:113,134,164; train.py:112-113"),
        batch_in_words="20 (README) or 24 (its log)",
        scale_rate=True,
        **_scored(20),
    ),
    "PVT-CASCADE": OwnRecipe(
        "AdamW 1e-4, weight decay 1e-4, constant",
        "24",
        "150",
        "cross-entropy and Dice, 0.3 and 0.7, on each of four heads, summed",
        _ROTATE,
        _UNIT,
        "scored on the test cases every epoch, the best mean Dice kept",
        "trainer.py:66,93-100,106,129-134; train_synapse.py:28-41",
        {
            "optimizer": "adamw",
            "learning_rate": 1e-4,
            "weight_decay": 1e-4,
            "schedule": "constant",
            "batch_size": 24,
            "epochs": 150,
            "augment": "right_angles",
            **_scored(1),
            "loss": "cross_entropy_0.3+dice_0.7, every head",
        },
        unit=True,
        otherwise=_SIZE,
    ),
    "2D D-LKA Net": _like_transunet(
        *(0.05, 20, 400, "released", _EVERY_20_FROM_HALF, "2D/trainer_MaxViT_deform_LKA.py:114,139,145,179"),
        batch_in_words="20 (README) or 24",
        scale_rate=True,
        **_scored(20),
    ),
    "U-Net": RANDOM,
    "AttU-Net": RANDOM,
    "UCTransNet": OwnRecipe(
        "Adam 1e-3, cosine restarts every 10 epochs to 1e-4",
        "4",
        "up to 2000, patience 50",
        "0.5 Dice and 0.5 class-balanced binary cross-entropy",
        "not read",
        "OpenCV's BGR in [0, 1], the mask bilinear and then > 0",
        "best Dice on validation",
        "MoNuSeg and GlaS at 224 only: its repository has no skin pictures",
        _ADAM
        | {"learning_rate": 1e-3, "batch_size": 4, "epochs": 2000, "augment": "none"}
        | {"schedule": "cosine_restarts", "restart_epochs": 10, "least_rate": 0.1}
        | {"loss": "balanced_cross_entropy_0.5+dice_0.5"}
        | _VALIDATED,
        unit=True,
        otherwise="RGB, masks by the nearest pixel, no augmentation; all 2000 epochs: nothing stops it after 50 "
        "without a better score; Dice over the pixels of a batch",
    ),
    "DermoSegDiff": OwnRecipe(
        "Adam (0.7, 0.99) 1e-4, constant: its schedule is built and never stepped",
        "32",
        "500",
        "mean squared error of the noise; the boundary term is commented out for ISIC",
        "12 changes of pixels and 11 of place, each with 0.05, on half of the images",
        f"{_SKIN}, at 128; training images per channel after augmentation",
        "lowest noise loss on validation, of averaged weights",
        "training.py, train_validate.py, testing.py, dsd_01.yaml:64-73",
        _ADAM
        | {"beta_1": 0.7, "beta_2": 0.99, "learning_rate": 1e-4, "batch_size": 32, "epochs": 500, "augment": "none"},
        otherwise="images as the data set has them; no augmentation; the last step's averaged weights",
    ),
}
"""By the name of the row in the paper's tables. ScaleFormer's and FAT-Net's repositories hold no training code."""
