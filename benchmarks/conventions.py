"""Which convention does each library follow, and which do the workbook's functions?

The same masks go to every scorer, the same slices, angles, masks and files to every tool. The tables go to a JSON file
and, with ``--page``, between the markers of docs/conventions.md. A library that is not installed is "not measured".
"""

from __future__ import annotations

import io
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
import torchvision.transforms.v2.functional as tv
from measure import NOT_MEASURED, RESULTS, parser_of, write_record
from medpy.metric import binary
from monai.metrics.hausdorff_distance import HausdorffDistanceMetric, compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from PIL import Image
from scipy import ndimage
from skimage import morphology, transform
from torchmetrics.functional.segmentation import hausdorff_distance
from torchvision.io import ImageReadMode, decode_jpeg

from msa2net_lib.data.augment import ReleasedAugmentation
from msa2net_lib.data.images.read import read_image
from msa2net_lib.data.resize import resize_back, resize_image, resize_label
from msa2net_lib.data.volumes import read_volume
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.mask_rules import open_and_fill
from msa2net_lib.metrics import score_volume
from msa2net_lib.utils.system_info import versions

RESULT = RESULTS / "conventions.json"
PACKAGES = (
    "numpy", "scipy", "torch", "torchvision", "medpy", "monai", "torchmetrics", "opencv-python-headless",
    "pillow", "scikit-image", "simpleitk", "nibabel", "segmentation-models-pytorch", "ctg-surface-distance",
    "seg-metrics", "nnunetv2", "isic-challenge-scoring",
)  # fmt: skip
Pair = tuple[np.ndarray, np.ndarray, tuple[float, ...]]
Table = dict[str, list[list[str]] | list[str]]


def main() -> int:
    """Compute all tables, write the record and, if asked, the page; return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--page", type=Path, help="Markdown file whose marked tables are written anew")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    tables = {
        "hd95": scores(HD95), "dice": scores(DICE), "mean": means(), "resize": resizing(), "turn": turning(),
        "opening": opening(), "jpeg": jpeg(), "header": headers(),
    }  # fmt: skip
    for name, table in tables.items():
        print(f"\n{name}\n{markdown(table)}")
    record = {"tables": tables, "versions": versions(PACKAGES)}
    write_record(arguments.output or RESULT, "Which convention does each library follow?", record)
    if arguments.page:
        fill(arguments.page, tables)
    return 0


def markdown(table: Table) -> str:
    """A table as Markdown."""
    lines = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fill(page: Path, tables: Mapping[str, Table]) -> None:
    """Write each table between its markers."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end {name} -->")
        assert end, f"{page} has no place for {name}"
        text = f"{before}{begin}{markdown(table)}\n{end}{after}"
    page.write_text(text, encoding="utf-8")


# Masks and their scorers.


def pairs() -> dict[str, Pair]:
    """Predicted and true masks with their spacing, by what they show."""
    empty = np.zeros((64, 64), bool)

    def square(row: int, column: int, side: int = 20) -> np.ndarray:
        mask = empty.copy()
        mask[row : row + side, column : column + side] = True
        return mask

    stray = square(20, 23)
    stray[2:5, 2:5] = True
    inside: Any = ndimage.binary_erosion(square(20, 20))
    outline = square(20, 20) & ~inside
    slab = np.zeros((8, 32, 32), bool)
    slab[2:6, 8:24, 8:24] = True
    return {
        "equal": (square(20, 20), square(20, 20), (1, 1)),
        "shifted by 3, and a stray 3 x 3 blob": (stray, square(20, 20), (1, 1)),
        "touching the border, shifted by 3": (square(0, 3), square(0, 0), (1, 1)),
        "one pixel each, 3 apart": (square(20, 23, 1), square(20, 20, 1), (1, 1)),
        "a filled square against its outline": (square(20, 20), outline, (1, 1)),
        "a slab moved by one slice of 3 mm": (np.roll(slab, 1, 0), slab, (3, 1, 1)),
        "missed (nothing found)": (empty, square(20, 20), (1, 1)),
        "invented (nothing there)": (square(20, 20), empty, (1, 1)),
        "nothing there, nothing found": (empty, empty, (1, 1)),
    }


