"""Bytes that somebody sent to a sound, or a typed error; and sounds to what an encoder looks at, a log-mel spectrogram."""

from __future__ import annotations

import io
import math
import wave
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from router.errors import SoundRejected
from router.types import Matrix, Sound, Waveform

MAX_SECONDS: Final = 600.0
RATES: Final = (1_000, 384_000)
"""Samples in a second that are taken, from and to."""
MAX_CHANNELS: Final = 32
REMEDY: Final = "send a WAV file of PCM, such as `ffmpeg -i SOUND -ac 1 -c:a pcm_s16le SOUND.wav` writes"


@dataclass(frozen=True, slots=True)
class MelScale:
    """How a sound becomes a spectrogram. Whatever trained an encoder must have done the same."""

    rate: int
    """Samples in a second; sounds of other rates are resampled."""
    window: int
    """Samples under one Hann window, which is also the length of the transform."""
    hop: int
    """Samples from one window to the next."""
    mels: int
    low_hz: float
    high_hz: float


def load_sound(content: bytes, *, max_seconds: float = MAX_SECONDS, field: str = "audio") -> Sound:
    """Read one WAV file; several channels become their mean. Blocks: call it in a thread.

    Args:
        content: A WAV file of PCM with 8 to 32 bits, whatever its name says.
        max_seconds: Longer sounds are refused before they are decoded.
        field: What the sound came in, for the error.

    Raises:
        SoundRejected: SOUND_FORMAT, SOUND_BROKEN or SOUND_TOO_LONG.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise SoundRejected(f"this is no WAV file: {REMEDY}", reason="SOUND_FORMAT", field=field)
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, rate, frames = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            if not RATES[0] <= rate <= RATES[1] or not 1 <= channels <= MAX_CHANNELS or not 1 <= width <= 4:
                raise SoundRejected(
                    f"{rate} samples a second of {8 * width} bits in {channels} channels are not taken: {REMEDY}",
                    reason="SOUND_FORMAT",
                    field=field,
                )
            # What the header promises, or what is there: a header may lie, and a stream that was cut off promises 4 GB.
            frames = min(frames, len(content) // (channels * width))
            if frames > max_seconds * rate:
                raise SoundRejected(
                    f"the sound is longer than {max_seconds:g} s: send it in parts",
                    reason="SOUND_TOO_LONG",
                    field=field,
                )
            samples = _decoded(file.readframes(frames), width)
    except wave.Error as exc:
        # Python tells floating point, mu-law and the extensible form by a number.
        raise SoundRejected(f"this kind of WAV file is not taken ({exc}): {REMEDY}", reason="SOUND_FORMAT", field=field) from exc
    except (EOFError, ValueError, RuntimeError) as exc:
        raise SoundRejected(f"the WAV file is broken ({exc or 'it ends too early'}): {REMEDY}", reason="SOUND_BROKEN", field=field) from exc
    whole = len(samples) // channels
    if not whole:
        raise SoundRejected(f"there is no sound in the WAV file: {REMEDY}", reason="SOUND_BROKEN", field=field)
    return Sound(samples[: whole * channels].reshape(whole, channels).mean(1, dtype=np.float32), rate)


def resampled(sound: Sound, rate: int) -> Waveform:
    """The samples at another rate, what would fold over filtered away."""
    if sound.rate == rate:
        return sound.samples
    from scipy.signal import resample_poly  # takes a while to import

    common = math.gcd(rate, sound.rate)
    return np.asarray(resample_poly(sound.samples, rate // common, sound.rate // common), np.float32)


def log_mel(samples: Waveform, scale: MelScale) -> Matrix:
    """Natural logarithm of the power in each mel band, shape (windows, mels); at least 1e-6 stands in each band."""
    short = scale.window - len(samples)
    if short > 0:
        samples = np.pad(samples, (0, short))
    windows = np.lib.stride_tricks.sliding_window_view(samples, scale.window)[:: scale.hop]
    spectrum = np.fft.rfft(windows * np.hanning(scale.window + 1)[:-1].astype(np.float32), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2) / scale.window
    return np.asarray(np.log(np.maximum(power @ mel_bands(scale).T, 1e-6)), np.float32)


def mel_bands(scale: MelScale) -> NDArray[np.float64]:
    """Triangles over the bins of the transform, evenly spaced in mel (2595 log10(1 + Hz / 700), O'Shaughnessy 1987), each 1 at its top."""
    edges = _hz(np.linspace(_mel(scale.low_hz), _mel(scale.high_hz), scale.mels + 2))
    bins = np.fft.rfftfreq(scale.window, 1 / scale.rate)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.clip(np.minimum(rising, falling), 0.0, None), np.float64)


def _mel(hz: float) -> float:
    return 2595 * math.log10(1 + hz / 700)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700 * (10 ** (mel / 2595) - 1), np.float64)


def _decoded(raw: bytes, width: int) -> Waveform:
    """Little-endian PCM as numbers between -1 and 1; a sample that was cut off is left out."""
    raw = raw[: len(raw) - len(raw) % width]
    if width == 1:
        return np.asarray((np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128, np.float32)
    if width == 3:
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return (padded.view("<i4")[:, 0] / 2**31).astype(np.float32)
    return (np.frombuffer(raw, f"<i{width}") / 2.0 ** (8 * width - 1)).astype(np.float32)
