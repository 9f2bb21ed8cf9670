"""Pictures as part of the page: read, made smaller where they are large, and written as data URIs."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

WIDEST = 1200
"""Pixels: wider pictures are scaled down to this."""


@dataclass(frozen=True)
class Embedded:
    """A picture in the page: its data URI, width and height in pixels."""

    uri: str
    width: int
    height: int


def embed(path: Path) -> Embedded | str:
    """A picture file as a data URI, or in one line why it cannot be shown; same file, same URI."""
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as image:
            image.load()
            kind = str(image.format)
            if image.width > WIDEST:
                image = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGBA")
                image = image.resize(
                    (WIDEST, max(1, round(image.height * WIDEST / image.width))), Image.Resampling.LANCZOS
                )
                content, kind = _png(image), "PNG"
            elif kind not in ("PNG", "JPEG"):
                content, kind = _png(image.convert("RGBA")), "PNG"
    except FileNotFoundError:
        return f"the picture {path.name} is not there"
    # Pillow has many kinds of exception for damaged files, SyntaxError among them.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"the picture {path.name} cannot be read ({type(error).__name__})"
    uri = f"data:image/{kind.lower()};base64,{base64.b64encode(content).decode()}"
    return Embedded(uri, image.width, image.height)


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
