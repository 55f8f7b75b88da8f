"""Reading a picture for the corpus: that it is one, how large, a thumbnail, and the words that are written in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.corpus.frames import frames_of_animation
from router.corpus.text import LoadedDocument, LoadedPicture, normalise, rejected
from router.errors import PictureRejected
from router.models.picture_file import described, legible, thumbnail
from router.models.pictures import ANIMATED, load_picture
from router.types import MAX_REGIONS, TextRegion

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


def written_in(content: bytes) -> tuple[TextRegion, ...]:
    """The lines of text in a picture that can be read, in reading order, by rapidocr (extra `ocr`); about a second. Blocking."""
    pixels = legible(content, OCR_SIDE)
    lines, _ = _recogniser()(pixels[:, :, ::-1])  # it takes BGR
    size = np.array([pixels.shape[1], pixels.shape[0]])
    regions = [
        _region(normalise(text).strip(), np.asarray(corners) / size, float(confidence))
        for corners, text, confidence in lines or ()
        if float(confidence) >= LEAST_CONFIDENCE
    ]
    return tuple(region for region in regions if region.text)


def words_of_regions(regions: Sequence[TextRegion]) -> str:
    return "\n".join(region.text for region in regions)


def with_regions(picture: LoadedPicture, regions: Sequence[TextRegion]) -> LoadedPicture:
    return replace(picture, regions=tuple(regions[:MAX_REGIONS]))


def _region(text: str, corners: NDArray[np.float64], confidence: float) -> TextRegion:
    """A line in the upright box around its four corners, which may lie somewhat outside of the picture."""
    low, high = (edge(np.clip(corners, 0.0, 1.0), axis=0) for edge in (np.min, np.max))
    left, top, width, height = (round(float(share), 5) for share in (*low, *(high - low)))
    return TextRegion(text, left, top, width, height, round(min(1.0, confidence), 4))


@lru_cache(maxsize=1)
def _recogniser() -> Any:
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR()
