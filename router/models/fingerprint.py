"""A perceptual hash: 256 bits that stay nearly the same when a picture is resized, recompressed or made a little brighter or darker."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image
from scipy.fft import dctn

from router.types import Pixels

SIDE: Final = 32
"""The picture is reduced to a grey square of this side, in pixels."""
FREQUENCIES: Final = 16
"""Of its cosine transform, in each direction."""
LEAST_CONTRAST: Final = 8
"""Levels of grey, of 256, between the lightest and the darkest pixel; with less, the bits would be those of noise."""
BYTES: Final = FREQUENCIES * FREQUENCIES // 8


def fingerprint(pixels: Pixels) -> bytes:
    """BYTES long; empty for a picture of one colour, which has none. Blocking: some milliseconds.

    The signs of the low frequencies against their median (pHash of Zauner, 2010), with 256 of them: with 64, or with differences of
    neighbouring pixels (dHash), shop pictures on white look alike. See docs/pictures.md for what was measured.
    """
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    if np.ptp(grey) < LEAST_CONTRAST:
        return b""
    frequencies = dctn(grey)[:FREQUENCIES, :FREQUENCIES].ravel()
    return np.packbits(frequencies > np.median(frequencies)).tobytes()
