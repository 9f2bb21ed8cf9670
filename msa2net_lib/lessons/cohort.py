"""What a change to the gates does to all held-out cases: what a lesson says of the gate rests on this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.analysis.interventions import Run, running
from msa2net_lib.analysis.slice_study import network_input
from msa2net_lib.checkpoints import SHIPPED_TINY
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import detectable, paired_interval
from msa2net_lib.metrics import dice
from msa2net_lib.nn.layout import map_to_tokens
from msa2net_lib.nn.masag import MASAG, MASAGTrace
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.utils.torch_files import require_finite_logits

EVERY, AT_ONCE = 4, 16
LOWER, HIGHER, UNCLEAR = "lower", "higher", "not to be told apart"


@dataclass(frozen=True, eq=False)
class Cohort:
    """Every so many slices of the held-out cases, and a network; make one with `held_out_cohort`.

    images, labels: (n, h, w) at the network's input size. cases, slices: of each slice, the case's name and z.
    encoded: the encoder's maps, finest first, which no change to a gate reaches.
    """

    network: MSA2Net
    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    cases: tuple[str, ...]
    slices: tuple[int, ...]
    encoded: list[Tensor]

    @property
    def levels(self) -> list[int]:
        """Decoder levels that have a MASAG, finest first."""
        return [number for number, _ in self._gates()]

    def gate(self, level: int) -> MASAG:
        """The gate of a level. Raises: `InputError` for a level without one."""
        gates = dict(self._gates())
        if level not in gates:
            raise InputError(f"level {level} has no MASAG: use one of {', '.join(map(str, gates))}")
        return gates[level]

    def runs(self, change: Callable[[MASAG], Run], levels: Sequence[int] | None = None) -> dict[int, Run]:
        """The same change of the gate at some levels, or at all: level -> what runs there."""
        return {level: change(self.gate(level)) for level in (self.levels if levels is None else levels)}

    def _gates(self) -> list[tuple[int, MASAG]]:
        levels: Any = self.network.decoder.levels
        return [(number, one.gate) for number, one in enumerate(levels) if isinstance(one.gate, MASAG)]

    @torch.inference_mode()
    def predict(self, runs: Mapping[int, Run] | None = None) -> NDArray[np.uint8]:
        """Labels (n, h, w), with the gates of some levels changed: decoder level -> what runs there.

        Raises: `InputError` for a level without a gate.
        """
        decoder, labels = self.network.decoder, []
        coarsest = max(runs) if runs else 0  # a change reaches its own level and finer ones
        for level in runs or ():
            self.gate(level)
        brought = self._brought[coarsest]
        with running(self.gate, runs):
            for features, tokens in zip(self._parts(), brought, strict=True):
                for level in range(coarsest, -1, -1):
                    tokens = decoder.run_level(level, tokens, features)
                logits = decoder.classify(tokens, features)
                labels.append(require_finite_logits(logits).argmax(dim=1).to(torch.uint8).cpu().numpy())
        return np.concatenate(labels)

    def _parts(self) -> list[list[Tensor]]:
        """The encoder's maps of so many slices at once."""
        starts = range(0, len(self.slices), AT_ONCE)
        return [[maps[start : start + AT_ONCE] for maps in self.encoded] for start in starts]

    @cached_property
    def _brought(self) -> dict[int, list[Tensor]]:
        """What the decoder brings to each level as trained, by part: level -> tokens."""
        brought: dict[int, list[Tensor]] = {level: [] for level in (3, 2, 1, 0)}
        for features in self._parts():
            tokens = map_to_tokens(features[3])
            for level in (3, 2, 1, 0):
                brought[level].append(tokens)
                if level:
                    tokens = self.network.decoder.run_level(level, tokens, features)
        return brought

    def watch(self, measure: Callable[[int, MASAGTrace], Mapping[str, Tensor]]) -> pd.DataFrame:
        """What a measure finds in the gates as they are: index (level, case), a row for each slice.

        measure: a level and its gate's tensors of some slices -> name -> a number for each of these slices, (n,).
        """
        found: dict[int, list[pd.DataFrame]] = {level: [] for level in self.levels}

        def watched(level: int) -> Run:
            def run(x: Tensor, g: Tensor) -> MASAGTrace:
                trace = self.gate(level).trace(x, g)
                seen = {name: values.cpu().numpy() for name, values in measure(level, trace).items()}
                found[level].append(pd.DataFrame(seen))
                return trace

            return run

        self.predict({level: watched(level) for level in self.levels})
        tables = {level: pd.concat(parts).set_axis(self.cases) for level, parts in found.items()}
        return pd.concat(tables).rename_axis(["level", "case"])

    def dice(self, runs: Mapping[int, Run] | None = None) -> NDArray[np.float64]:
        """Dice of each slice (n,), the mean over the organs that are in it, as `analysis.interventions.slice_dice`."""
        return self._dice(runs) if runs else self._as_trained.copy()

    @cached_property
    def _as_trained(self) -> NDArray[np.float64]:
        return self._dice(None)  # once: each table and each choice of a slice asks for it

    def _dice(self, runs: Mapping[int, Run] | None) -> NDArray[np.float64]:
        return np.array(
            [
                np.mean([dice(one == organ, label == organ) for organ in np.unique(label) if organ])
                for one, label in zip(self.predict(runs), self.labels, strict=True)
            ],
            dtype=np.float64,
        )

    def typical(self, case: str) -> int:
        """Of a case's slices with most organs, the one (z) whose Dice is nearest to the mean of all slices."""
        scores = self.dice()
        own = [place for place, name in enumerate(self.cases) if name == case]
        organs = [len(np.unique(self.labels[place])) for place in own]
        rich = [place for place, count in zip(own, organs, strict=True) if count == max(organs)]
        return self.slices[min(rich, key=lambda place: abs(scores[place] - scores.mean()))]

    def by_case(self, values: NDArray) -> NDArray[np.float64]:
        """Mean over the slices of each case, in the order of the cases."""
        groups: Any = pd.Series(values).groupby(list(self.cases), sort=False)
        return groups.mean().to_numpy()

    def __str__(self) -> str:
        count = len(set(self.cases))
        return f"{len(self.slices)} slices of {count} held-out case{'s' * (count > 1)}"


