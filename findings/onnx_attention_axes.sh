#!/usr/bin/env bash
# torch's own attention takes queries of three axes (batch, tokens, channels), and torch.export traces it; the ONNX
# exporter refuses it, because its translation of scaled_dot_product_attention knows four axes only.
#
# One would guess that what torch.export has traced can be written as ONNX, or that one head needs no axis of its own.
# It matters here because MISSFormer's bridge attends with one head: its network could be trained and saved as pt2, and
# not be exported. With an axis of length 1 for the head the values are the same, and the file is written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.15.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore")


class Attention(nn.Module):
    def __init__(self, has_head_axis):
        super().__init__()
        self.has_head_axis = has_head_axis

    def forward(self, tokens):
        if self.has_head_axis:
            tokens = tokens.unsqueeze(1)
        mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return mixed.squeeze(1) if self.has_head_axis else mixed


def written(module):
    try:
        torch.onnx.export(module, (tokens,), f"{sys.argv[1]}/attention.onnx", dynamo=True, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return f"{type(cause).__name__}: {cause}"
    return "written"


tokens = torch.randn(2, 5, 8)
three, four = Attention(False).eval(), Attention(True).eval()
torch.export.export(three, (tokens,))
found = written(three), written(four)
print(f"torch {torch.__version__}: same values {torch.equal(three(tokens), four(tokens))}")
print("three axes:", found[0])
print("four axes:", found[1])
assert torch.allclose(three(tokens), four(tokens), atol=1e-6)
assert "only 4D" in found[0], "three axes are written now"
assert found[1] == "written"
PYTHON
