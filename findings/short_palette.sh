#!/usr/bin/env bash
# Pillow opens a PNG whose pixels name colors that its palette lacks, and paints them black.
#
# One would guess an error, as libpng warns of it and other damage of a PNG is an error in Pillow too. A mask written by
# a program that stores indices and cuts its palette thus reads as background, without a word. A reader has to compare
# the highest index with the palette's length by itself. Without any palette converting stops at a bare AssertionError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import struct
import sys
import zlib

import PIL
from PIL import Image


def png(palette):
    """Four pixels in one row, of the indices 0 to 3."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 8, 3, 0, 0, 0)), (b"PLTE", palette)]
    chunks += [(b"IDAT", zlib.compress(bytes([0, 0, 1, 2, 3]))), (b"IEND", b"")]
    parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


print("pillow", PIL.__version__)
path = sys.argv[1] + "/palette.png"
colors = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255])
for kept in (4, 2):
    with open(path, "wb") as file:
        file.write(png(colors[: 3 * kept]))
    Image.open(path).verify()
    image = Image.open(path).convert("RGB")
    found = [image.getpixel((column, 0)) for column in range(4)]
    print(f"palette of {kept} colors, pixels 0 to 3: {found}")
    assert found[:2] == [(255, 0, 0), (0, 255, 0)]
    assert found[2:] == ([(0, 0, 255), (255, 255, 255)] if kept == 4 else [(0, 0, 0)] * 2), "told, or painted otherwise"
PYTHON