@torch.inference_mode()
def held_out_cohort(network: MSA2Net, dataset: PreparedDataset, every: int = EVERY) -> Cohort:
    """Take every so many of the slices that hold an organ, of all held-out cases. Raises: `InputError`, no organ."""
    size, images, labels, names, slices = network.config.height_width, [], [], [], []
    for name in dataset.test_cases:
        case = dataset.load_case(name)
        for z in np.flatnonzero(case.label.any(axis=(1, 2)))[::every]:
            label = resize_label(case.label[z], size)
            if label.any():  # an organ may be too small for the network's grid
                images.append(resize_image(case.image[z], size))
                labels.append(label)
                names.append(name)
                slices.append(int(z))
    if not slices:
        raise InputError(f"{dataset.root}: no held-out case has a slice with an organ; take another DATASET")
    stacked, network = np.stack(images), network.eval()
    parts = [network.encoder(network_input(network, stacked[i : i + AT_ONCE])) for i in range(0, len(stacked), AT_ONCE)]
    encoded = [torch.cat(maps) for maps in zip(*parts, strict=True)]
    return Cohort(network, stacked, np.stack(labels), tuple(names), tuple(slices), encoded)


def cohort_effects(cohort: Cohort, changes: Mapping[str, Mapping[int, Run]]) -> pd.DataFrame:
    """What each change does to Dice, with a case as the unit: one row per change.

    changes: name -> decoder level -> what runs there. Columns: "Dice" (mean over cases), "difference" from the network
    as trained, its 95 % interval "low" to "high" (paired t over cases; nan for one case), "dots" (each case's
    difference) and "verdict": `LOWER` or `HIGHER` where the interval leaves out 0, else `UNCLEAR`.
    """
    trained, rows = cohort.by_case(cohort.dice()), {}
    for name, runs in changes.items():
        changed = cohort.by_case(cohort.dice(runs))
        difference, low, high = paired_interval(changed, trained)
        rows[name] = {
            "Dice": float(changed.mean()),
            "difference": difference,
            "low": low,
            "high": high,
            "dots": (changed - trained).tolist(),
            "verdict": LOWER if high < 0 else HIGHER if low > 0 else UNCLEAR,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def show_effects(cohort: Cohort, effects: pd.DataFrame) -> str:
    """The table in words, for a page."""
    trained = float(cohort.by_case(cohort.dice()).mean())
    lines = [
        f"{cohort}; as trained: mean Dice {trained:.2f}; difference with its 95 % interval over cases, each for itself"
    ]
    width = max(map(len, map(str, effects.index)))
    lines += [
        f"{name!s:<{width}}  {row.Dice:5.2f}  {row.difference:+.3f}  ({row.low:+.3f} to {row.high:+.3f})  {row.verdict}"
        + f", below 0 in {sum(dot < 0 for dot in row.dots)} of {len(row.dots)} cases"
        + (f"; four studies in five would see {detectable(row.dots):.3f}" if row.verdict == UNCLEAR else "")
        for name, row in effects.iterrows()
    ]
    return "\n".join(lines)


def hold(effects: pd.DataFrame, path: Any, data: str, claims: Mapping[str, Sequence[str]]) -> None:
    """Stop the page if its text no longer fits the numbers: verdict -> names of the changes that have it.

    The text is about the network that ships on the virtual cohort; with another one, read your own table.
    """
    if path != SHIPPED_TINY or data != "virtual":
        print("The text below is about the network that ships, on the virtual cohort. Read your own table.")
        return
    for verdict, names in claims.items():
        for name in names:
            assert effects.verdict[name] == verdict, f"{name}: {effects.verdict[name]}, the text says {verdict}"
    print("the signs that the text below names hold:", sum(map(len, claims.values())))
