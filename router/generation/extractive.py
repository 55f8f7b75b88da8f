"""An answer without a language model: the sentences of the evidence that are most like the question, each with its citation."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from router.generation.base import GeneratorEvent, Written
from router.generation.prompt import NOT_FOUND
from router.generation.sentences import sentences, split_sentences
from router.models.base import Embedder
from router.routing.overview import overview_asked
from router.settings import GenerationSettings
from router.spacy import STOP_WORDS
from router.types import Caller, Citation, Evidence, EvidenceKind, Notice, Query, Retrieval, Span, Token, Vector

NAME = "extractive"
NO_SOURCE = "No source was asked, so there is nothing to answer from. Ask a question, and it will be looked up."
NO_SOURCE_NOTICE = Notice("NO_SOURCE_ASKED", "no source was asked, so the reply rests on no evidence")
MAX_EVIDENCE = 6
"""Pieces of evidence whose sentences are compared with the question."""
MAX_SENTENCES_EACH = 15
RANK_DISCOUNT = 0.03
"""Share of a sentence's score that each rank of its evidence costs: the ranking knows more than one sentence's words."""
LINK_BONUS = 0.25
"""For a sentence of other evidence that shares a name with the question or with a sentence already chosen (the next hop).

Of 100 questions of HotpotQA and of MuSiQue each, with gold passages among eight, three sentences hold an accepted answer for 51 and 37
with it, for 40 and 24 without."""
LEAST_SHARE = 0.5
"""Of the best sentence's score: what scores less only fills the answer up."""
OVERVIEW_SENTENCES = 8
"""Sentences of an answer about the whole corpus, or one for each summary."""
TWIN = 0.95
"""Cosine from which two sentences say the same."""

# The sign that ends a name is not part of it, nor is the possessive.
_NAME = re.compile(r"[A-Z][\w-]*(?:\s+(?:of|the|de|van|von)(?=\s+[A-Z])|\s+[A-Z][\w-]*)*")


@dataclass(frozen=True, slots=True)
class _Candidate:
    text: str
    number: int
    """Of its evidence, from 1."""
    cosine: float
    vector: Vector
    names: frozenset[str]
    """In the sentence and in the title of its evidence."""

    @property
    def score(self) -> float:
        return self.cosine * (1.0 - RANK_DISCOUNT * (self.number - 1))


class ExtractiveGenerator:
    """Quotes; it never says what the evidence does not say.

    Args:
        embedder: Compares sentences with the question.
        settings: How many sentences, and how much alike the best one must be.
    """

    def __init__(self, embedder: Embedder, settings: GenerationSettings) -> None:
        self._embedder = embedder
        self._settings = settings

    async def generate(self, query: Query, retrieval: Retrieval, caller: Caller) -> AsyncIterator[GeneratorEvent]:
        """Raises ModelUnavailable or Overloaded, before the first token only."""
        if not retrieval.decision.selected and not retrieval.evidence:
            yield NO_SOURCE_NOTICE
            yield Token(NO_SOURCE)
            yield Written(NO_SOURCE, False, (), NAME, (NO_SOURCE_NOTICE,))
            return
        question = retrieval.question or query.text
        quotes = _overview(query, retrieval.evidence) or [
            (candidate.number, candidate.text) for candidate in self._choose(question, await self._candidates(question, retrieval.evidence))
        ]
        if not quotes:
            yield Token(NOT_FOUND)
            yield Written(NOT_FOUND, False, (), NAME)
            return
        text = ""
        citations: list[Citation] = []
        for number, quote in quotes:
            marker = f"[{number}]"
            piece = f"{' ' if text else ''}{quote} {marker}"
            text += piece
            citations.append(Citation(number, retrieval.evidence[number - 1].id, Span(len(text) - len(marker), len(text))))
            yield Token(piece)
            yield citations[-1]
        yield Written(text, True, tuple(citations), NAME)

    async def _candidates(self, question: str, evidence: Sequence[Evidence]) -> list[_Candidate]:
        split = await asyncio.to_thread(_split, evidence[:MAX_EVIDENCE])
        if not split:
            return []
        # A sentence in the middle of a passage says `it` and `he`; the title says who that is.
        titled = [f"{evidence[number - 1].title}. {text}" for number, text in split]
        vectors = await self._embedder.embed([question, *titled])
        return [
            _Candidate(text, number, float(vector @ vectors[0]), vector, _names(title))
            for (number, text), title, vector in zip(split, titled, vectors[1:], strict=True)
        ]

    def _choose(self, question: str, candidates: Sequence[_Candidate]) -> list[_Candidate]:
        """Greedy: the best sentence, then the best that says something else, favouring the next hop."""
        left, chosen, known = list(candidates), list[_Candidate](), set(_names(question))
        while left and len(chosen) < self._settings.max_sentences:
            best = max(left, key=lambda candidate: (_value(candidate, chosen, known), -candidate.number))
            if not chosen and best.cosine < self._settings.min_relevance:
                break
            if chosen and _value(best, chosen, known) < max(self._settings.min_relevance, LEAST_SHARE * chosen[0].score):
                break
            chosen.append(best)
            known |= best.names
            left = [other for other in left if float(other.vector @ best.vector) < TWIN and other.text != best.text]
        return chosen


def _overview(query: Query, evidence: Sequence[Evidence]) -> list[tuple[int, str]]:
    """For a question about the whole: each summary's names and first sentences. No sentence is like such a question."""
    asked = overview_asked(query)
    if asked is None or not asked.is_of_all:
        return []
    summaries = [(number, item) for number, item in enumerate(evidence, start=1) if item.kind is EvidenceKind.SUMMARY]
    each = max(1, OVERVIEW_SENTENCES // max(1, len(summaries)))
    return [(number, f"{item.title}: {' '.join(split_sentences(item.text)[:each])}") for number, item in summaries]


def _value(candidate: _Candidate, chosen: Sequence[_Candidate], known: set[str]) -> float:
    is_next_hop = bool(chosen) and all(candidate.number != other.number for other in chosen) and bool(candidate.names & known)
    return candidate.score + (LINK_BONUS if is_next_hop else 0.0)


def _split(evidence: Sequence[Evidence]) -> list[tuple[int, str]]:
    """(number of the evidence, sentence); a sentence that came before is left out."""
    seen: dict[str, int] = {}
    for number, item in enumerate(evidence, start=1):
        for text in sentences(item)[:MAX_SENTENCES_EACH]:
            seen.setdefault(text, number)
    return [(number, text) for text, number in seen.items()]


def _names(text: str) -> frozenset[str]:
    """Runs of capitalised words, without the small words that only begin a sentence."""
    found = set()
    for match in _NAME.finditer(text):
        words = match[0].split()
        while words and words[0].casefold() in STOP_WORDS:
            words = words[1:]
        if words:
            found.add(" ".join(words).casefold())
    return frozenset(found)
