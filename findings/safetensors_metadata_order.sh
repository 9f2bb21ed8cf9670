#!/usr/bin/env bash
# Equal tensors with equal metadata are not equal files: safetensors writes the metadata in an order that changes from
# call to call. One would guess that a format made to be compared and cached has one byte form. It matters here because
# runs are compared bit for bit by the SHA-256 of their weights.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import hashlib
import json

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

tensors = {"weight": np.arange(6, dtype=np.float32), "bias": np.zeros(2, dtype=np.float32)}
metadata = {key: key.upper() for key in ("config", "classes", "data", "license", "origin")}
sums, orders, contents = set(), set(), []
for _ in range(12):
    save_file(tensors, "weights.safetensors", metadata=metadata)
    content = open("weights.safetensors", "rb").read()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    sums.add(hashlib.sha256(content).hexdigest())
    orders.add(tuple(header.pop("__metadata__")))
    contents.append((list(header), content[8 + int.from_bytes(content[:8], "little") :]))
print(f"safetensors {safetensors.__version__}: {len(sums)} checksums and {len(orders)} orders of metadata in 12 files")
assert all(one == contents[0] for one in contents), "tensors differ, too"
assert len(sums) == len(orders) > 1, "one byte form now"
assert {key: value.tolist() for key, value in load_file("weights.safetensors").items()} == {
    key: value.tolist() for key, value in tensors.items()
}
PYTHON
