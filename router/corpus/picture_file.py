"""Reading a picture for the corpus: that it is one, how large, a thumbnail, and the words that are written in it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from router.corpus.frames import frames_of_animation
from router.corpus.text import LoadedDocument, LoadedPicture, normalise, rejected
from router.errors import PictureRejected
from router.models.picture_file import described, legible, thumbnail
from router.models.pictures import ANIMATED, load_picture

REASONS = {"PICTURE_FORMAT": "UNSUPPORTED_TYPE", "PICTURE_BROKEN": "BROKEN", "PICTURE_TOO_LARGE": "TOO_LARGE"}
"""Of a picture, as a document's."""
OCR_SIDE = 2048
"""Larger pictures are reduced to this before they are read, in pixels."""
LEAST_CONFIDENCE = 0.6
"""Of a line that is read; what scores less is mostly texture taken for letters."""


def read_picture(content: bytes, max_pixels: int) -> LoadedDocument:
    """A picture without words; of one that moves also its frames. Blocking.

    Raises:
        DocumentRejected: BROKEN, TOO_LARGE or UNSUPPORTED_TYPE.
    """
    picture = still(content, max_pixels)
    is_animated = picture.mime_type in {f"image/{form.lower()}" for form in ANIMATED}
    return LoadedDocument("", picture=picture, figures=frames_of_animation(content) if is_animated else ())


def still(content: bytes, max_pixels: int) -> LoadedPicture:
    """A picture, or the first frame of one that moves. Blocking.

    Raises:
        DocumentRejected: BROKEN, TOO_LARGE or UNSUPPORTED_TYPE.
    """
    try:
        pixels = load_picture(content, max_pixels=max_pixels)
    except PictureRejected as error:
        raise rejected(REASONS[error.reason], error.message) from error
    return LoadedPicture(*described(content), thumbnail(pixels))


def written_in(content: bytes) -> str:
    """The lines of text in a picture that can be read, by rapidocr (extra `ocr`); about a second. Blocking."""
    lines, _ = _recogniser()(legible(content, OCR_SIDE)[:, :, ::-1])  # it takes BGR
    return normalise("\n".join(text for _, text, confidence in lines or () if float(confidence) >= LEAST_CONFIDENCE)).strip()


@lru_cache(maxsize=1)
def _recogniser() -> Any:
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR()