def scores(ways: Mapping[str, Callable[..., Any]]) -> Table:
    """What each way says of each pair: a row a pair, a column a way."""
    rows = [[name, *(told(way, *pair) for way in ways.values())] for name, pair in pairs().items()]
    return {"columns": ["pair", *ways], "rows": rows}


def told(way: Callable[..., Any], *given: Any) -> str:
    """A number in words: how many digits it has, or what was raised; "not measured" without the library."""
    try:
        value = way(*given)
    except ImportError:
        return NOT_MEASURED
    except InputError:
        return "refused, and says why"
    except Exception as error:
        return f"raises {type(error).__name__}"
    if isinstance(value, str):
        return value
    return f"{float(value):.3f}".rstrip("0").rstrip(".") if np.isfinite(float(value)) else str(float(value))


def ours(column: int, protocol: str) -> Callable[..., Any]:
    def way(pred: np.ndarray, target: np.ndarray, spacing: tuple[float, ...]) -> float:
        given = {} if protocol == "paper" else {"spacing": tuple(map(float, spacing))}
        return score_volume(pred.astype(np.uint8), target.astype(np.uint8), 2, protocol, **given)[0, column]

    return way


def onehot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


def surface_hd95(pred: np.ndarray, target: np.ndarray, spacing: tuple[float, ...]) -> float:
    import surface_distance  # pyright: ignore[reportMissingImports]

    return surface_distance.compute_robust_hausdorff(
        surface_distance.compute_surface_distances(target, pred, spacing_mm=spacing), 95
    )


def surface_dice(pred: np.ndarray, target: np.ndarray, _: Any) -> float:
    import surface_distance  # pyright: ignore[reportMissingImports]

    return surface_distance.compute_dice_coefficient(target, pred)


def seg_metrics_way(name: str) -> Callable[..., Any]:
    def way(pred: np.ndarray, target: np.ndarray, spacing: tuple[float, ...]) -> Any:
        from seg_metrics import seg_metrics  # pyright: ignore[reportMissingImports]

        images = (target.astype(np.uint8), pred.astype(np.uint8))
        found = seg_metrics.write_metrics([1], gdth_img=images[0], pred_img=images[1], metrics=[name], spacing=spacing)
        value = (found[0] if isinstance(found, list) else found)[name][0]
        return "none" if value is None else value

    return way


def itk_largest(pred: np.ndarray, target: np.ndarray, spacing: tuple[float, ...]) -> float:
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (pred, target)]
    for image in images:
        image.SetSpacing([float(step) for step in spacing[::-1]])
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    return measure.GetHausdorffDistance()


def nnunet_dice(pred: np.ndarray, target: np.ndarray, _: Any) -> float:
    from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn  # pyright: ignore[reportMissingImports]

    tp, fp, fn, _tn = compute_tp_fp_fn_tn(target, pred)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")


def isic_dice(pred: np.ndarray, target: np.ndarray, _: Any) -> float:
    from isic_challenge_scoring.load_image import ImagePair
    from isic_challenge_scoring.segmentation import SegmentationScore

    pair = ImagePair(Path("ISIC_0000001_segmentation.png"))
    pair.parse_image_id()
    pair.truth_image, pair.prediction_image = (255 * mask.astype(np.uint8) for mask in (target, pred))
    average: Any = SegmentationScore([pair]).macro_average
    return average["dice"]


def smp_dice(pred: np.ndarray, target: np.ndarray, _: Any) -> Any:
    import segmentation_models_pytorch as smp

    given: Any = (onehot(pred).long(), onehot(target).long())
    counts = smp.metrics.get_stats(*given, mode="binary")
    return smp.metrics.f1_score(*counts, reduction="micro")


def torchmetrics_dice(pred: np.ndarray, target: np.ndarray, _: Any) -> Any:
    from torchmetrics.functional.segmentation import dice_score

    given = (onehot(pred).long(), onehot(target).long())
    return dice_score(*given, num_classes=1, include_background=True, average="macro")[0]


