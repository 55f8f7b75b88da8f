"""The pictures of the question and of the evidence, for a language model that sees."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router.errors import NotFound, PictureRejected, StoreUnavailable
from router.models.picture_file import as_jpeg
from router.models.pictures import MAX_PIXELS, load_picture
from router.stores.pictures import PictureStore
from router.types import Evidence, ImagePart, Notice, Query

SIDE = 768
"""Larger pictures are reduced to this, in pixels: the words of a diagram can still be read, and most models look no closer."""
OF_THE_QUESTION = 0
"""The number of a picture that no evidence has."""


@dataclass(frozen=True, slots=True)
class ShownPicture:
    number: int
    """Of its evidence, from 1; or OF_THE_QUESTION."""
    jpeg: bytes


class PicturesToShow:
    """Reads what fits into a prompt: the question's pictures, then those of the evidence in its order.

    Args:
        store: Files of the corpus.
        limit: Pictures at most.
        max_pixels: Larger pictures are left out.
    """

    def __init__(self, store: PictureStore, limit: int, max_pixels: int = MAX_PIXELS) -> None:
        self._store = store
        self._limit = limit
        self._max_pixels = max_pixels

    async def read(
        self, tenant: str, query: Query, evidence: Sequence[Evidence], tokens: int
    ) -> tuple[tuple[ShownPicture, ...], tuple[Notice, ...]]:
        """The pictures, together within so many tokens. One that cannot be read (deleted a moment ago) is left out; a notice says so."""
        shown: list[ShownPicture] = []
        unread = 0
        for number, picture in _candidates(query, evidence):
            if len(shown) == self._limit:
                break
            try:
                content = picture if isinstance(picture, bytes) else await self._store.read(tenant, picture)
                jpeg, width, height = await asyncio.to_thread(self._reduced, content)
            except (NotFound, StoreUnavailable, PictureRejected):
                unread += 1
                continue
            taken = count_picture_tokens(width, height)
            if taken <= tokens:
                shown.append(ShownPicture(number, jpeg))
                tokens -= taken
        notices = (Notice("PICTURES_NOT_SHOWN", f"pictures that the model did not see, since they cannot be read: {unread}"),)
        return tuple(shown), notices if unread else ()

    def _reduced(self, content: bytes) -> tuple[bytes, int, int]:
        return as_jpeg(load_picture(content, max_pixels=self._max_pixels), SIDE)


def count_picture_tokens(width: int, height: int) -> int:
    """An estimate that is rarely too small: models differ, so the greater of two rules counts.

    85 and 170 for each tile of 512 pixels begun (GPT-4o), or one for 750 pixels (Claude; Qwen-VL has one for 784): 765 or 786 for the
    largest picture that is shown.
    """
    return max(85 + 170 * math.ceil(width / 512) * math.ceil(height / 512), math.ceil(width * height / 750))


def _candidates(query: Query, evidence: Sequence[Evidence]) -> Iterator[tuple[int, bytes | str]]:
    """Files of the question and ids of the corpus, each photo once: a copy in another size tells the model nothing new. No sounds."""
    for part in query.parts:
        if isinstance(part, ImagePart):
            yield OF_THE_QUESTION, part.data
    seen: set[str] = set()
    for number, item in enumerate(evidence, start=1):
        if item.picture is not None and item.picture.mime_type.startswith("image/") and item.picture.id not in seen:
            seen |= {item.picture.id, *item.picture.near_duplicates}
            yield number, item.picture.id
