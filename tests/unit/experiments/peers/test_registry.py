"""Opening peers by name."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from router.errors import InvalidInput
from router.experiments.peers.registry import PeerParts, open_peers
from router.routing.learned import LearnedPolicy
from router.routing.value import open_model
from router.testing.fakes import HashEmbedder


async def test_a_name_that_there_is_not_and_a_peer_without_training() -> None:
    async def no_lessons():
        raise InvalidInput("name a data set with --train", field="train")

    parts = PeerParts(HashEmbedder(), None, (), (), LearnedPolicy(open_model(None, "x")), no_lessons)
    async with AsyncExitStack() as stack:
        assert list(await open_peers(["llama-index-embedding"], parts, stack)) == ["llama-index-embedding"]
        with pytest.raises(InvalidInput, match="no peer 'best'"):
            await open_peers(["best"], parts, stack)
        for learner in ("tfidf-svm", "knn"):
            with pytest.raises(InvalidInput, match="--train"):
                await open_peers([learner], parts, stack)