HD95: dict[str, Callable[..., Any]] = {
    "workbook, paper (voxels)": ours(1, "paper"),
    "workbook, strict (mm)": ours(1, "strict"),
    "medpy": lambda p, t, s: binary.hd95(p, t, voxelspacing=s),
    "MONAI": lambda p, t, s: compute_hausdorff_distance(
        onehot(p), onehot(t), include_background=True, percentile=95, spacing=list(map(float, s))
    ),
    "surface-distance": surface_hd95,
    "seg-metrics": seg_metrics_way("hd95"),
    "torchmetrics (largest)": lambda p, t, s: hausdorff_distance(
        onehot(p).int(), onehot(t).int(), num_classes=1, include_background=True, spacing=list(map(float, s))
    ).max(),
    "SimpleITK (largest)": itk_largest,
}
DICE: dict[str, Callable[..., Any]] = {
    "workbook, paper": ours(0, "paper"),
    "workbook, strict": ours(0, "strict"),
    "medpy": lambda p, t, s: binary.dc(p, t),
    "MONAI": lambda p, t, s: compute_dice(onehot(p), onehot(t), include_background=True),
    "torchmetrics": torchmetrics_dice,
    "smp": smp_dice,
    "nnU-Net": nnunet_dice,
    "ISIC scorer": isic_dice,
    "surface-distance": surface_dice,
    "seg-metrics": seg_metrics_way("dice"),
}


def means() -> Table:
    """The mean over cases and organs of two cases, of which one missed one of its two organs."""
    square = next(iter(pairs().values()))[0]
    target = np.where(square, 1, 0).astype(np.uint8)
    target[50:60, 50:60] = 2
    whole, missed = np.roll(target, 3, 1), np.where(target == 2, 0, np.roll(target, 3, 1)).astype(np.uint8)
    missed[missed == 2] = 0
    own = {
        protocol: np.stack(
            [score_volume(p[None], target[None], 3, protocol, (1.0, 1.0, 1.0))[:, 1] for p in (whole, missed)]
        )
        for protocol in ("paper", "strict")
    }
    measure = HausdorffDistanceMetric(include_background=False, percentile=95, reduction="mean")
    for pred in (whole, missed):
        measure(
            *(torch.from_numpy(np.stack([labels == index for index in range(3)])[None]) for labels in (pred, target))
        )
    rows = [
        ["workbook, paper", f"{own['paper'].mean():.3f}", "the missed organ counts 0, the best there is"],
        ["workbook, strict", f"{np.nanmean(own['strict']):.3f}", "counts the diagonal of the grid, the worst there is"],
        ["MONAI, reduction mean", told(measure.aggregate), "left out without a trace"],
    ]
    columns = ["mean HD95 over 2 cases, 2 organs, one of them missed once", "value", "the missed organ"]
    return {"columns": columns, "rows": rows}


# Slices, angles, files.


