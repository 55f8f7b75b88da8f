"""Pictures among the documents: their words, their vectors, and their files, which are kept as long as a passage refers to them.

A file is written before the journal takes its document and removed before the journal forgets it, so that a crash in between leaves a
file too many, which the next start removes, and never one too few.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from router.corpus.base import Upload
from router.corpus.text import LoadedDocument, normalise
from router.errors import NotFound
from router.models.base import PictureEmbedder, PictureLabeller
from router.models.fingerprint import fingerprint
from router.models.pictures import MAX_PIXELS, load_picture
from router.names import readable_name
from router.stores.base import GraphBatch, VectorStore
from router.stores.fingerprints import NearDuplicates
from router.stores.journal import Journal
from router.stores.pictures import PictureStore
from router.stores.vectors import PassageVectors
from router.types import MAX_NEAR_DUPLICATES, Chunk, Matrix, Picture, PictureLabel

WORDS_OF = ("caption", "alt")
"""Metadata that says what a picture shows."""
FINGERPRINTS = "fingerprints 1"
"""Their kind; pictures that were ingested with another, or without, get one when they come again."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Pictures that the encoder has seen."""

    chunks: tuple[Chunk, ...]
    """Their passages, with the labels of the pictures."""
    vectors: Matrix | None
    """One a passage; None without an encoder."""
    fingerprints: Mapping[str, bytes]
    """By picture."""


