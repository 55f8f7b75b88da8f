"""The peers by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from router.errors import InvalidInput
from router.experiments.dataset import Question
from router.experiments.lessons import Lesson
from router.models.base import Embedder, LanguageModel
from router.routing.base import RoutingPolicy, SourceProfile
from router.routing.learned import LearnedPolicy


@dataclass(frozen=True, slots=True)
class PeerParts:
    """What a peer may be made of."""

    embedder: Embedder
    """The service's own, so that no one wins by a better encoder."""
    language_model: LanguageModel | None
    sources: tuple[SourceProfile, ...]
    """Among which it will choose."""
    training: tuple[Question, ...]
    """Questions with accepted routes; empty where none were given."""
    learned: LearnedPolicy
    lessons: Callable[[], Awaitable[Sequence[Lesson]]]
    """What the training questions teach when every source is asked; takes a while. Raises InvalidInput where none were given."""

    def labelled(self, peer: str) -> tuple[Question, ...]:
        """The training questions.

        Raises:
            InvalidInput: There are none.
        """
        if not self.training:
            raise InvalidInput(f"the peer {peer} learns from questions with `routes`: name a data set with --train", field="train")
        return self.training


Open = Callable[[PeerParts, AsyncExitStack], Awaitable[RoutingPolicy]]


@dataclass(frozen=True, slots=True)
class PeerEntry:
    description: str
    """One sentence."""
    open: Open
    """What it opens is closed by the stack."""


# Imported where they are opened: each brings a library of its own.
async def _tfidf_svm(parts: PeerParts, stack: AsyncExitStack) -> RoutingPolicy:
    from router.experiments.peers.tfidf_svm import TfidfSVMPolicy

    return await TfidfSVMPolicy.train(parts.labelled(TfidfSVMPolicy.name))


async def _knn(parts: PeerParts, stack: AsyncExitStack) -> RoutingPolicy:
    from router.experiments.peers.knn import knn_of

    return knn_of(parts.learned, await parts.lessons())


async def _llama_index_single(parts: PeerParts, stack: AsyncExitStack) -> RoutingPolicy:
    from router.experiments.peers.llama_index_selectors import llm_single_selector

    return llm_single_selector(parts.language_model)


async def _llama_index_multi(parts: PeerParts, stack: AsyncExitStack) -> RoutingPolicy:
    from router.experiments.peers.llama_index_selectors import llm_multi_selector

    return llm_multi_selector(parts.language_model)


async def _llama_index_embedding(parts: PeerParts, stack: AsyncExitStack) -> RoutingPolicy:
    from router.experiments.peers.llama_index_selectors import embedding_selector

    return embedding_selector(parts.embedder)


async def _semantic_router(parts: PeerParts, stack: AsyncExitStack) -> RoutingPolicy:
    from router.experiments.peers.semantic_router_child import SemanticRouterPolicy

    peer: SemanticRouterPolicy = await SemanticRouterPolicy.open(parts.labelled(SemanticRouterPolicy.name), parts.embedder)
    stack.push_async_callback(peer.aclose)
    return peer


PEERS: Mapping[str, PeerEntry] = {
    "tfidf-svm": PeerEntry("TF-IDF of words and word pairs, a linear SVM with Platt's probabilities (scikit-learn).", _tfidf_svm),
    "knn": PeerEntry("Our policy `knn` over the measured questions of the training set.", _knn),
    "llama-index-single": PeerEntry("LlamaIndex's LLMSingleSelector over the descriptions of the sources.", _llama_index_single),
    "llama-index-multi": PeerEntry("LlamaIndex's LLMMultiSelector over the descriptions of the sources.", _llama_index_multi),
    "llama-index-embedding": PeerEntry("LlamaIndex's EmbeddingSingleSelector: the nearest description.", _llama_index_embedding),
    "semantic-router": PeerEntry("semantic-router over labelled utterances, in an environment of its own.", _semantic_router),
}


async def open_peers(names: Sequence[str], parts: PeerParts, stack: AsyncExitStack) -> dict[str, RoutingPolicy]:
    """Open the peers of these names.

    Raises:
        InvalidInput: There is no such peer, or it learns and nothing to learn from was given.
        ConfigurationError: It needs a language model, and none is configured; or its environment is not there.
        MissingExtra: It needs the extra `bench`.
    """
    for name in names:
        if name not in PEERS:
            raise InvalidInput(f"there is no peer {name!r}; there are {sorted(PEERS)}", field="peer")
    return {name: await PEERS[name].open(parts, stack) for name in names}
