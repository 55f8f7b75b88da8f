"""What a reader is shown of the pictures among the evidence: a thumbnail, and where the lines stand that are written in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from router.errors import NotFound, StoreUnavailable
from router.retrieval.regions import marked
from router.types import Evidence, TextRegion


class Thumbnails(Protocol):
    """Small JPEGs of the pictures (the picture store)."""

    async def thumbnail(self, tenant: str, picture_id: str) -> bytes:
        """Raises NotFound or StoreUnavailable."""


class PictureRegions(Protocol):
    """What is written in pictures (the journal)."""

    async def picture_regions(self, tenant: str, chunk_ids: Collection[str]) -> Mapping[str, tuple[TextRegion, ...]]:
        """By passage, in reading order. Raises StoreUnavailable."""


class Illustrations:
    """Adds both to evidence.

    Args:
        thumbnails: None leaves them out.
        regions: None leaves them out.
    """

    def __init__(self, thumbnails: Thumbnails | None = None, regions: PictureRegions | None = None) -> None:
        self._thumbnails = thumbnails
        self._regions = regions

    async def added(self, tenant: str, question: str, evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """The evidence with them; a picture that was deleted a moment ago, or whose store is down, goes without."""
        pictures = {item.id: item.picture for item in evidence if item.picture is not None}
        if self._regions is not None and pictures:
            with suppress(StoreUnavailable):
                for key, regions in (await self._regions.picture_regions(tenant, pictures)).items():
                    pictures[key] = replace(pictures[key], regions=marked(regions, question))
        if self._thumbnails is not None:
            for key, picture in pictures.items():
                with suppress(NotFound, StoreUnavailable):
                    pictures[key] = replace(picture, thumbnail=await self._thumbnails.thumbnail(tenant, picture.id))
        return tuple(replace(item, picture=pictures.get(item.id)) for item in evidence)
