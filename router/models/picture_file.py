"""What a picture's file tells besides its pixels, and copies of it to look at."""

from __future__ import annotations

import io

import numpy as np

from router.models.pictures import FORMATS
from router.types import Pixels

ORIENTATION = 0x0112
SIDEWAYS = range(5, 9)
"""Values of that EXIF tag with which width and height change places."""
THUMBNAIL_SIDE = 256
MAX_THUMBNAIL_BYTES = 20_000


def described(content: bytes) -> tuple[str, int, int]:
    """The true media type of a file that `load_picture` takes, and the width and height in which it is shown. Blocking."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        is_sideways = image.getexif().get(ORIENTATION) in SIDEWAYS
        return f"image/{str(image.format).lower()}", *((height, width) if is_sideways else (width, height))


def thumbnail(pixels: Pixels) -> bytes:
    """A JPEG of at most 256 pixels a side and 20 kB. Blocking."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    for quality in (80, 60, 40, 20):
        made = io.BytesIO()
        image.save(made, "JPEG", quality=quality)
        if made.tell() <= MAX_THUMBNAIL_BYTES:
            break
    return made.getvalue()


def as_jpeg(pixels: Pixels, side: int) -> tuple[bytes, int, int]:
    """A JPEG no larger than `side`, with its width and height. Blocking."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    made = io.BytesIO()
    image.save(made, "JPEG", quality=85)
    return made.getvalue(), image.width, image.height


def legible(content: bytes, side: int) -> Pixels:
    """A file that `load_picture` takes, no larger than `side`: finer than what encoders look at. Blocking."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        image.draft("RGB", (side, side))
        shown = ImageOps.exif_transpose(image).convert("RGB")
        shown.thumbnail((side, side))
        return np.asarray(shown)
