"""Tables of made-up scores of heat maps, as lesson 14 makes them."""

from __future__ import annotations

import pandas as pd

from msa2net_lib.lessons.l14_grad_cam.study import FLAT, LAYERS, PROBABILITY

CASCADE = pd.DataFrame(
    [(part, seed, layer, value + 0.1 * seed, value)
     for part, values in {"head": (0.2, 0.6), "stem": (0.1, 0.7)}.items()
     for layer, value in zip(LAYERS[:2], values, strict=True)
     for seed in (0, 1)],
    columns=["part", "seed", "layer", "rank", "ssim"],
)  # fmt: skip
SUMMARY = pd.DataFrame(
    {"inside": [0.5, 0.2, 0.7, 0.02], "pointing": [0.9, 0.3, 1.0, 0.02]}, index=[*LAYERS[:2], PROBABILITY, FLAT]
)
REGIONS = pd.DataFrame({"corner": [1.0, 0.4]}, index=list(LAYERS[:2]))
PAIRS = pd.DataFrame(
    [("true, two seeds", "1, 2", "x", 0.8, 0.5), ("true and permuted", "1", "x", 0.3, 0.2),
            ("true and permuted", "2", "x", 0.4, 0.2), ("true, two seeds", "1, 2", "y", 0.5, 0.5),
            ("true and permuted", "1", "y", 0.3, 0.2), ("true and permuted", "2", "y", 0.6, 0.2),
            ("true and permuted", "1", "z", 0.6, 0.2)],
    columns=["pair", "seeds", "layer", "rank", "ssim"],
)  # fmt: skip
