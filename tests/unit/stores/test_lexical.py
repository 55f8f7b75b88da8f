"""BM25 in this process."""

import asyncio
import math

import numpy as np
import pytest

from router.stores.base import GraphBatch
from router.stores.lexical import MemoryLexicalIndex
from router.testing.lexical_index import ANIMALS, LexicalIndexContract, passage

NO_VECTORS = np.zeros((0, 4), dtype=np.float32)


class TestContract(LexicalIndexContract):
    @pytest.fixture
    async def fill(self):
        async def fill(tenants):
            index = MemoryLexicalIndex()
            for tenant, chunks in tenants.items():
                await index.load(tenant, chunks)
            return index

        return fill


def ids(found):
    return [hit.chunk_id for hit in found]


async def test_stems_and_stop_words():
    index = MemoryLexicalIndex()
    index.add("t", [passage("a", "She was jumping"), passage("b", "the of and")])
    assert ids(await index.search("t", "jumps", 5)) == ["a"]
    assert ids(await index.search("t", "the and", 5)) == []


async def test_scores_are_bm25():
    """By hand: the formula of Lucene's variant (Kamphuis et al. 2020), k1 1.5, b 0.75."""
    index = MemoryLexicalIndex()
    texts = {"a": "red red blue", "b": "red green", "c": "yellow"}
    index.add("t", [passage(id_, text) for id_, text in texts.items()])
    mean_length = sum(len(text.split()) for text in texts.values()) / 3
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = {}
    for id_ in ("a", "b"):
        count, length = texts[id_].split().count("red"), len(texts[id_].split())
        expected[id_] = idf * count / (count + 1.5 * (0.25 + 0.75 * length / mean_length))
    found = await index.search("t", "red", 5)
    assert {hit.chunk_id: hit.score for hit in found} == pytest.approx(expected, rel=1e-5)


async def test_it_follows_the_corpus():
    index = MemoryLexicalIndex()
    batch = GraphBatch()
    await index.on_written("t", ANIMALS, NO_VECTORS, batch)
    assert set(ids(await index.search("t", "fox", 5))) == {"a", "d"}
    await index.on_written("t", [passage("a", "only zebras now")], NO_VECTORS, batch)
    assert ids(await index.search("t", "fox", 5)) == ["d"]
    assert ids(await index.search("t", "zebra", 5)) == ["a"]
    await index.on_deleted("t", "other")
    assert ids(await index.search("t", "fox", 5)) == []
    await index.on_deleted("t", "doc")
    assert ids(await index.search("t", "zebra rain", 5)) == []
    await index.on_deleted("nobody", "doc")
    await index.on_written("t", [passage("n", "a fox again")], NO_VECTORS, batch)
    assert ids(await index.search("t", "fox", 5)) == ["n"]


async def test_an_index_is_built_once_per_change(monkeypatch):
    built = []
    real = __import__("bm25s").BM25.index
    monkeypatch.setattr("bm25s.BM25.index", lambda self, *args, **kwargs: (built.append(1), real(self, *args, **kwargs))[1])
    index = MemoryLexicalIndex()
    index.add("t", ANIMALS)
    index.add("t", [passage("e", "another fox")])
    assert built == []
    await asyncio.gather(*(index.search("t", "fox", 5) for _ in range(8)))
    assert built == [1]
    index.remove_document("t", "not there")
    await index.search("t", "fox", 5)
    assert built == [1]


async def test_a_word_that_came_after_the_index_was_built():
    index = MemoryLexicalIndex()
    index.add("t", [passage("a", "fox")])
    searches = [asyncio.create_task(index.search("t", f"fox word{number}", 5)) for number in range(20)]
    for number in range(20):
        await index.on_written("t", [passage(f"n{number}", f"word{number}")], NO_VECTORS, GraphBatch())
    assert all("a" in ids(found) for found in await asyncio.gather(*searches))
    assert ids(await index.search("t", "word19", 5)) == ["n19"]
