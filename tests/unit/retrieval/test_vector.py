"""The vector source: mixing, reuse of the probe, and what remains when Milvus is down."""

from __future__ import annotations

import numpy as np
import pytest

from router.errors import StoreUnavailable
from router.retrieval.base import Nearest, Probe, RetrievalRequest
from router.retrieval.pictures import PictureSearch
from router.retrieval.vector import VectorRetriever
from router.settings import VectorSource
from router.stores.base import GraphBatch, Scored
from router.stores.vectors import PassageVectors
from router.types import Caller, Deadline, Query, TextPart
from tests.unit.graphs import TENANT, Passages, passage

CORPUS = [passage(name, name.title(), f"text of {name}") for name in ("alpha", "beta", "gamma")]
NEAREST = (Nearest("alpha", 0.9), Nearest("beta", 0.5))


class Words:
    def __init__(self, *hits: Scored) -> None:
        self.hits = list(hits)

    async def search(self, tenant, text, limit, *, collection=None, where=None):
        return self.hits


class Store:
    """Counts searches; fails when told to."""

    def __init__(self, error: StoreUnavailable | None = None) -> None:
        self.error, self.searches = error, 0

    async def search(self, tenant, vector, limit, *, collection=None, where=None):
        self.searches += 1
        if self.error:
            raise self.error
        return [Scored("gamma", 0.8)]


def asked(nearest=NEAREST) -> RetrievalRequest:
    probe = Probe(np.zeros(4, np.float32), nearest, (), is_recent=False)
    return RetrievalRequest(Query((TextPart("question"),)), probe, Caller(TENANT, "r", Deadline.after(9)), 8)


def retriever(store: Store, words: Words | None, **settings) -> VectorRetriever:
    return VectorRetriever("vector", VectorSource(**settings), store, words, Passages(CORPUS))  # type: ignore[arg-type]


async def test_dense_and_words_are_mixed_by_weight() -> None:
    found = await retriever(Store(), Words(Scored("beta", 7.0), Scored("gamma", 3.0))).search(asked())
    assert {item.id: item.provenance[0].score for item in found.evidence} == pytest.approx({"alpha": 0.6, "beta": 0.4, "gamma": 0.0})
    assert [item.provenance[0].rank for item in found.evidence] == [1, 2, 3]


async def test_the_probe_is_not_asked_again() -> None:
    store = Store()
    await retriever(store, None).search(asked())
    assert store.searches == 0
    found = await retriever(store, None, collection="handbook").search(asked())
    assert store.searches == 1
    assert [item.id for item in found.evidence] == ["gamma"]


async def test_without_the_store_words_serve_and_say_so() -> None:
    down = Store(StoreUnavailable("Milvus is down"))
    found = await retriever(down, Words(Scored("beta", 7.0))).search(asked(nearest=None))
    assert [item.id for item in found.evidence] == ["beta"]
    assert "Milvus is down" in found.degraded


async def test_without_store_and_words_the_source_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="Milvus is down"):
        await retriever(Store(StoreUnavailable("Milvus is down")), None).search(asked(nearest=None))


async def test_without_the_store_of_sounds_passages_serve_and_say_so() -> None:
    known = PassageVectors(4)
    await known.on_written(TENANT, CORPUS[:1], np.eye(1, 4, dtype=np.float32), GraphBatch())
    sounds = PictureSearch(Store(StoreUnavailable("Milvus is down")), known, PassageVectors(4))
    source = VectorRetriever("vector", VectorSource(), Store(), None, Passages(CORPUS), sounds=sounds)  # type: ignore[arg-type]
    found = await source.search(asked())
    assert [item.id for item in found.evidence] == ["alpha", "beta"]
    assert found.degraded == "without sounds: Milvus is down"


async def test_passages_deleted_meanwhile_are_left_out() -> None:
    found = await retriever(Store(), Words(Scored("gone", 9.0))).search(asked())
    assert [item.id for item in found.evidence] == ["alpha", "beta"]
