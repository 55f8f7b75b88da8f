"""Bytes that somebody sent to pixels, or a typed error: bounded in memory, first frame, upright, RGB."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from router.errors import PictureRejected
from router.types import Pixels

FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
"""What is decoded. Pillow knows more, some through programs of their own (EPS), which callers have no business to start."""
ANIMATED: Final = ("GIF", "WEBP", "PNG")
"""Those with frames that have times; the pages of a TIFF have none."""
MAX_PIXELS: Final = 50_000_000
"""Of the picture as stored. The largest taken needs at most some 0.8 GB while it is decoded."""
SHORT_SIDE: Final = 512
"""No encoder here looks closer; larger pictures are reduced to twice that at most, JPEGs while they are decoded."""
_BACKGROUND: Final = "white"
_SIXTEEN_BITS: Final = 65535
_UNTIMED_MS: Final = 100.0
"""How long browsers show a frame that does not say."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of an animation."""

    begin_s: float
    end_s: float
    pixel_count: int
    pixels: Callable[[], Pixels]
    """What is shown; only until the next frame is asked for."""


def load_picture(content: bytes, *, max_pixels: int = MAX_PIXELS, field: str = "image") -> Pixels:
    """Decode one picture. Blocks for as long as the decoder needs: call it in a thread.

    EXIF rotation is applied, transparent parts become white, of an animation the first frame is taken, 16 bits become 8.

    Args:
        content: A file in one of `FORMATS`, whatever its name says.
        max_pixels: Larger pictures are refused before they are decoded.
        field: What the picture came in, for the error.

    Raises:
        PictureRejected: No picture, a kind that is not taken, broken, or too large; `reason` tells which.
    """
    if _looks_like_svg(content):
        raise PictureRejected(f"SVG is not taken: send one of {', '.join(FORMATS)}", reason="PICTURE_FORMAT", field=field)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(max_pixels, field)
            return _pixels(image)
    except PictureRejected:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise _too_large(max_pixels, field) from exc
    except UnidentifiedImageError as exc:
        raise PictureRejected(f"this is no picture: send one of {', '.join(FORMATS)}", reason="PICTURE_FORMAT", field=field) from exc
    except Exception as exc:  # decoders fail in any way on bytes that somebody made
        raise PictureRejected(f"the picture is broken: {exc}", reason="PICTURE_BROKEN", field=field) from exc


def moving(content: bytes) -> Iterator[Moment]:
    """The frames of a file that `load_picture` takes, where it is an animation; else none. Blocks.

    Raises whatever a decoder raises on bytes that somebody made.
    """
    with Image.open(io.BytesIO(content), formats=ANIMATED) as image:
        end_ms = 0.0
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()  # WebP tells how long a frame stands only then
            begin_ms, end_ms = end_ms, end_ms + (float(image.info.get("duration") or 0) or _UNTIMED_MS)
            yield Moment(begin_ms / 1000, end_ms / 1000, image.width * image.height, lambda: _pixels(image.copy()))


def centre(pixels: Pixels, short_side: int, side: int) -> Pixels:
    """The square in the middle, as networks are fed: short side to `short_side`, then `side` by `side` of it."""
    height, width = pixels.shape[:2]
    cut = side * min(height, width) / short_side
    left, top = (width - cut) / 2, (height - cut) / 2
    # One step from the box: enlarging a strip of 1 x 20,000 pixels as a whole would take gigabytes.
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + cut, top + cut)))


def _pixels(image: Image.Image) -> Pixels:
    image.draft("RGB", (SHORT_SIDE, SHORT_SIDE))  # a JPEG is decoded at a half, quarter or eighth where that is enough
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if (factor := min(image.size) // SHORT_SIDE) > 1:
        image = _eight_bits(image).reduce(factor)
    image = _eight_bits(image)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey at 255 when it converts; and averages of palette numbers are no colours."""
    if image.mode == "P":
        return image.convert("RGBA")
    if not image.mode.startswith(("I", "F")):
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    values = np.nan_to_num(np.asarray(image, np.float32))
    top = _SIXTEEN_BITS if image.mode == "I" else max(float(values.max()), 1e-9)
    return Image.fromarray((values.clip(0, top) * (255 / top)).astype(np.uint8))


def _looks_like_svg(content: bytes) -> bool:
    beginning = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return beginning.startswith((b"<svg", b"<?xml", b"<!doctype svg"))


def _too_large(max_pixels: int, field: str) -> PictureRejected:
    return PictureRejected(f"the picture has more than {max_pixels:,} pixels: send a smaller copy", reason="PICTURE_TOO_LARGE", field=field)
