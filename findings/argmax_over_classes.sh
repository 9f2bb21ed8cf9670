#!/usr/bin/env bash
# On a CPU, torch's argmax over the channels of logits takes several times as long as max, which returns the same indices.
#
# One would guess that argmax(dim=1) does less than max(dim=1), which returns the values too. Both say the first of equal
# values. But argmax reduces pixel by pixel over memory that lies a whole plane apart, whereas max compares along it.
# Over the last axis the two are near each other. It matters here because every prediction ends with logits (slices,
# classes, height, width) becoming a label map: logits.max(dim=1).indices is the same map, three to fifteen times sooner.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import statistics
import time

import torch

torch.set_num_threads(1)
print("torch", torch.__version__)
torch.manual_seed(0)


def seconds(function, values):
    started = time.process_time()
    function(values)
    return time.process_time() - started


def argmax(values, dim):
    return values.argmax(dim=dim)


def by_max(values, dim):
    return values.max(dim=dim).indices


for name, shape, dim in (
    ("9 classes of 4 slices", (4, 9, 224, 224), 1),
    ("2 classes of 8 images", (8, 2, 224, 224), 1),
    ("9 classes, last in memory", (4, 224, 224, 9), -1),
):
    logits = torch.randn(shape).round(decimals=1)  # with ties
    assert torch.equal(argmax(logits, dim), by_max(logits, dim))
    rounds = [(seconds(lambda x: argmax(x, dim), logits), seconds(lambda x: by_max(x, dim), logits)) for _ in range(9)]
    ratio = statistics.median(slow / fast for slow, fast in rounds)
    print(f"{name}: argmax takes {ratio:.1f} times what max takes")
    assert ratio > 3 if dim == 1 else ratio < 3, "no longer so"
PYTHON
