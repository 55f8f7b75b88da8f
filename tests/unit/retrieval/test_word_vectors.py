"""Vectors of words that are kept, and those of relations that are there before anybody asks."""

import numpy as np
import pytest

from router.errors import ModelUnavailable
from router.retrieval import word_vectors
from router.retrieval.word_vectors import WordVectors
from router.stores.base import GraphBatch
from router.testing.fakes import HashEmbedder
from router.types import Fact


class Breaking(HashEmbedder):
    is_broken = True

    async def embed(self, texts):
        if self.is_broken:
            raise ModelUnavailable("no model")
        return await super().embed(texts)


def facts(*relations, chunk_id=None):
    return GraphBatch(facts=tuple(Fact(str(number), "a", name, "b", "doc", chunk_id) for number, name in enumerate(relations)))


async def test_a_text_is_embedded_once():
    embedder = HashEmbedder()
    vectors = WordVectors(embedder)
    first = await vectors.of({"born", "river"})
    again = await vectors.of({"river", "born", "sea"})
    assert (embedder.embedded, again.keys()) == (3, {"born", "river", "sea"})
    np.testing.assert_array_equal(again["river"], (await embedder.embed(["river"]))[0])
    np.testing.assert_array_equal(again["river"], first["river"])


async def test_relations_of_structured_facts_are_there_before_a_question():
    embedder = HashEmbedder()
    vectors = WordVectors(embedder)
    await vectors.on_written("t", (), np.zeros((0, 64), np.float32), facts(*(f"has_part_{number}" for number in range(30))))
    await vectors.on_written("t", (), np.zeros((0, 64), np.float32), facts("stated in a text", chunk_id="c"))
    await vectors.settled()
    before = embedder.embedded
    assert (await vectors.of(["has part 29", "part 29"])).keys() == {"has part 29", "part 29"}
    assert embedder.embedded == before == 60
    await vectors.of(["stated in a text"])
    assert embedder.embedded == before + 1
    await vectors.aclose()


async def test_of_more_relations_than_are_embedded_ahead_the_first_are(monkeypatch):
    monkeypatch.setattr(word_vectors, "MAX_AHEAD", 2)
    embedder = HashEmbedder()
    vectors = WordVectors(embedder)
    vectors.expect(["has part", "has owner", "has price"])
    await vectors.settled()
    assert embedder.embedded == 4
    vectors.expect(["has colour"])
    await vectors.settled()
    assert embedder.embedded == 4


async def test_what_is_kept_has_a_bound_and_relations_stay(monkeypatch):
    monkeypatch.setattr(word_vectors, "MAX_CACHED", 6)
    embedder = HashEmbedder()
    vectors = WordVectors(embedder)
    vectors.expect(["has owner"])
    await vectors.settled()
    for number in range(5):
        assert len(await vectors.of([f"word{number}", "other", "has owner"])) == 3
    before = embedder.embedded
    await vectors.of(["has owner", "owner", "other"])
    assert embedder.embedded == before
    await vectors.of(["word0"])
    assert embedder.embedded == before + 1


async def test_a_model_that_fails_is_asked_again_by_the_question():
    embedder = Breaking()
    vectors = WordVectors(embedder)
    vectors.expect(["buys"])
    await vectors.settled()
    with pytest.raises(ModelUnavailable):
        await vectors.of(["buys"])
    embedder.is_broken = False
    assert (await vectors.of(["buys"])).keys() == {"buys"}
    await vectors.aclose()
