"""What a prediction does not use it does not load: a command is waited for from its first second."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_prediction_loads_nothing_that_only_training_scoring_or_augmentation_need():
    code = "import sys, msa2net_lib.prediction.run; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "timm"} <= set(loaded)
    others = {"accelerate", "kornia", "medpy", "scipy.stats", "sklearn", "skimage", "monai", "msa2net_lib.training"}
    assert not others & set(loaded)
