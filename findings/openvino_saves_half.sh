#!/usr/bin/env bash
# OpenVINO's save_model rounds float32 weights to float16 unless it is told not to.
#
# One would guess that a model read back from a file is the model that was saved. The default of compress_to_fp16 is
# True: every float32 constant is stored as float16 and widened on reading, so results differ in the third or fourth
# digit, without a word. It matters here because a converted network is kept for the next prediction, whose labels must
# be those of the first: it has to be saved with compress_to_fp16=False, which keeps every bit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import openvino as ov
from openvino import opset13 as ops

weights = (np.random.default_rng(0).random((16, 16)) - 0.5).astype(np.float32)
image = np.eye(16, dtype=np.float32)
given = ops.parameter([16, 16], np.float32)
model = ov.Model([ops.matmul(given, ops.constant(weights), False, False)], [given])


def largest_difference(**options):
    path = f"{sys.argv[1]}/model.xml"
    ov.save_model(model, path, **options)
    # Constants as they were read, without the plugin's own choice of precision.
    read = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return float(np.abs(read(image)[0] - weights).max())


default, whole = largest_difference(), largest_difference(compress_to_fp16=False)
half = float(np.abs(weights.astype(np.float16).astype(np.float32) - weights).max())
print(f"openvino {ov.__version__}: saved as by default {default:.1e} (rounding to float16: {half:.1e})")
print(f"with compress_to_fp16=False {whole:.1e}")
assert abs(default - half) < half / 100, "the default keeps float32 now"
assert whole == 0
PYTHON
