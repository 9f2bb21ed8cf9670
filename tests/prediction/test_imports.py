"""What a prediction does not use it does not load: a command is waited for from its first second."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

OTHERS = {
    *("accelerate", "kornia", "medpy", "scipy.stats", "sklearn", "skimage", "monai", "msa2net_lib.training"),
    *("torch._dynamo", "torch._inductor", "sympy", "pandas", "pydicom", "h5py", "matplotlib.pyplot", "openvino"),
}


@pytest.mark.slow
def test_a_prediction_loads_nothing_that_only_others_need(tmp_path):
    voxels = np.random.default_rng(0).normal(0, 300, (40, 40, 2)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-8.0, -8.0, 5.0, 1.0])), tmp_path / "scan.nii")
    code = (
        "import sys; from msa2net_lib.cli.main import main; status = main(sys.argv[1:]); "
        "loaded = [*sys.modules]; import torch, torchvision.ops; "
        "box = torch.tensor([[0.0, 0.0, 4.0, 4.0]]); "
        "print(status, torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), [box], 2).mean().item()); print(*loaded)"
    )
    words = ("predict", tmp_path / "scan.nii", "--output", tmp_path, "--field-of-view", "as-is", "--device", "cpu")
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, told, loaded = done.stdout.splitlines()
    assert told == "0 1.0", "what torchvision left for later has to be there when it is asked for"
    assert {"torch", "timm"} <= set(loaded.split())
    assert not OTHERS & set(loaded.split())
