"""Sounds as the corpus reads them: what they are, and a drawing of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from router.corpus.load import format_of
from router.corpus.parsing import Parser
from router.corpus.sound_file import read_sound, spectrogram
from router.errors import DocumentRejected
from router.types import Sound
from tests.unit.sounds import RATE, as_wav, tone


def test_a_sound_is_kept_with_a_drawing_of_it() -> None:
    picture = read_sound(as_wav(tone(440, 2.0))).picture
    assert picture is not None
    assert (picture.mime_type, picture.height) == ("audio/wav", 64)
    assert Image.open(io.BytesIO(picture.thumbnail)).size == (picture.width, picture.height)


def test_the_drawing_has_time_to_the_right_and_pitch_upwards() -> None:
    samples = np.concatenate([tone(200), tone(3000)]).astype(np.float32)
    brightest = spectrogram(Sound(samples, RATE))[:, :, 0].argmax(0)
    assert brightest[:20].min() > brightest[-20:].max()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no sound", "UNSUPPORTED_TYPE"), (as_wav(tone(440))[:44], "BROKEN"), (as_wav(np.zeros(1000 * 601), 1000), "TOO_LARGE")],
)
def test_bad_sounds_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DocumentRejected) as caught:
        read_sound(content)
    assert caught.value.reason == reason


async def test_the_child_reads_it_also_where_text_in_pictures_is_read() -> None:
    parser = Parser(1000, ocr=True)
    try:
        content = as_wav(tone(440))
        assert await parser.load(content, format_of("a.wav", "")) == read_sound(content)
    finally:
        await parser.aclose()
