"""Pictures in questions and in the corpus: the query's vectors, the pictures nearest to them, and scores that compare with passages'."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog

from router.errors import StoreUnavailable
from router.models.base import Embedder, PictureEmbedder, instructed
from router.models.pictures import MAX_PIXELS, load_picture
from router.retrieval.base import LinkedName, Nearest, Probe
from router.retrieval.linker import NameLinker
from router.retrieval.picture_uri import PictureAddresses
from router.stores.base import PassageStore, Scored, VectorStore
from router.stores.vectors import PassageVectors
from router.types import NO_FILTER, Caller, Chunk, Filter, ImagePart, ImageUriPart, Matrix, Query, Vector

log = structlog.get_logger()

SAMPLE = 256
"""Vectors of a collection that tell how like the query anything in it is."""
PRIOR = 8
"""Of the sample: so many draws from the prior below stand beside it, so that a collection of two pictures has a spread too."""
PRIOR_MEAN, PRIOR_SPREAD = 0.04, 0.10
"""Of cosines with what a query does not speak of: in MiniLM's space 100 questions with 500 passages of others .04 and .10, and by `aligned`
111 pictures of its training sets with each other .04 and .18, with those questions -.01 and .07."""
SAME = 0.93
"""Cosine of two pictures from which they are taken to show the same. With `aligned` 95 of 100 copies that are darker or mirrored reach it,
and half of those that are made half as large or lose a tenth at each side."""
LIKE = 0.78
"""Cosine below which nothing is concluded from the likeness of two pictures. With `aligned` the likest of 110 other pictures reaches it one
time in eighteen, and 96 of 100 of these copies do."""
SURE = 0.5
"""Probability from which an answer may be written on what a picture seems to show."""
ABOUT_A_PICTURE = "What does the picture show?"
LOOKED_AT = 3
"""Pictures of the corpus that a picture of the question may stand for."""
_POINTS = re.compile(
    r"\b(?:this|that|the|these|those)(?:\s+[\w-]+){0,3}?\s+(?:in|on|of|from)\s+(?:this|that|the|my|an?)\s+"
    r"(?:photo(?:graph)?|picture|image|drawing|figure|screenshot)s?\b"
    r"|\b(?:this|that|the|attached|shown)\s+(?:photo(?:graph)?|picture|image|drawing|figure|screenshot)\b|\bthis\s+(?!is\b)\w+\b",
    re.IGNORECASE,
)


Hits = tuple[Sequence[Scored], Vector, PassageVectors]
"""Of one collection: what was found, by which query, and the collection's vectors."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the pictures of a question say."""

    vector: Vector
    """Of all of them together."""
    instructed: Vector | None = None
    """The same by an encoder that was told the instruction; None where there is none, or the encoder takes none."""
    nearest: tuple[Nearest, ...] = ()
    """Passages of pictures of the corpus that may show the same; the cosine tells how sure that is."""
    names: tuple[LinkedName, ...] = ()
    """What the words of those name, the likeliest first."""


class PictureSearch:
    """The pictures of the corpus by vector.

    Args:
        vector_store: Their vectors.
        pictures: The same in this process.
        passages: Vectors of the passages, with which scores are to compare.
    """

    def __init__(self, vector_store: VectorStore, pictures: PassageVectors, passages: PassageVectors) -> None:
        self._vector_store = vector_store
        self._pictures = pictures
        self._passages = passages

    def has_any(self, tenant: str) -> bool:
        """Without asking the store, so that a corpus of texts pays nothing for this."""
        return self._pictures.count(tenant) > 0

    async def nearest(
        self, tenant: str, vector: Vector, limit: int, *, collection: str | None = None, where: Filter = NO_FILTER
    ) -> list[Scored]:
        """By cosine, best first. Raises StoreUnavailable."""
        return await self._vector_store.search(tenant, vector, limit, collection=collection, where=where)

    def listed(self, hits: Sequence[Scored], query: Vector) -> Hits:
        """Hits of this collection, to be put on one scale with others."""
        return hits, query, self._pictures

    def listed_passages(self, hits: Sequence[Scored], query: Vector) -> Hits:
        return hits, query, self._passages


