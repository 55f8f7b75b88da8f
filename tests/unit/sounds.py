"""Sounds for tests, made here: a few kinds, each with words, no two alike."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from router.models.base import Embedder
from router.models.sound_encoder import SoundModel
from router.models.sounds import load_sound

RATE = 16_000
Samples = np.ndarray


def as_wav(samples: Samples, rate: int = RATE, *, width: int = 2, channels: int = 1) -> bytes:
    """A WAV file; of several channels each the same."""
    whole = np.repeat(np.clip(samples, -1, 1)[:, None], channels, 1).ravel()
    if width == 1:
        raw = (whole * 127 + 128).astype(np.uint8).tobytes()
    else:  # the first bytes of the little-endian number are the finest
        raw = (whole * (2**31 - 65536)).astype("<i4").view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return made.getvalue()


def tone(hz: float, seconds: float = 1.0, rate: int = RATE) -> Samples:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def _swept(hz: Samples) -> Samples:
    return 0.5 * np.sin(2 * np.pi * np.cumsum(hz) / RATE)


def _seconds(random: np.random.Generator) -> Samples:
    return np.arange(round(random.uniform(0.8, 1.2) * RATE)) / RATE


def _hum(random: np.random.Generator) -> Samples:
    time, low = _seconds(random), random.uniform(80, 200)
    return sum(0.3 / part * np.sin(2 * np.pi * low * part * time) for part in (1, 2, 3))


def _beep(random: np.random.Generator) -> Samples:
    return _swept(np.full(len(_seconds(random)), random.uniform(1500, 4000)))


def _rising(random: np.random.Generator) -> Samples:
    time = _seconds(random)
    return _swept(random.uniform(300, 600) * random.uniform(5, 9) ** (time / time[-1]))


def _falling(random: np.random.Generator) -> Samples:
    return _swept(2 * np.abs(np.linspace(random.uniform(1500, 2500), random.uniform(150, 300), len(_seconds(random)))))


def _siren(random: np.random.Generator) -> Samples:
    return _swept(900 + 500 * np.sin(2 * np.pi * random.uniform(3, 5) * _seconds(random)))


def _hiss(random: np.random.Generator) -> Samples:
    return random.normal(0, 0.2, len(_seconds(random)))


def _clicks(random: np.random.Generator) -> Samples:
    samples = np.zeros(len(_seconds(random)))
    for start in range(int(random.integers(2000)), len(samples) - 80, int(random.integers(1500, 3500))):
        samples[start : start + 80] = random.normal(0, 0.5, 80)
    return samples


KINDS: Mapping[str, tuple[Callable[[np.random.Generator], Samples], tuple[str, ...], str]] = {
    "hum": (_hum, ("a transformer hums", "the low hum of a machine"), "deep humming"),
    "beep": (_beep, ("a high beep", "an alarm clock beeps"), "beeping"),
    "rising": (_rising, ("a rising whistle", "a rocket takes off"), "a whistle that goes up, like a rocket"),
    "falling": (_falling, ("a falling bomb", "something falls from the sky"), "falling down"),
    "siren": (_siren, ("a police siren", "an ambulance wails"), "the siren of an ambulance"),
    "hiss": (_hiss, ("hissing steam", "white noise of a radio"), "static noise"),
    "clicks": (_clicks, ("a ticking clock", "a Geiger counter clicks"), "ticking and clicking"),
}
"""Kind -> how to make one, what is said of them in training, and what is asked."""


def made(kind: str, seed: int) -> Samples:
    """One of a kind, with its own pitch, pace and length, and a little noise, at its own loudness."""
    random = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    samples = KINDS[kind][0](random)
    return random.uniform(0.3, 1.0) * (samples + random.normal(0, 0.005, len(samples)))


async def train_small(folder: Path, text: Embedder) -> SoundModel:
    """A real encoder, trained in some seconds on twelve of each kind, as the folder that `models.audio.model` names. Needs torch."""
    import torch

    from router.experiments.sound_training import UNHASHED, Captioned, Recipe, train, write

    model = SoundModel(
        name="kinds", text_model=text.name, dimension=text.dimension, rate=RATE, window=512, hop=256, mels=32, low_hz=50.0, high_hz=8000.0,
        seconds=1.0, sha256=UNHASHED,
    )  # fmt: skip
    items = [Captioned(load_sound(as_wav(made(kind, seed))), texts) for kind, (_, texts, _) in KINDS.items() for seed in range(12)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the batches are small, and threads would wait for one another
    try:
        return write(folder, await train(items, model, text, Recipe(epochs=15)), model)
    finally:
        torch.set_num_threads(threads)
