"""Virtual patients: one real CT scan bent, re-enhanced and re-noised into many.

They give the workbook enough variety to train on where only two real scans can ship. They share one
patient's anatomy, so a score on them shows that the machinery works and says nothing about patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.data.labels import BTCV_IDS, ORGANS
from msa2net_lib.data.virtual.deform import DeformationRecipe, deform, structure_weights
from msa2net_lib.data.virtual.scan import ScanSize, draw_grid, place_of, scan
from msa2net_lib.data.volumes import Volume, check_same_geometry
from msa2net_lib.errors import InputError
from msa2net_lib.utils.tables import read_table

PHASES: tuple[str, ...] = ("unenhanced", "arterial", "portal-venous")

UPTAKE_HU: dict[str, tuple[tuple[float, float], tuple[float, float]]] = read_table("uptake_hu")
"""Structure -> enhancement over the unenhanced scan in HU, (mean, standard deviation) in the arterial and in
the portal-venous phase: typical of adults, set by hand. "other" is soft tissue without a label; the
gallbladder takes up nothing."""


@dataclass(frozen=True)
class VirtualRecipe(DeformationRecipe):
    """How far a virtual patient may be from the real one, and how much of it is scanned.

    ``noise_hu``: range of the added noise's sigma. ``individual_hu``: standard deviation of each organ's own
    offset, in any phase. ``margin_mm``: the scan range, in mm beyond the evaluated organs at either end;
    None for the real patient's whole range, which reaches far below an abdominal scan's.
    """

    noise_hu: tuple[float, float] = (5.0, 20.0)
    individual_hu: float = 5.0
    margin_mm: float | None = 15.0

    def __post_init__(self) -> None:
        if self.margin_mm is not None and not self.margin_mm >= 0:
            raise InputError(f"margin_mm={self.margin_mm}: give 0 or more, or None for the whole scan")


def make_virtual_patient(
    image: Volume,
    label: Volume,
    seed: int,
    *,
    phase: str | None = None,
    recipe: VirtualRecipe | None = None,
    size: ScanSize | None = None,
) -> tuple[Volume, Volume]:
    """Return a virtual patient made from a real one: (int16 image in HU, uint8 raw BTCV labels).

    ``image`` (Z, Y, X) in HU, taken as unenhanced, and ``label`` (Z, Y, X) with raw BTCV ids share a voxel
    grid. The result keeps its rows, columns and spacing; of its slices it has those with any of the 8
    evaluated organs (``labels.ORGANS``) and at least ``recipe.margin_mm`` beyond them at both ends, as far as
    ``image`` reaches, its origin moved along; all of them for ``margin_mm=None`` and for a label without such
    an organ. With ``size`` it has that many slices and pixels instead: of a range that holds those slices, in a
    field of view that holds the image, both drawn from the seed (``virtual_scan.draw_grid``). The same ``seed``
    gives the same patient, whatever the margin or size. ``phase`` is one of ``PHASES``, drawn from the seed if
    None. Every structure of ``label`` survives the deformation, whose Jacobian determinant is positive
    everywhere; only structures that are not evaluated can lie outside the margin. Raises InputError for an
    unknown phase, when image and label do not match, or for a ``size`` too coarse to show every structure.
    """
    check_same_geometry(image, label, "the source image", "the source label")
    if phase is not None and phase not in PHASES:
        raise InputError(f"unknown contrast phase {phase!r}: choose one of {', '.join(PHASES)}")
    recipe = recipe or VirtualRecipe()
    # Independent streams: changing how noise is drawn leaves shapes as they were.
    bend_rng, contrast_rng, noise_rng, scan_rng = np.random.default_rng(seed).spawn(4)
    drawn = str(contrast_rng.choice(PHASES))
    labels, coordinates = deform(label, bend_rng, recipe)
    hu = ndimage.map_coordinates(image.array.astype(np.float32), coordinates, order=3, mode="nearest")
    hu = _enhance(hu, labels, image.spacing, phase or drawn, contrast_rng, recipe.individual_hu)
    place = (image.spacing, image.origin, image.direction)
    first, last = scan_range(labels, image.spacing[0], recipe.margin_mm)
    if size is not None:
        grid = draw_grid(Volume(hu, *place), (first, last), size, scan_rng)
        weights = structure_weights(label.array, coordinates)
        scanned = scan(Volume(hu, *place), weights, grid, noise_rng, recipe.noise_hu)
        _check_survival(labels[first:last], scanned[1].array, size)
        return scanned
    # Slightly correlated within a slice, as reconstruction leaves it.
    noise = ndimage.gaussian_filter(noise_rng.standard_normal(hu.shape, dtype=np.float32), [0.0, 0.6, 0.6])
    hu += noise * np.float32(noise_rng.uniform(*recipe.noise_hu) / noise.std())
    hu = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return _crop_slices(Volume(hu, *place), first, last), _crop_slices(Volume(labels, *place), first, last)


def scan_range(labels: NDArray, slice_mm: float, margin_mm: float | None) -> tuple[int, int]:
    """Return the slices [first, last) that hold an evaluated organ, or lie within the margin of one."""
    occupied = np.flatnonzero(np.isin(labels, [BTCV_IDS[organ] for organ in ORGANS]).any(axis=(1, 2)))
    if margin_mm is None or not len(occupied):
        return 0, len(labels)
    # Whole slices, at least the margin; the tolerance is for spacings that headers hold as float32.
    margin = math.ceil(margin_mm / slice_mm - 1e-4)
    return max(0, int(occupied[0]) - margin), min(len(labels), int(occupied[-1]) + 1 + margin)


def _crop_slices(volume: Volume, first: int, last: int) -> Volume:
    """Return slices [first, last) of a volume, at the place in the scanner where they were."""
    return replace(volume, array=volume.array[first:last].copy(), origin=place_of(volume, (first, 0, 0)))


def _check_survival(labels: NDArray, scanned: NDArray, size: ScanSize) -> None:
    """Raise InputError if a structure of the patient fell between the voxels of the scan."""
    lost = np.setdiff1d(labels, scanned)
    if len(lost):
        names = [structure for structure, number in BTCV_IDS.items() if number in lost]
        grid = f"{size.slices} slices of {size.pixels} x {size.pixels} pixels"
        raise InputError(f"{grid} are too coarse to show the {names[0]}; ask for more slices or pixels")


def _enhance(
    hu: NDArray, labels: NDArray, spacing: Sequence[float], phase: str, rng: np.random.Generator, individual_hu: float
) -> NDArray:
    """Add what contrast agent adds in ``phase``, organ by organ, to soft tissue only."""

    def uptake(structure: str) -> float:
        if phase == "unenhanced" or structure not in UPTAKE_HU:
            return 0.0
        return max(0.0, rng.normal(*UPTAKE_HU[structure][PHASES.index(phase) - 1]))

    shift = np.full(hu.shape, uptake("other"), dtype=np.float32)
    for structure, number in BTCV_IDS.items():
        shift[labels == number] = uptake(structure) + rng.normal(0.0, individual_hu)
    # A scanner's resolution is finite: no step at an organ's edge is sharper than about 2 mm.
    shift = ndimage.gaussian_filter(shift, [2.0 / s for s in spacing])
    # Fat, gas and bone take up nothing. The ramp treats voxels that are half fat as half organ.
    tissue = np.clip((hu + 80.0) / 60.0, 0.0, 1.0) * np.clip((300.0 - hu) / 100.0, 0.0, 1.0)
    return hu + shift * tissue
