"""Reading a picture for the corpus: that it is one, how large, a thumbnail, and the words that are written in it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from router.corpus.text import LoadedDocument, LoadedPicture, normalise
from router.models.picture_file import load_picture, thumbnail

LEAST_CONFIDENCE = 0.6
"""Of a line that is read; what scores less is mostly texture taken for letters."""


def read_picture(content: bytes, max_chars: int) -> LoadedDocument:
    """A picture without words. Blocking.

    Raises:
        DocumentRejected: BROKEN, TOO_LARGE or UNSUPPORTED_TYPE.
    """
    del max_chars
    pixels, mime_type = load_picture(content)
    height, width = pixels.shape[:2]
    return LoadedDocument("", picture=LoadedPicture(mime_type, width, height, thumbnail(pixels)))


def written_in(content: bytes) -> str:
    """The lines of text in a picture, by rapidocr (extra `ocr`); about a second. Blocking."""
    pixels, _ = load_picture(content)
    lines, _ = _recogniser()(pixels[:, :, ::-1])  # it takes BGR
    return normalise("\n".join(text for _, text, confidence in lines or () if float(confidence) >= LEAST_CONFIDENCE)).strip()


@lru_cache(maxsize=1)
def _recogniser() -> Any:
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR()