class QueryPictures:
    """Looks at the pictures of a question.

    Args:
        encoder: The space of words and pictures.
        text: Puts words into that space; None where the vectors of the questions are of it already.
        compose: A picture and words (in this order) to one query.
        addresses: Reads those that are given by address.
        search: Pictures of the corpus.
        linker: Finds names of the graph in their words.
        passages: Their words.
        max_pixels: Larger pictures are refused.
    """

    def __init__(
        self,
        encoder: PictureEmbedder,
        text: Embedder | None,
        compose: Callable[[Vector, Vector], Vector],
        addresses: PictureAddresses,
        search: PictureSearch,
        linker: NameLinker,
        passages: PassageStore,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._encoder = encoder
        self._text = text
        self._compose = compose
        self._max_pixels = max_pixels
        self._addresses = addresses
        self._search = search
        self._linker = linker
        self._passages = passages

    async def resolved(self, query: Query, caller: Caller) -> Query:
        """The query with every picture by value. Raises as `PictureAddresses.read`."""
        if not any(isinstance(part, ImageUriPart) for part in query.parts):
            return query
        parts = [
            ImagePart(await self._addresses.read(caller.tenant, part.uri, f"query.parts[{number}].image_uri"), "")
            if isinstance(part, ImageUriPart)
            else part
            for number, part in enumerate(query.parts)
        ]
        return replace(query, parts=tuple(parts))

    @property
    def shares_space(self) -> bool:
        """Whether passages can be searched by a picture."""
        return self._text is None

    def are_there(self, caller: Caller) -> bool:
        """Whether the corpus has pictures to be compared with."""
        return self._search.has_any(caller.tenant)

    async def query_vector(self, query: Query, words: Vector, shown: Shown | None) -> Vector | None:
        """What pictures of the corpus are compared with.

        A model that takes instructions is told it with the pictures and with the words. For another one it is words: those beside the
        picture are the text and, below it, the instruction.

        Args:
            query: The question.
            words: The vector of `query.wording`; counts where questions are embedded in this space.
            shown: What its pictures say; None where it has none.
        """
        if shown is not None:
            is_told = shown.instructed is not None
        else:
            is_told = bool(query.instruction) and self._text is not None and instructed(self._text)
        said = query.text if is_told else query.wording
        picture = None if shown is None else shown.vector if shown.instructed is None else shown.instructed
        if not said:
            return picture
        if self._text is not None:
            if is_told and instructed(self._text):
                words = (await self._text.embed_instructed([said], query.instruction))[0]
            else:
                words = (await self._text.embed([said]))[0]
        return words if picture is None else self._compose(picture, words)

    async def look(self, query: Query, caller: Caller) -> Shown:
        """Embed the pictures, each once, and find what they may show.

        Raises:
            PictureRejected: A picture cannot be read; names the part.
            ModelUnavailable: The encoder failed.
        """
        pictures = [
            await asyncio.to_thread(load_picture, part.data, max_pixels=self._max_pixels, field=f"query.parts[{number}].image")
            for number, part in enumerate(query.parts)
            if isinstance(part, ImagePart)
        ]
        shown = Shown(together(await self._encoder.embed(pictures)))
        if not self._search.has_any(caller.tenant):
            return shown
        if query.instruction and instructed(self._encoder):
            shown = replace(shown, instructed=together(await self._encoder.embed_instructed(pictures, query.instruction)))
        try:
            hits = await self._search.nearest(caller.tenant, shown.vector, LOOKED_AT, where=query.filter)
            alike = tuple(Nearest(hit.chunk_id, hit.score) for hit in hits if hit.score > LIKE)
            return replace(shown, nearest=alike, names=await self._names(query, alike, caller))
        except StoreUnavailable as error:
            # The source that needs the store meets it again and reports it, if it is chosen.
            log.warning("probe without the pictures of the corpus", reason=error.message)
            return shown

    async def _names(self, query: Query, alike: Sequence[Nearest], caller: Caller) -> tuple[LinkedName, ...]:
        """Entities that the pictures that are alike name, as if the question's "the machine in this photo" named them."""
        chunks = await self._passages.chunks(caller.tenant, [hit.chunk_id for hit in alike]) if alike else {}
        points = _POINTS.search(query.text)
        found: dict[str, LinkedName] = {}
        for hit in alike:
            if hit.chunk_id in chunks:
                chunk = chunks[hit.chunk_id]
                for name in await self._named(caller.tenant, chunk):
                    shown = replace(name, surface=points.group() if points else "", probability=name.probability * likeness(hit.cosine))
                    if name.entity_id not in found or found[name.entity_id].probability < shown.probability:
                        found[name.entity_id] = replace(shown, is_shown=True)
        return tuple(sorted(found.values(), key=lambda name: (-name.probability, not name.has_facts, name.entity_id)))

    async def _named(self, tenant: str, chunk: Chunk) -> list[LinkedName]:
        """What a picture's words name, and what it is labelled."""
        named = list(await self._linker.link(tenant, f"{chunk.label}.\n{chunk.text}"))
        for label in chunk.picture.labels if chunk.picture is not None else ():
            meant = await self._linker.called(tenant, label.name)
            named += [replace(name, probability=name.probability * label.probability) for name in meant]
        return named


def told(query: Query, probe: Probe) -> str:
    """The question in words, with what its pictures surely show: who writes the answer sees no picture."""
    shown = [name.name for name in probe.linked or () if name.is_shown and name.probability >= SURE]
    if not shown:
        return query.text or (ABOUT_A_PICTURE if query.has_pictures else "")
    return f"{query.text or ABOUT_A_PICTURE} (The picture shows {' and '.join(shown[:2])}.)"


def on_one_scale(tenant: str, lists: Sequence[Hits]) -> list[Scored]:
    """Hits of several collections on one scale; of an item in more than one the best.

    A cosine of words and pictures is small however well they fit, and one of two pictures great however badly. So each is told in
    standard deviations above what the query's cosine with anything in that collection is.
    """
    best: dict[str, float] = {}
    for hits, query, vectors in lists:
        for hit in standardised(hits, vectors.sample(tenant, SAMPLE) @ query):
            best[hit.chunk_id] = max(hit.score, best.get(hit.chunk_id, hit.score))
    return sorted((Scored(*item) for item in best.items()), key=lambda hit: (-hit.score, hit.chunk_id))


def together(vectors: Matrix) -> Vector:
    """Several pictures as one: the direction of their sum."""
    total = vectors.sum(axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), dtype=np.float32)


def likeness(cosine: float) -> float:
    """How sure it is that two pictures show the same, 0 to 1."""
    return min(1.0, max(0.0, (cosine - LIKE) / (SAME - LIKE)))


def standardised(hits: Sequence[Scored], sample: Vector) -> list[Scored]:
    """Scores in standard deviations above the mean of a sample; a small sample leans on the prior."""
    count = len(sample)
    own_mean = float(sample.mean()) if count else 0.0
    own_variance = float(sample.var()) if count else 0.0
    mean = (count * own_mean + PRIOR * PRIOR_MEAN) / (count + PRIOR)
    variance = (count * own_variance + PRIOR * PRIOR_SPREAD**2) / (count + PRIOR)
    return [Scored(hit.chunk_id, (hit.score - mean) / variance**0.5) for hit in hits]
