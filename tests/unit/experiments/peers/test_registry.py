"""Opening peers by name."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from router.errors import InvalidInput
from router.experiments.peers.registry import PeerParts, open_peers
from router.testing.fakes import HashEmbedder


async def test_a_name_that_there_is_not_and_a_peer_without_training() -> None:
    parts = PeerParts(HashEmbedder(), None, (), ())
    async with AsyncExitStack() as stack:
        assert list(await open_peers(["llama-index-embedding"], parts, stack)) == ["llama-index-embedding"]
        with pytest.raises(InvalidInput, match="no peer 'best'"):
            await open_peers(["best"], parts, stack)
        with pytest.raises(InvalidInput, match="--train"):
            await open_peers(["tfidf-svm"], parts, stack)
