"""Label a slice of a CT with numpy and onnxruntime alone: python run_onnx.py tiny.onnx img0001.nii.gz 80 labels.npy"""

import gzip
import json
import sys

import numpy as np
import onnxruntime


def zoom(old, new):  # the matrix of cubic splines that resizes a line of pixels as scipy.ndimage.zoom does
    far = abs(np.r_[np.linspace(0, old - 1, new), :old][:, None] - np.arange(-1, old + 1))
    spline = (np.maximum(2 - far, 0) ** 3 - 4 * np.maximum(1 - far, 0) ** 3) / 6
    spline[:, [2, -3]] += spline[:, [0, -1]]  # mirrored at both ends
    return spline[:new, 1:-1] @ np.linalg.inv(spline[new:, 1:-1])


session = onnxruntime.InferenceSession(sys.argv[1])
told = json.loads(session.get_modelmeta().custom_metadata_map["msa2net"])
words = np.frombuffer(gzip.decompress(np.fromfile(sys.argv[2], np.uint8)), "<i2")  # NIfTI-1 of 16-bit numbers
hu = words[176:].reshape(words[23:20:-1])[int(sys.argv[3])]  # behind the header, as (z, y, x)
low, high, size = told["window"]["low"], told["window"]["high"], told["input"]["shape"][2:]
seen = zoom(len(hu), size[0]) @ ((np.clip(hu, low, high) - low) / (high - low)) @ zoom(len(hu[0]), size[1]).T
image = ((seen - told["input"]["mean"]) / told["input"]["std"]).astype(np.float32)
logits = session.run(None, {"image": image[None, None]})[0]
nearest = [np.rint(np.linspace(0, new - 1, old)).astype(int) for old, new in zip(hu.shape, size, strict=True)]
np.save(sys.argv[4], logits[0].argmax(axis=0).astype(np.uint8)[np.ix_(*nearest)])
