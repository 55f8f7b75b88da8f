"""Reading a sound for the corpus: that it is one, and its spectrogram, which stands for it where pictures have a thumbnail."""

from __future__ import annotations

import numpy as np

from router.corpus.text import LoadedDocument, LoadedPicture, rejected
from router.errors import SoundRejected
from router.models.picture_file import thumbnail
from router.models.sounds import MelScale, load_sound, log_mel, resampled
from router.types import Pixels, Sound

REASONS = {"SOUND_FORMAT": "UNSUPPORTED_TYPE", "SOUND_BROKEN": "BROKEN", "SOUND_TOO_LONG": "TOO_LARGE"}
"""Of a sound, as a document's."""
MIME_TYPE = "audio/wav"
_SCALE = MelScale(rate=16_000, window=1024, hop=512, mels=64, low_hz=50.0, high_hz=8000.0)
_COLUMNS = 256
"""Of the drawing, at most."""


def read_sound(content: bytes) -> LoadedDocument:
    """A WAV file without words. Blocking.

    Raises:
        DocumentRejected: BROKEN, TOO_LARGE or UNSUPPORTED_TYPE.
    """
    try:
        drawing = spectrogram(load_sound(content))
    except SoundRejected as error:
        raise rejected(REASONS[error.reason], error.message) from error
    height, width = drawing.shape[:2]
    return LoadedDocument("", picture=LoadedPicture(MIME_TYPE, width, height, thumbnail(drawing)))


def spectrogram(sound: Sound) -> Pixels:
    """Time from left to right, pitch upwards, the louder the lighter."""
    levels = log_mel(resampled(sound, _SCALE.rate), _SCALE)
    columns = np.array_split(levels, min(_COLUMNS, len(levels)))
    drawn = np.stack([column.mean(0) for column in columns]).T[::-1]
    low, high = float(drawn.min()), float(drawn.max())
    grey = ((drawn - low) / max(high - low, 1e-9) * 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, 2)
