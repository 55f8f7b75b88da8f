"""The last step of ranking: what says the same again is dropped, and, where asked for, the list is made diverse.

Diversity is maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): the next passage is the one with the greatest
(1 - diversity) * relevance - diversity * (greatest cosine to a passage already chosen). Relevance is the place that the ranking gave it,
since scores of different sources share no scale and a reranker may have had the last word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from router.stores.fingerprints import NearDuplicates
from router.stores.vectors import PassageVectors
from router.types import MAX_NEAR_DUPLICATES, Evidence, EvidenceKind, Picture

COVERED = 0.9
"""A passage of which this share stands in better ones of the same document brings nothing."""
_NOT_WORDS = re.compile(r"\W+")


class Diversity:
    """Drops repetitions and reorders.

    Args:
        vectors: The passages' vectors.
        weight: 0 keeps the order, 1 looks at nothing but difference.
        near_duplicates: Which pictures show the same.
    """

    def __init__(self, vectors: PassageVectors, weight: float, near_duplicates: NearDuplicates | None = None) -> None:
        self._vectors = vectors
        self._weight = weight
        self._near_duplicates = near_duplicates or NearDuplicates()

    def order(self, tenant: str, evidence: Sequence[Evidence]) -> list[Evidence]:
        """Without repetitions, diverse, further copies of a photo last; what is no passage keeps its place."""
        return self._copies_last(tenant, self._ordered(tenant, without_repetitions(evidence)))

    def _ordered(self, tenant: str, kept: list[Evidence]) -> list[Evidence]:
        passages = [item for item in kept if item.kind is EvidenceKind.PASSAGE]
        if not self._weight or len(passages) < 3:
            return kept
        chosen = iter(self._diverse(tenant, passages))
        return [next(chosen) if item.kind is EvidenceKind.PASSAGE else item for item in kept]

    def _copies_last(self, tenant: str, evidence: Sequence[Evidence]) -> list[Evidence]:
        """Pictures that show what a better one shows go behind all else, since their words may say something of their own."""
        firsts: list[Evidence] = []
        copies: list[Evidence] = []
        seen: set[str] = set()
        for item in evidence:
            if item.picture is None:
                firsts.append(item)
                continue
            near = self._near_duplicates.of(tenant, item.picture.id)
            linked = replace(item, picture=replace(item.picture, near_duplicates=near[:MAX_NEAR_DUPLICATES])) if near else item
            if item.picture.id in seen:
                copies.append(linked)
            else:
                firsts.append(linked)
                seen |= {item.picture.id, *near}
        return firsts + copies

    def _diverse(self, tenant: str, passages: Sequence[Evidence]) -> list[Evidence]:
        vectors = self._vectors.vectors(tenant, [item.id for item in passages])
        cosines = vectors @ vectors.T
        left = list(range(len(passages)))
        chosen = [left.pop(0)]
        while left:
            worth = {
                place: (1 - self._weight) * (1 - place / len(passages)) - self._weight * float(cosines[place, chosen].max())
                for place in left
            }
            best = max(left, key=lambda place: (worth[place], -place))
            left.remove(best)
            chosen.append(best)
        return [passages[place] for place in chosen]


def without_repetitions(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The list without what an earlier item says already; that item takes over the provenances.

    The same words (white space, case and punctuation do not count) say the same; so does a passage that lies almost wholly within better
    ones of its document, as the end of a long section does when neighbouring passages overlap. What has a picture says more than its words,
    so it yields only to the same picture.
    """
    kept: list[Evidence] = []
    place_of: dict[str, int] = {}
    for item in evidence:
        words = _NOT_WORDS.sub(" ", item.text).strip().casefold()
        place = place_of.get(words) if words else None
        if place is None:
            place = _covering(item, kept)
        if place is not None and item.picture is not None and not _shows_the_same(kept[place], item.picture):
            place = None
        if place is None:
            place_of[words] = len(kept)
            kept.append(item)
        else:
            kept[place] = replace(kept[place], provenance=(*kept[place].provenance, *item.provenance))
    return kept


def _shows_the_same(item: Evidence, picture: Picture) -> bool:
    return item.picture is not None and item.picture.id == picture.id


def _covering(item: Evidence, kept: Sequence[Evidence]) -> int | None:
    """The first of the better passages that cover the item, if together they do."""
    if item.span is None or item.kind is not EvidenceKind.PASSAGE:
        return None
    start, end = item.span.start, item.span.end
    overlaps = [
        (place, max(start, other.span.start), min(end, other.span.end))
        for place, other in enumerate(kept)
        if other.span is not None and other.document_id == item.document_id and other.span.start < end and start < other.span.end
    ]
    covered, reached = 0, start
    for _, begins, stops in sorted(overlaps, key=lambda overlap: overlap[1:]):
        covered += max(0, stops - max(begins, reached))
        reached = max(reached, stops)
    return overlaps[0][0] if covered >= COVERED * (end - start) else None
