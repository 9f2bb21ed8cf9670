"""Dice and 95 % Hausdorff distance of masks and label volumes, and the pixel scores of skin lesions.

Everything is counted and measured on the smallest box that holds both objects: outside of it lies no voxel that could
change a number. Dice comes from medpy; surface distances equal medpy's (`metrics.pairs`). Arrays may be NumPy arrays
or tensors on any device.
"""

from __future__ import annotations

from msa2net_lib.metrics.pairs import dice, hd95
from msa2net_lib.metrics.pixels import AVERAGES, pixel_counts, pixel_scores, scores_of_counts
from msa2net_lib.metrics.volumes import PROTOCOLS, UNITS, VolumeMeasures, measure_volume, score_volume
