"""Files of pictures to pixels: formats, turning as the file says, and limits that hold before anything is unpacked."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from router.errors import DocumentRejected
from router.types import Pixels

if TYPE_CHECKING:
    from PIL import Image

MIME_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}
"""By Pillow's name of the format."""
MAX_PIXELS = 50_000_000
"""A picture of more is refused by its header: unpacked it takes three to four bytes for each."""
MAX_SIDE = 30_000
THUMBNAIL_SIDE = 256
MAX_THUMBNAIL_BYTES = 20_000


def load_picture(content: bytes) -> tuple[Pixels, str]:
    """The pixels of a file and its true media type, whatever its name says. Blocking.

    The first frame of an animation, turned as its EXIF says, on white where it is transparent, 16 bits scaled to 8.

    Raises:
        DocumentRejected: BROKEN, TOO_LARGE or UNSUPPORTED_TYPE.
    """
    from PIL import Image, ImageOps

    with _bad_files(), Image.open(io.BytesIO(content), formats=list(MIME_TYPES)) as image:
        width, height = image.size
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            message = f"it has {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} and {MAX_SIDE:,} a side are taken"
            raise DocumentRejected(message, reason="TOO_LARGE", field="content")
        mime_type = MIME_TYPES[str(image.format)]
        image.load()
        turned = ImageOps.exif_transpose(image)
        return np.asarray(_rgb(turned), dtype=np.uint8), mime_type


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


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        # Pillow would cut what is above 255 off instead of scaling it.
        values = np.asarray(image, dtype=np.float64)
        most = 65535.0 if image.mode.startswith("I;16") else max(255.0, float(values.max()))
        return Image.fromarray((values.clip(0.0) / most * 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


@contextmanager
def _bad_files() -> Iterator[None]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our limits refuse what Pillow warns of
            yield
    except DocumentRejected:
        raise
    except UnidentifiedImageError as exc:
        allowed = ", ".join(MIME_TYPES.values())
        message = f"it is not a picture that can be read; allowed are {allowed}"
        raise DocumentRejected(message, reason="UNSUPPORTED_TYPE", field="content") from exc
    except (Image.DecompressionBombError, MemoryError) as exc:
        raise DocumentRejected("it unpacks to more than a picture may have", reason="TOO_LARGE", field="content") from exc
    except Exception as exc:  # decoders raise anything on crafted bytes; all of it means that the file is bad
        raise DocumentRejected(f"it is not a whole picture: {type(exc).__name__}: {exc}", reason="BROKEN", field="content") from exc
