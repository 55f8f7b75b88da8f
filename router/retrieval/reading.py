"""Retrieve small, read large: at answer time a passage is widened to the neighbours of its section, within a number of words.

Ranking is done by then, so nothing of it depends on this. Hits whose widened texts meet become one piece of evidence with the provenances
of all; it keeps the id of the best. What is read is again a part of the stored text, so spans stay exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Protocol

from router.types import Chunk, Evidence, EvidenceKind, Span

REACH = 6
"""Neighbours looked at on each side of a passage."""


class DocumentStore(Protocol):
    """Parts of documents, from the journal."""

    async def chunks(self, tenant: str, ids: Collection[str]) -> dict[str, Chunk]:
        """Passages by id."""

    async def chunks_at(self, tenant: str, document_id: str, ordinals: Collection[int]) -> list[Chunk]:
        """Some passages of a document by their places, in their order; places that it does not have are left out."""

    async def excerpt(self, tenant: str, document_id: str, span: Span) -> str:
        """The stored text between two places; shorter where the document ends before."""


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbouring passages that are read together, and which of them were found."""

    chunks: tuple[Chunk, ...]
    hits: tuple[str, ...]
    """Ids, best first."""

    @property
    def span(self) -> Span:
        return Span(self.chunks[0].span.start, max(chunk.span.end for chunk in self.chunks))


class Reader:
    """Widens passages; everything else stays as it is, and so do those of pictures, whose words are of the picture alone.

    Args:
        store: Has the passages and the texts.
        words: Longest text of one piece of evidence, in words.
    """

    def __init__(self, store: DocumentStore, words: int) -> None:
        self._store = store
        self._words = words

    async def widened(self, tenant: str, evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """The evidence in its order, passages widened and merged.

        Raises:
            StoreUnavailable: The journal is down.
        """
        found = [item.id for item in evidence if item.kind is EvidenceKind.PASSAGE and item.picture is None]
        hits = await self._store.chunks(tenant, found)
        by_document: dict[str, list[Chunk]] = {}
        for key in found:
            if key in hits:
                by_document.setdefault(hits[key].document_id, []).append(hits[key])
        read: dict[str, Evidence] = {}
        merged: set[str] = set()
        items = {item.id: item for item in evidence}
        for document_id, some in by_document.items():
            places = {place for hit in some for place in range(hit.ordinal - REACH, hit.ordinal + REACH + 1)}
            near = [chunk for chunk in await self._store.chunks_at(tenant, document_id, places) if chunk.picture is None]
            for window in windows(some, near, self._words):
                text = await self._store.excerpt(tenant, document_id, window.span)
                if is_exact(window, text):
                    read[window.hits[0]] = as_read(window, text, items)
                    merged.update(window.hits[1:])
        return tuple(read.get(item.id, item) for item in evidence if item.id not in merged)


def windows(hits: Sequence[Chunk], chunks: Sequence[Chunk], words: int) -> list[Window]:
    """What is read for the hits of one document, best first: each hit grown by its neighbours, no passage in two windows.

    A neighbour is taken when it belongs to the same section, or to one below the same heading, and the whole stays within the words; the
    one that was found itself first, then the one that shares more of the heading path, then the one that follows.
    """
    at = {chunk.ordinal: chunk for chunk in chunks}
    wanted = {hit.ordinal: hit.id for hit in hits}
    taken: set[int] = set()
    grown: list[Window] = []
    for hit in hits:
        if hit.ordinal in taken or at.get(hit.ordinal) != hit:
            continue
        first = last = hit.ordinal
        while True:
            sides = [
                (place in wanted, _shared(hit, at[place]), place)
                for place in (first - 1, last + 1)
                if place in at and place not in taken and _is_near(hit, at[place]) and _words(at, first, last, place) <= words
            ]
            if not sides:
                break
            place = max(sides)[2]
            first, last = min(first, place), max(last, place)
        inside = range(first, last + 1)
        taken.update(inside)
        found = [hit.id, *(other.id for other in hits if other is not hit and other.ordinal in inside)]
        grown.append(Window(tuple(at[place] for place in inside), tuple(found)))
    return grown


def is_exact(window: Window, text: str) -> bool:
    """Whether the text holds the window's passages at their places; a document that was replaced meanwhile does not."""
    start = window.span.start
    return all(text[chunk.span.start - start : chunk.span.end - start] == chunk.text for chunk in window.chunks)


def as_read(window: Window, text: str, items: Mapping[str, Evidence]) -> Evidence:
    """The best hit of a window, with the window's text and all its hits' provenances."""
    provenance = tuple(step for key in window.hits for step in items[key].provenance)
    headings = _common(chunk.headings for chunk in window.chunks)
    return replace(items[window.hits[0]], text=text, span=window.span, headings=headings, provenance=provenance)


def _shared(hit: Chunk, other: Chunk) -> int:
    return len(_common((hit.headings, other.headings)))


def _common(paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The beginning that all heading paths share."""
    return tuple(level[0] for level in takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False)))


def _is_near(hit: Chunk, other: Chunk) -> bool:
    return bool(_shared(hit, other)) or not (hit.headings or other.headings)


def _words(at: Mapping[int, Chunk], first: int, last: int, more: int) -> int:
    """Words of the passages from first to last with one more; what neighbours share counts twice."""
    return sum(len(at[place].text.split()) for place in (*range(first, last + 1), more))