def resizing() -> Table:
    """Ones at 512 resized to 224; and nearest neighbors from 128 to 160 against exact arithmetic."""
    ones = np.ones((512, 512), np.float32)
    line = np.arange(128, dtype=np.uint8)
    lines = np.repeat(line[None], 128, 0)
    exact = np.floor((np.arange(160) + 0.5) * 128 / 160).astype(int)
    ratio = 224 / 512

    def torch_way(mode: str) -> Callable[[np.ndarray, int], np.ndarray]:
        enlarge = torch.nn.functional.interpolate
        return lambda a, n: enlarge(torch.from_numpy(a)[None, None].float(), (n, n), mode=mode)[0, 0].numpy()

    def pillow(a: np.ndarray, n: int) -> np.ndarray:
        return np.asarray(Image.fromarray(a).resize((n, n), Image.Resampling.NEAREST))

    cubic: dict[str, Callable[[np.ndarray], Any]] = {
        "workbook resize_image": lambda a: resize_image(a, 224),
        "workbook resize_label": lambda a: resize_label(a.astype(np.uint8), 224),
        "workbook resize_back": lambda a: resize_back(a[None].astype(np.uint8), 224)[0],
        "SciPy zoom, order 3": lambda a: np.asarray(ndimage.zoom(a, ratio, order=3)),
        "SciPy zoom, order 0": lambda a: np.asarray(ndimage.zoom(a, ratio, order=0)),
        "SciPy zoom, mode nearest": lambda a: np.asarray(ndimage.zoom(a, ratio, order=3, mode="nearest")),
        "OpenCV cubic": lambda a: cv2.resize(a, (224, 224), interpolation=cv2.INTER_CUBIC),
        "Pillow bicubic": lambda a: np.asarray(Image.fromarray(a).resize((224, 224), Image.Resampling.BICUBIC)),
        "torch bicubic": lambda a: torch_way("bicubic")(a, 224),
        "scikit-image, order 3": lambda a: transform.resize(a, (224, 224), order=3),
    }
    nearest: dict[str, Callable[[np.ndarray], Any]] = {
        "workbook resize_label": lambda a: resize_label(a, 160),
        "workbook resize_back": lambda a: resize_back(a[None], 160)[0],
        "SciPy zoom, order 0": lambda a: np.asarray(ndimage.zoom(a, 160 / 128, order=0)),
        "OpenCV INTER_NEAREST": lambda a: cv2.resize(a, (160, 160), interpolation=cv2.INTER_NEAREST),
        "OpenCV INTER_NEAREST_EXACT": lambda a: cv2.resize(a, (160, 160), interpolation=cv2.INTER_NEAREST_EXACT),
        "Pillow nearest": lambda a: pillow(a, 160),
        "torch nearest": lambda a: torch_way("nearest")(a, 160),
        "torch nearest-exact": lambda a: torch_way("nearest-exact")(a, 160),
        "scikit-image, order 0": lambda a: transform.resize(
            a, (160, 160), order=0, preserve_range=True, anti_aliasing=False
        ),
    }
    rows = []
    for name in dict.fromkeys([*cubic, *nearest]):
        zeros = str(int((np.abs(cubic[name](ones)) < 0.01).sum())) if name in cubic else ""
        differ = str(int((np.round(nearest[name](lines)[80]).astype(int) != exact).sum())) if name in nearest else ""
        rows.append([name, zeros, differ])
    columns = [
        "tool",
        "zeros in 50,176 pixels of ones, 512 to 224",
        "of 160 outputs not the pixel below their center, 128 to 160",
    ]
    return {"columns": columns, "rows": rows}


def turning() -> Table:
    """Which way +90 turns a mark at the middle of the right side, as seen with row 0 on top."""
    size = 33
    image = np.zeros((size, size), np.float32)
    image[14:19, 28:33] = 1
    tensor = torch.from_numpy(image)[None, None]
    middle = ((size - 1) / 2, (size - 1) / 2)

    def kornia_affine() -> np.ndarray:
        from kornia.augmentation import RandomAffine

        turn = RandomAffine((90.0, 90.0), p=1.0)
        return turn(tensor)[0, 0].numpy()

    def monai_rotate() -> np.ndarray:
        from monai.transforms.spatial.array import Rotate

        return np.asarray(Rotate(np.deg2rad(90), padding_mode="zeros")(tensor[0]))[0]

    def own() -> np.ndarray:
        augment = ReleasedAugmentation()
        draws = augment.draw(1, (1, size, size)).only("rotation", rotation=90.0)
        return augment.apply(2 * tensor - 1, torch.zeros(1, size, size, dtype=torch.int64), draws)[0][0, 0].numpy()

    ways: dict[str, Callable[[], Any]] = {
        "workbook ReleasedAugmentation": own,
        "SciPy rotate": lambda: ndimage.rotate(image, 90, order=1, reshape=False),
        "Pillow rotate": lambda: np.asarray(Image.fromarray(image).rotate(90)),
        "OpenCV getRotationMatrix2D": lambda: cv2.warpAffine(
            image, cv2.getRotationMatrix2D(middle, 90, 1), (size, size)
        ),
        "scikit-image rotate": lambda: transform.rotate(image, 90),
        "torchvision rotate": lambda: tv.rotate(tensor, 90)[0, 0].numpy(),
        "torchvision affine": lambda: tv.affine(tensor, 90, [0, 0], 1.0, [0.0, 0.0])[0, 0].numpy(),
        "kornia RandomAffine": kornia_affine,
        "MONAI Rotate": monai_rotate,
    }

    def side(way: Callable[[], Any]) -> str:
        found: Any = ndimage.center_of_mass(np.asarray(way()) > 0.5)
        row, column = found
        return "counterclockwise" if row < 10 else "clockwise" if row > 22 else f"({row:.0f}, {column:.0f})"

    rows = [[name, told(lambda way=way: side(way))] for name, way in ways.items()]
    return {"columns": ["tool", "+90 turns"], "rows": rows}


