"""May a reproduced number be compared with a published one? The one place that decides, and gives the reasons."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from msa2net_lib.baselines.spec import Config
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.data.isic import ISIC_COUNT, ISIC_SHARES
from msa2net_lib.data.splits import SYNAPSE_TEST_CASES
from msa2net_lib.train_config import TrainConfig

PAPER_FORMS = ("paper", "published", "released")
"""Presets that are the paper's network in one of its three forms."""
TABLE_1_FORM = "published"
"""The form whose parameters Table 1 counts (112.77 M), and so the one whose scores it can be said to print."""
TABLE_1_PRECISION = "fp32"
"""What the reference training script computes in."""
PAPER_SIZE = (224, 224)
ISIC_TEST_COUNT = ISIC_COUNT - sum(int(share * ISIC_COUNT) for share in ISIC_SHARES[:2])
"""Images that the lineage of the paper's ISIC rows tests on: 520 of 2594."""
ROUNDING = 0.005
"""Half a unit of the second decimal, the last one that Tables 1 and A print of parameters in M."""

NOT_TOLD = "not said; the reference training script scores the test cases every 20 epochs"
"""Selection of the paper's own row of Table 1."""

NOT_RECORDED = "not recorded"
_CHOSEN = {
    "validation": "three training cases were set aside to choose by",
    "test": "chosen by its score on the test cases, which flatters; how the paper chose is not said",
}
"""Selections that make a run another one than Table 1's may have been."""

# What changes neither what is learnt nor what is scored.
_UNIMPORTANT = (
    *("recipe", "notes", "seed", "selection", "validate_every"),
    *("checkpoint_every", "log_every", "compilation", "precision"),
)


@dataclass(frozen=True)
class Comparability:
    """Whether two numbers may be compared: one phrase, and what else to know, as parts of a note."""

    comparable: bool
    phrase: str
    remarks: tuple[str, ...] = ()


def _other_data(name: str) -> str:
    return DATASETS[name].short if name in DATASETS else f"other data ({name})"


def judge_volumes(
    data: str, cases: Collection[str], network: Config, training: TrainConfig | None, selection: str
) -> Comparability:
    """Hold a run on scans against Table 1: its data, test cases, network, input size and training.

    Its form, precision and selection are named whatever the answer. data: name in `data.catalog.DATASETS`, or another.
    training: None where it is not known, as of a downloaded file. selection: as `train_config.Selection`, or "unknown".
    """
    reasons = []
    if data != "synapse":
        reasons.append(_other_data(data))
    elif set(cases) != {f"case{number}" for number in SYNAPSE_TEST_CASES}:
        reasons.append("other test cases than the 12 published ones")
    reasons += _differences(network, training, "synapse")
    if network.preset in PAPER_FORMS and network.preset != TABLE_1_FORM:
        reasons.append(f"form {network.preset}, where Table 1 counts the parameters of form {TABLE_1_FORM}")
    if precision_of(training) not in (TABLE_1_PRECISION, NOT_RECORDED):
        reasons.append(f"trained in {precision_of(training)}, the reference training script in {TABLE_1_PRECISION}")
    if selection in _CHOSEN:
        reasons.append(_CHOSEN[selection])
    named = named_run(network, training, selection)
    return _compared(f"comparable: same cases and protocol; {named}", reasons, [named] if reasons else [], training)


def judge_images(
    data: str,
    count: int,
    average: Literal["pooled", "per_image"],
    network: Config,
    training: TrainConfig | None,
    selection: str = "last",
) -> Comparability:
    """Hold a run on images against Table 2, which says neither form nor precision nor selection: they are named.

    count: test images. average: how their scores are put together.
    """
    reasons = []
    if data != "isic":
        reasons.append(_other_data(data))
    elif count != ISIC_TEST_COUNT:
        reasons.append(f"{count} test images where the lineage of the rows has {ISIC_TEST_COUNT}")
    reasons += _differences(network, training, "isic")
    if average == "per_image":
        reasons.append("mean over images; the rows of Table 2 that close are pooled")
    remarks = ["MSA²Net's published row does not close as pooled counts"] if data == "isic" else []
    remarks.append(named_run(network, training, selection))
    return _compared(
        "comparable as far as one random split is with another: the published one is not told",
        reasons,
        remarks,
        training,
    )


def precision_of(training: TrainConfig | None) -> str:
    """What a run was trained in; "auto" is known once it has run, and read from its record (`reproduced.runs`)."""
    return NOT_RECORDED if training is None or training.precision == "auto" else training.precision


def named_run(network: Config, training: TrainConfig | None, selection: str) -> str:
    """Form, precision and selection of a run in words: what two numbers must share beside data and protocol.

    Example:
        >>> named_run(NetworkConfig.from_preset("published"), TrainConfig(precision="fp32"), "last")
        'form published, fp32, last step'
    """
    precision = precision_of(training)
    precision = f"precision {precision}" if precision == NOT_RECORDED else precision
    chosen = {"last": "last step", "unknown": f"selection {NOT_RECORDED}"}.get(selection, f"best on {selection}")
    return f"form {network.preset}, {precision}, {chosen}"


def judge_count(counted_m: float, printed_m: float) -> Comparability:
    """Hold parameters counted on the network, in M, against a printed number of two decimals: exact, but rounding."""
    difference = counted_m - printed_m
    if abs(difference) <= ROUNDING:
        return Comparability(True, f"reproduced within rounding ({ROUNDING} M)")
    if 0 < difference < 2 * ROUNDING:
        return Comparability(True, "reproduced: cut off after two digits, not rounded")
    return Comparability(False, f"not reproduced: {difference:+.3f} M")


def _differences(network: Config, training: TrainConfig | None, recipe: str) -> list[str]:
    """What a network and its training have otherwise than the paper.

    A file of weights does not say what its encoder began from, so that counts where the training is recorded too.
    """
    reasons = []
    if network.preset not in PAPER_FORMS:
        reasons.append(f"another network ({network.preset})")
    elif not is_preset(network):
        reasons.append(f"a network changed from the preset {network.preset}")
    if network.height_width != PAPER_SIZE:
        reasons.append("input of {} x {} pixels, not 224 x 224".format(*network.height_width))
    if training is not None and not network.pretrained:
        reasons.append("an encoder not trained before")
    if training is not None and (changed := changed_fields(training, TrainConfig.from_recipe(recipe))):
        reasons.append(f"trained otherwise ({', '.join(changed)})")
    return reasons


def is_preset(network: Config) -> bool:
    """Whether a network is its preset in everything but input size, classes and the encoder's first weights."""
    preset = NetworkConfig.from_preset(network.preset)
    free = {"image_size": preset.image_size, "num_classes": preset.num_classes, "pretrained": preset.pretrained}
    return isinstance(network, NetworkConfig) and replace(network, **free) == preset


def changed_fields(training: TrainConfig, wanted: TrainConfig) -> list[str]:
    """Fields in which two training runs differ, of those that a result rests on."""
    one, other = training.to_dict(), wanted.to_dict()
    return [name for name in one if name not in _UNIMPORTANT and one[name] != other[name]]


def _compared(comparable: str, reasons: list[str], remarks: list[str], training: TrainConfig | None) -> Comparability:
    if training is None:
        remarks = [*remarks, "how it was trained is not recorded"]
    if not reasons:
        return Comparability(True, comparable, ("published without a spread, so no tolerance is given", *remarks))
    others = [f"also: {'; '.join(reasons[1:])}"] if reasons[1:] else []
    return Comparability(False, f"not comparable: {reasons[0]}", (*others, *remarks))
