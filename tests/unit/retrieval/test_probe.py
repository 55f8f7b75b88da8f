"""What is asked about the names of a question: embedded after the probe, for whoever needs it."""

import asyncio

import numpy as np
import pytest

from router.errors import ModelUnavailable
from router.retrieval.base import Probe
from router.retrieval.linker import NameLinker
from router.retrieval.probe import Prober
from router.retrieval.relation_paths import RelationPaths
from router.retrieval.word_vectors import WordVectors
from router.stopwatch import Stopwatch
from router.testing.fakes import HashEmbedder, InMemoryVectorStore
from router.types import Caller, Deadline, Query, TextPart
from tests.unit.graphs import TENANT, mirror_of, passage


class Watched(HashEmbedder):
    def __init__(self):
        super().__init__()
        self.asked, self.gate, self.error = [], asyncio.Event(), None

    async def embed(self, texts):
        self.asked.append(list(texts))
        if len(self.asked) > 1:
            await self.gate.wait()
            if self.error is not None:
                raise self.error
        return await super().embed(texts)


@pytest.fixture
async def probed(tmp_path):
    mirror, _, _ = await mirror_of((passage("quay", "Osprey Press", "Osprey Press prints."),), tmp_path)
    embedder = Watched()
    prober = Prober(embedder, InMemoryVectorStore(), NameLinker(mirror), mirror, RelationPaths(WordVectors(embedder), 2), 5)

    async def look(text):
        return embedder, await prober.probe(Query((TextPart(text),)), Caller(TENANT, "r", Deadline.after(600)), Stopwatch())

    return look


async def test_the_probe_waits_for_the_question_alone(probed):
    embedder, probe = await probed("What does Osprey Press print?")
    assert embedder.asked == [["What does Osprey Press print?"]]
    waiting = [asyncio.create_task(probe.asked()) for _ in range(3)]
    await asyncio.sleep(0)
    # One that leaves does not take it from the others.
    waiting[0].cancel()
    embedder.gate.set()
    [expected] = await HashEmbedder().embed(["What does print?"])
    for vector in await asyncio.gather(*waiting[1:]):
        np.testing.assert_array_equal(vector, expected)
    assert embedder.asked[1:] == [["What does print?"]]


async def test_a_model_that_fails_is_reported_to_who_asks(probed):
    embedder, probe = await probed("What does Osprey Press print?")
    embedder.error = ModelUnavailable("no model")
    embedder.gate.set()
    with pytest.raises(ModelUnavailable):
        await probe.asked()


async def test_a_question_without_names_is_asked_as_it_is(probed):
    embedder, probe = await probed("who prints books?")
    assert await probe.asked() is probe.vector
    assert len(embedder.asked) == 1


async def test_a_vector_that_is_there_is_given():
    one, other = np.float32([1, 0]), np.float32([0, 1])
    assert await Probe(one, None, None, is_recent=False, unnamed=other).asked() is other
