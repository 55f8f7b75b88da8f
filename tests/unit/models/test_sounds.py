"""WAV files of every kind become the same sound, everything else a typed error; and a tone lies in its mel band."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import SoundRejected
from router.models.sounds import MelScale, load_sound, log_mel, mel_bands, resampled
from router.types import Sound
from tests.unit.sounds import RATE, as_wav, tone

SCALE = MelScale(rate=RATE, window=512, hop=256, mels=32, low_hz=50.0, high_hz=8000.0)
WAV = as_wav(tone(440, 0.05), width=3, channels=2)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_width_and_number_of_channels_is_the_same_sound(width, channels):
    sound = load_sound(as_wav(tone(440), width=width, channels=channels))
    assert (sound.rate, sound.samples.dtype, sound.samples.shape) == (RATE, np.float32, (RATE,))
    assert np.abs(sound.samples - tone(440)).max() < (0.02 if width == 1 else 1e-3)


def test_channels_become_their_mean():
    both = np.stack([np.full(100, 0.5), np.full(100, -0.25)], 1).ravel()
    content = bytearray(as_wav(both))
    content[22:24] = (2).to_bytes(2, "little")  # channels
    content[32:34] = (4).to_bytes(2, "little")  # bytes of a frame
    assert load_sound(bytes(content)).samples == pytest.approx(np.full(100, 0.125), abs=1e-3)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000])
def test_another_rate_is_the_same_tone(rate):
    samples = resampled(Sound(tone(1000, rate=rate).astype(np.float32), rate), RATE)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert len(samples) == pytest.approx(RATE, abs=2)
    assert spectrum.argmax() * RATE / len(samples) == pytest.approx(1000, abs=2)


def test_what_would_fold_over_is_filtered_away():
    samples = resampled(Sound(tone(20_000, rate=48_000).astype(np.float32), 48_000), RATE)
    assert np.abs(samples[1000:-1000]).max() < 0.01


@pytest.mark.parametrize("hz", [200, 440, 1000, 3000, 6000])
def test_a_tone_lies_in_its_band(hz):
    spectrogram = log_mel(tone(hz).astype(np.float32), SCALE)
    assert spectrogram.shape == (1 + (RATE - 512) // 256, 32)
    bins = np.fft.rfftfreq(512, 1 / RATE)
    expected = mel_bands(SCALE)[:, np.abs(bins - hz).argmin()].argmax()
    assert np.abs(spectrogram.argmax(1) - expected).max() <= 1
    assert spectrogram.max() - np.median(spectrogram) > 5


def test_bands_cover_the_spectrum_evenly():
    bands = mel_bands(MelScale(rate=RATE, window=4096, hop=256, mels=32, low_hz=50.0, high_hz=8000.0))
    bins = np.fft.rfftfreq(4096, 1 / RATE)
    tops = bins[bands.argmax(1)]
    inside = bands[:, (bins > tops[0]) & (bins < tops[-1])]
    assert inside.sum(0) == pytest.approx(np.ones(inside.shape[1]))
    assert (np.diff(2595 * np.log10(1 + tops / 700), n=2) < 12).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "SOUND_FORMAT"),
        (b"ID3\x04" + bytes(100), "SOUND_FORMAT"),
        (b"RIFF\x00\x00\x00\x00AVI " + bytes(100), "SOUND_FORMAT"),
        (WAV[:20] + b"\x03\x00" + WAV[22:], "SOUND_FORMAT"),  # floating point
        (WAV[:24] + (10).to_bytes(4, "little") + WAV[28:], "SOUND_FORMAT"),  # 10 samples a second
        (WAV[:30], "SOUND_BROKEN"),
        (WAV[:44], "SOUND_BROKEN"),
        (as_wav(np.zeros(RATE * 11)), "SOUND_TOO_LONG"),
    ],
)
def test_what_is_refused_says_which_field_and_what_to_do(content, reason):
    with pytest.raises(SoundRejected, match=r"send (a WAV file of PCM, such as `ffmpeg|it in parts)") as caught:
        load_sound(content, max_seconds=10, field="query.parts[1].audio")
    assert (caught.value.reason, caught.value.field) == (reason, "query.parts[1].audio")


def test_a_stream_that_was_cut_off_is_what_there_is_of_it():
    endless = WAV[:4] + b"\xff\xff\xff\xff" + WAV[8:40] + b"\xff\xff\xff\xff" + WAV[44:]
    assert len(load_sound(endless).samples) == len(load_sound(WAV).samples)
    assert len(load_sound(WAV[:-301]).samples) == len(load_sound(WAV).samples) - 51


@given(st.integers(0, 60), st.binary(max_size=8), st.integers(0, len(WAV)))
def test_whatever_stands_in_the_file_is_a_sound_or_a_typed_error(place, put, end):
    try:
        sound = load_sound((WAV[:place] + put + WAV[place + len(put) :])[:end])
    except SoundRejected:
        return
    assert sound.samples.size
    assert np.abs(sound.samples).max() <= 1