def opening() -> Table:
    """A 6 x 6 opening of a square in the middle, and of one at the border."""
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    border = np.zeros((40, 40), bool)
    border[:4, :20] = True
    square = np.ones((6, 6), np.uint8)
    ways: dict[str, Callable[[np.ndarray], Any]] = {
        "workbook open_and_fill": lambda m: open_and_fill(m, 6),
        "SciPy binary_opening": lambda m: ndimage.binary_opening(m, structure=square),
        "scikit-image opening": lambda m: morphology.opening(m, square),
        "OpenCV MORPH_OPEN": lambda m: cv2.morphologyEx(m.astype(np.uint8), cv2.MORPH_OPEN, square),
    }
    rows = []
    for name, way in ways.items():
        moved = np.subtract(ndimage.center_of_mass(np.asarray(way(mask))), ndimage.center_of_mass(mask))
        rows.append([name, f"{moved[0]:+.1f}, {moved[1]:+.1f}", str(int(np.asarray(way(border)).astype(bool).sum()))])
    columns = ["tool", "a square of 20 moves by (rows, columns)", "pixels kept of a strip of 4 x 20 at the border"]
    return {"columns": columns, "rows": rows}


def jpeg() -> Table:
    """A colored picture stored with subsampled color, decoded by each tool: largest difference from Pillow."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((64, 80, 3)), (2, 2, 0))
    picture = ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        Image.fromarray(picture).save(path, quality=90, subsampling="4:2:0")
        reference = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")).astype(int)
        stored = torch.from_numpy(np.frombuffer(path.read_bytes(), np.uint8).copy())
        decode: Any = decode_jpeg
        ways: dict[str, Callable[[], Any]] = {
            "workbook read_image": lambda: read_image(path),
            "OpenCV imread": lambda: cv2.imread(str(path))[..., ::-1],  # pyright: ignore[reportOptionalSubscript]
            "torchvision decode_jpeg": lambda: decode(stored, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy(),
            "SimpleITK ReadImage": lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
        }
        rows = [
            [name, told(lambda way=way: np.abs(np.asarray(way()).astype(int) - reference).max())]
            for name, way in ways.items()
        ]
    return {"columns": ["tool", "largest difference from Pillow (gray levels)"], "rows": rows}


def headers() -> Table:
    """Two NIfTI headers that are read in two ways: disagreeing transforms, and a slope of 0 with an intercept."""
    with tempfile.TemporaryDirectory() as folder:
        two, slope = Path(folder) / "two.nii", Path(folder) / "slope.nii"
        image = nibabel.Nifti1Image(np.full((4, 5, 6), 7, np.int16), np.diag([1.0, 1, 1, 1]))
        image.set_qform(np.array([[1.0, 0, 0, 10], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), code=1)
        image.set_sform(np.array([[1.0, 0, 0, 20], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), code=2)
        nibabel.save(image, two)
        nibabel.save(nibabel.Nifti1Image(np.full((4, 5, 6), 7, np.int16), np.diag([1.0, 1, 1, 1])), slope)
        stored = bytearray(slope.read_bytes())
        stored[112:120] = np.array([0, -1024], "<f4").tobytes()
        slope.write_bytes(bytes(stored))

        def whose(x: float) -> str:
            return {10: "qform", 20: "sform"}.get(round(abs(x)), f"{x:g}")

        load: Any = nibabel.load
        ways: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "workbook read_volume": (
                lambda: whose(read_volume(two).origin[0]),
                lambda: read_volume(slope).array.flat[0],
            ),
            "SimpleITK ReadImage": (
                lambda: whose(sitk.ReadImage(str(two)).GetOrigin()[0]),
                lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(slope))).flat[0],
            ),
            "nibabel load": (
                lambda: whose(np.asarray(load(two).affine)[0, 3]),
                lambda: np.asarray(load(slope).get_fdata()).flat[0],
            ),
        }
        rows = [[name, *(told(way) for way in both)] for name, both in ways.items()]
    columns = ["tool", "qform code 1 against sform code 2: follows", "stored 7, slope 0, intercept -1024: reads"]
    return {"columns": columns, "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
