"""What the released training script does, as rules that run: rates, epochs, augmentation.

Restated here from reading train.py, trainer.py and datasets/datasets_synapse.py of
github.com/xmindflow/MSA-2Net, commit 209ca72, so that the audit can compute with them.
"""

from __future__ import annotations

DEFAULT_EPOCHS, README_EPOCHS = 400, 700
"""Epochs without an argument, and in the README's command (and in the paper, section 4.2)."""
PAPER_BATCH, PAPER_RATE = 20, 0.05
"""Batch size and base learning rate of the paper, section 4.2."""
SCORING_INTERVAL = 20
TRAIN_OPTIONS = {
    "root_path": True, "test_path": True, "dataset": True, "list_dir": True, "num_classes": False, "output_dir": True,
    "max_iterations": False, "max_epochs": True, "batch_size": True, "num_workers": True, "eval_interval": True,
    "model_name": True, "n_gpu": True, "deterministic": True, "base_lr": True, "img_size": True, "z_spacing": True,
    "seed": True, "zip": False, "cache-mode": False, "resume": False, "accumulation-steps": False,
    "use-checkpoint": False, "amp-opt-level": False, "tag": False, "eval": False, "throughput": False,
}  # fmt: skip
"""Options of train.py, and whether train.py or trainer.py reads what is given; num_classes is overwritten by 9."""
TEST_COMMAND = {"volume_path": "./data/Synapse/", "output_dir": "./model_out"}
"""What the README's test command gives to test.py; weights_fpath, which has no default, is not among it."""
README_PACKAGES = (
    "einops", "h5py", "imgaug", "fvcore", "MedPy", "numpy", "opencv_python", "pandas", "PyWavelets", "scipy",
    "SimpleITK", "tensorboardX", "timm", "torch", "torchvision", "tqdm",
)  # fmt: skip
"""What the README lists; requirements.txt pins all of it but `UNPINNED`."""
UNPINNED = ("torch", "torchvision")
PYTHONS = ((3, 7), (3, 9), (3, 11))
"""Lowest Python by the README, lowest for the pinned SciPy 1.11.3, first that refuses the encoder's file."""
SAVED_SPACING = (1, 1, 1)
"""Of predictions saved as NIfTI; z_spacing is 1 in both scripts."""
PICTURES = {
    "Figure 1": ("MSA2Net.pdf", "MSA2Net-1.png", "MSA2Net-git.png"),
    "Figure 2": ("synapse.pdf", "synapse-1.png", "synapse-main-results-git.png"),
    "Figure 3": ("isic2018.pdf", "isic2018-1.png", "isic-results-git.png"),
    "Table 1": ("synapse_results.PNG", "synapse-refcs.PNG", "synapse-git.PNG"),
    "Table 2": ("isic2018_results.PNG", "isic2018-refcs.PNG", "isic-git.PNG"),
}
"""Files of the folder images, by what their names say they show; the README embeds the last of each."""
SCORING_ARGUMENTS = ("image", "label", "net", "classes", "patch_size", "test_save_path", "case", "z_spacing")
"""What utils.test_single_volume takes; test.py passes `TEST_ARGUMENT` besides."""
TEST_ARGUMENT = "noise"
NOISE_SIGMA = 0.005 * 255
"""Standard deviation of the additive noise; the factor suits images of 0 to 255, those here are 0 to 1."""
MOST_OPERATIONS = 4
"""Each sample gets 0 to this many of `AUGMENTATIONS`, every number as likely, in random order."""
FLIPS, FLIP_PROBABILITY = 2, 0.5
"""The first of `AUGMENTATIONS` are flips, which act with this probability once they are drawn."""
AUGMENTATIONS = {
    "vertical flip": "probability 0.5",
    "horizontal flip": "probability 0.5",
    "additive Gaussian noise": f"standard deviation {NOISE_SIGMA:g}",
    "Gaussian blur": "sigma 1 pixel",
    "linear contrast": "factor 0.5 to 1.5",
    "scaling": "factor 0.5 to 2, each axis its own",
    "rotation": "-40 to 40 degrees",
    "shear": "-16 to 16 degrees",
    "piecewise affine": "0.008 to 0.03 of the size",
    "translation": "-20 to 20 % of the size",
}


def effective_rate(base: float, batch_size: int) -> float:
    """Learning rate that training starts with: scaled by batch/24 if the batch is a multiple of 5 and not 24."""
    return base * batch_size / 24 if batch_size != 24 and batch_size % 5 == 0 else base


def poly_rate(base: float, epoch: float, epochs: int) -> float:
    """Learning rate at an epoch of a run of ``epochs``: polynomial decay with power 0.9."""
    return base * (1 - epoch / epochs) ** 0.9


def scored_epochs(epochs: int) -> list[int]:
    """Epochs, counted from 1, after which the test cases are scored: from half time on, and the last."""
    late = (epoch for epoch in range(epochs) if epoch >= epochs // 2)
    return [epoch + 1 for epoch in late if (epoch + 1) % SCORING_INTERVAL == 0 or epoch == epochs - 1]