class CorpusPictures:
    """What the corpus does with pictures.

    Args:
        store: Their files.
        journal: Which passages have which.
        encoder: Makes their vectors; None leaves them to be found by their words.
        version: Of the encoder's weights; another one embeds anew what comes again.
        vector_store: Their vectors, by passage.
        vectors: The same in this process.
        max_pixels: Larger pictures are refused.
        near_duplicates: Their fingerprints in this process.
        sure: Probability from which what the encoder calls a picture is a name in it; None takes no such names.
    """

    def __init__(
        self,
        store: PictureStore,
        journal: Journal,
        encoder: PictureEmbedder | None,
        version: str,
        vector_store: VectorStore,
        vectors: PassageVectors,
        max_pixels: int = MAX_PIXELS,
        near_duplicates: NearDuplicates | None = None,
        sure: float | None = None,
    ) -> None:
        self._store = store
        self._journal = journal
        self._encoder = encoder
        self.version = f"{version} {FINGERPRINTS}"
        self._vector_store = vector_store
        self._vectors = vectors
        self.max_pixels = max_pixels
        self._near_duplicates = near_duplicates or NearDuplicates()
        self.sure = sure if isinstance(encoder, PictureLabeller) else None
        self._taking: Counter[tuple[str, str]] = Counter()
        self._files = asyncio.Lock()

    @asynccontextmanager
    async def kept(self, tenant: str, content: bytes, loaded: LoadedDocument) -> AsyncIterator[tuple[Picture, ...]]:
        """Keep the file of a picture, or those of a document's figures; inside, nothing removes them, so that the journal can take it."""
        files = [(figure.content, figure.picture) for figure in loaded.figures]
        if loaded.picture is not None:
            files = [(content, loaded.picture)]
        pictures = tuple(Picture(hashlib.sha256(file).hexdigest(), seen.mime_type, seen.width, seen.height) for file, seen in files)
        taken = [(tenant, picture.id) for picture in pictures]
        self._taking.update(taken)
        try:
            for picture, (file, seen) in zip(pictures, files, strict=True):
                async with self._files:
                    await self._store.put(tenant, picture.id, file, seen.thumbnail)
            yield pictures
        finally:
            self._taking.subtract(taken)

    async def look(self, tenant: str, chunks: Sequence[Chunk], persist: Any) -> Looked:
        """Embed the pictures among some passages, label those that the encoder has a name for, and take what they are recognised by."""
        pictured = [chunk for chunk in chunks if chunk.picture is not None]
        if not pictured:
            return Looked((), None, {})
        looked: Looked = await persist(self._looked, tenant, pictured)
        return looked

    async def write(self, tenant: str, looked: Looked, persist: Any) -> None:
        """Write what was seen."""
        if not looked.chunks:
            return
        await persist(self._journal.fingerprints.keep, tenant, looked.fingerprints)
        self._near_duplicates.put(tenant, looked.fingerprints)
        if self.sure is not None:
            await persist(self._journal.label_pictures, tenant, looked.chunks)
        if looked.vectors is not None:
            await persist(self._vector_store.upsert, tenant, looked.chunks, looked.vectors)
            await self._vectors.on_written(tenant, looked.chunks, looked.vectors, GraphBatch())

    async def remove(self, tenant: str, document_id: str, persist: Any) -> None:
        """Remove what a document's passages that are gone had: vectors, and files that no other passage has."""
        left = await persist(self._journal.left_pictures, tenant, document_id)
        if not left:
            return
        await persist(self._vector_store.delete_document, tenant, document_id)
        await self._vectors.on_deleted(tenant, document_id)
        for picture_id in set(left.values()):
            await persist(self._remove_file, tenant, picture_id)
        await persist(self._journal.forget_pictures, tenant, list(left))

    async def get(self, tenant: str, picture_id: str) -> tuple[Picture, bytes]:
        """A picture, with its thumbnail, and its file.

        Raises:
            NotFound: No passage of the tenant has it.
        """
        picture = await self._journal.picture(tenant, picture_id)
        if picture is None:
            raise NotFound(f"there is no picture {picture_id!r}", field="picture_id")
        near = self._near_duplicates.of(tenant, picture_id)[:MAX_NEAR_DUPLICATES]
        picture = replace(picture, thumbnail=await self._store.thumbnail(tenant, picture_id), near_duplicates=near)
        return picture, await self._store.read(tenant, picture_id)

    async def sweep(self) -> None:
        """Remove files whose documents the journal never took. At start, before anything is ingested."""
        for tenant in await self._journal.tenants():
            for picture_id in await self._store.ids(tenant) - await self._journal.picture_ids(tenant):
                await self._store.delete(tenant, picture_id)

    async def _remove_file(self, tenant: str, picture_id: str) -> None:
        async with self._files:
            if not self._taking[tenant, picture_id] and await self._journal.picture(tenant, picture_id) is None:
                self._near_duplicates.remove(tenant, picture_id)
                await self._journal.fingerprints.forget(tenant, picture_id)
                await self._store.delete(tenant, picture_id)

    async def _looked(self, tenant: str, chunks: Sequence[Chunk]) -> Looked:
        pictures = [chunk.picture.id for chunk in chunks if chunk.picture is not None]
        files = [await self._store.read(tenant, picture_id) for picture_id in pictures]
        pixels = [await asyncio.to_thread(load_picture, file, max_pixels=self.max_pixels) for file in files]
        fingerprints = dict(zip(pictures, await asyncio.to_thread(lambda: list(map(fingerprint, pixels))), strict=True))
        if self._encoder is None:
            return Looked(tuple(chunks), None, fingerprints)
        if self.sure is None or not isinstance(self._encoder, PictureLabeller):
            return Looked(tuple(chunks), await self._encoder.embed(pixels), fingerprints)
        vectors, labels = await self._encoder.embed_and_label(pixels)
        sure = [tuple(label for label in some if label.probability >= self.sure) for some in labels]
        return Looked(tuple(map(_labelled, chunks, sure)), vectors, fingerprints)


def _labelled(chunk: Chunk, labels: tuple[PictureLabel, ...]) -> Chunk:
    assert chunk.picture is not None
    return replace(chunk, picture=replace(chunk.picture, labels=labels))


def words_of(upload: Upload, title: str, loaded: LoadedDocument) -> str:
    """What is said of a picture: its name, what its metadata says that it shows, and what is written in it. Never empty."""
    said = [normalise(str(upload.metadata[field])).strip() for field in WORDS_OF if field in upload.metadata]
    parts = [part for part in dict.fromkeys([*said, loaded.text.strip()]) if part]
    name = title or normalise(readable_name(upload.name) or PurePosixPath(upload.name).stem).strip() or upload.name
    if name.casefold() not in " ".join(parts).casefold():
        parts.insert(0, name)
    return "\n".join(parts)
