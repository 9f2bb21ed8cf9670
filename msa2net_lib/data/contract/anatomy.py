"""What an adult abdomen looks like, in numbers: how large the eight organs are and where they lie.

Only good enough to tell organs, and left from right, on data that say nothing of either. Typical volumes of liver,
spleen, kidneys and pancreas: means of both sexes in E. M. Geraghty et al., Normal organ volume assessment from
abdominal CT, Abdominal Imaging 29, 2004; of the gallbladder: near the 24 ml (11 to 51) of 400 fasting adults on
ultrasound in Nigerian Logger of Basic and Clinical Sciences 13, 2016. All other numbers are ours, set by hand for a
typical adult, with spreads wide enough for patients. So are the limits of what is plausible; they hold what was
measured in healthy adults (liver 825 to 1700 ml and spleen 81 to 322 ml in 95 % of 2989, D. W. Kim et al.,
Radiology 2021; pancreas 19 to 140 ml in 204, doi 10.1007/s00261-018-1793-8) with room for illness.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OrganFacts:
    """One organ of a typical adult.

    volume_ml and its ``plausible_ml`` (lowest, highest; beyond them something is wrong, or someone very ill).
    height_mm: from its lowest to its highest slice. elongation: long over short axis of its cross-sections.
    place_mm: centroid (z up, y to the back, x to the patient's left); in the plane from the aorta's, in height
    from between the kidneys. Spreads, one standard deviation: ``area_spread``, ``height_spread`` and
    ``elongation_spread`` of the natural logarithm; ``place_spread_mm`` (in height, in the plane).
    """

    volume_ml: float
    plausible_ml: tuple[float, float]
    height_mm: float
    elongation: float
    place_mm: tuple[float, float, float]
    place_spread_mm: tuple[float, float]
    area_spread: float
    height_spread: float
    elongation_spread: float


ORGAN_FACTS: dict[str, OrganFacts] = {
    # The aorta's height depends on the scan range: its spread in height says that it tells nothing.
    "aorta": OrganFacts(75, (8, 400), 180, 1.13, (20, 0, 0), (60, 10), 0.35, 0.4, 0.15),
    "gallbladder": OrganFacts(28, (1, 300), 55, 1.57, (10, -60, -70), (25, 25), 0.6, 0.4, 0.25),
    "left kidney": OrganFacts(175, (40, 500), 105, 1.42, (3, 28, 60), (20, 18), 0.35, 0.2, 0.2),
    "right kidney": OrganFacts(175, (40, 500), 105, 1.42, (-3, 25, -70), (20, 18), 0.35, 0.2, 0.2),
    "liver": OrganFacts(1560, (500, 4000), 160, 2.1, (50, -30, -80), (25, 20), 0.4, 0.25, 0.35),
    "pancreas": OrganFacts(76, (10, 300), 85, 1.9, (20, -35, 15), (20, 20), 0.6, 0.4, 0.4),
    "spleen": OrganFacts(209, (30, 2000), 100, 2.3, (55, 25, 90), (25, 22), 0.5, 0.3, 0.3),
    "stomach": OrganFacts(250, (20, 3000), 110, 1.8, (45, -55, 50), (30, 25), 0.7, 0.4, 0.35),
}
"""Organ -> facts, in the order of ``labels.ORGANS``."""

BTCV_VOXEL_MM3: tuple[float, float] = (0.54 * 0.54 * 2.5, 0.98 * 0.98 * 5.0)
"""Smallest and largest voxel of the BTCV scans, from the ranges on the challenge's page (0.54 to 0.98 mm in
the plane, 2.5 to 5.0 mm between slices): what is known where a file stores no spacing."""
