"""Pictures among the documents: their words, their vectors, and their files, which are kept as long as a passage refers to them.

A file is written before the journal takes its document and removed before the journal forgets it, so that a crash in between leaves a
file too many, which the next start removes, and never one too few.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from router.corpus.base import Upload
from router.corpus.text import LoadedDocument, normalise
from router.errors import NotFound
from router.models.base import Encoder, PictureEmbedder
from router.models.pictures import MAX_PIXELS, load_picture
from router.names import readable_name
from router.stores.base import GraphBatch, VectorStore
from router.stores.journal import Journal
from router.stores.pictures import PictureStore
from router.stores.vectors import PassageVectors
from router.types import Chunk, Matrix, Picture

WORDS_OF = ("caption", "alt")
"""Metadata that says what a picture shows."""


@dataclass(frozen=True, slots=True)
class FileVectors:
    """The vectors of files of one kind that are no pictures, but kept as such."""

    kind: str
    """How their media types begin."""
    decode: Callable[[bytes], Any]
    """A file to what the encoder takes. Blocking."""
    encoder: Encoder[Any]
    version: str
    """Of the encoder's weights."""
    vector_store: VectorStore
    vectors: PassageVectors
    """The same in this process."""


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
        others: Other kinds of files with vectors of their own.
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
        others: Sequence[FileVectors] = (),
    ) -> None:
        self._store = store
        self._journal = journal
        self._version = version
        self._kept_in = [(vector_store, vectors), *((other.vector_store, other.vectors) for other in others)]
        self.max_pixels = max_pixels
        load = partial(load_picture, max_pixels=max_pixels)
        of_pictures = () if encoder is None else (FileVectors("image/", load, encoder, version, vector_store, vectors),)
        self._kinds = (*of_pictures, *others)
        self._taking: Counter[tuple[str, str]] = Counter()
        self._files = asyncio.Lock()

    def version(self, mime_type: str) -> str:
        """Of the weights that embed files of a type; another one embeds anew what comes again."""
        return next((kind.version for kind in self._kinds if mime_type.startswith(kind.kind)), self._version)

    @asynccontextmanager
    async def kept(self, tenant: str, content: bytes, loaded: LoadedDocument) -> AsyncIterator[tuple[Picture, ...]]:
        """Keep the file of a picture, or those of the frames; inside, nothing removes them, so that the journal can take their document."""
        files = [(frame.content, frame.picture) for frame in loaded.frames] or ([(content, loaded.picture)] if loaded.picture else [])
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

    async def write(self, tenant: str, chunks: Sequence[Chunk], persist: Any) -> None:
        """Embed and write the pictures among some passages."""
        for kind in self._kinds:
            if pictured := [chunk for chunk in chunks if chunk.picture is not None and chunk.picture.mime_type.startswith(kind.kind)]:
                vectors = await persist(self._embedded, tenant, pictured, kind)
                await persist(kind.vector_store.upsert, tenant, pictured, vectors)
                await kind.vectors.on_written(tenant, pictured, vectors, GraphBatch())

    async def remove(self, tenant: str, document_id: str, persist: Any) -> None:
        """Remove what a document's passages that are gone had: vectors, and files that no other passage has."""
        left = await persist(self._journal.left_pictures, tenant, document_id)
        if not left:
            return
        for vector_store, vectors in self._kept_in:
            await persist(vector_store.delete_document, tenant, document_id)
            await vectors.on_deleted(tenant, document_id)
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
        return replace(picture, thumbnail=await self._store.thumbnail(tenant, picture_id)), await self._store.read(tenant, picture_id)

    async def sweep(self) -> None:
        """Remove files whose documents the journal never took. At start, before anything is ingested."""
        for tenant in await self._journal.tenants():
            for picture_id in await self._store.ids(tenant) - await self._journal.picture_ids(tenant):
                await self._store.delete(tenant, picture_id)

    async def _remove_file(self, tenant: str, picture_id: str) -> None:
        async with self._files:
            if not self._taking[tenant, picture_id] and await self._journal.picture(tenant, picture_id) is None:
                await self._store.delete(tenant, picture_id)

    async def _embedded(self, tenant: str, chunks: Sequence[Chunk], kind: FileVectors) -> Matrix:
        files = [await self._store.read(tenant, chunk.picture.id) for chunk in chunks if chunk.picture is not None]
        return await kind.encoder.embed([await asyncio.to_thread(kind.decode, file) for file in files])


def with_words(upload: Upload, title: str, loaded: LoadedDocument) -> LoadedDocument:
    """The document of a picture, or of frames, with what is said of it as its text; of each frame also what is written in that one."""
    words = words_of(upload, title, loaded)
    if not loaded.frames:
        return replace(loaded, text=words)
    frames = tuple(replace(frame, text="\n".join(filter(None, (words, frame.text)))) for frame in loaded.frames)
    return replace(loaded, text="\n\n".join(dict.fromkeys(frame.text for frame in frames)), frames=frames)


def words_of(upload: Upload, title: str, loaded: LoadedDocument) -> str:
    """What is said of a picture: its name, what its metadata says that it shows, and what is written in it. Never empty."""
    said = [normalise(str(upload.metadata[field])).strip() for field in WORDS_OF if field in upload.metadata]
    parts = [part for part in dict.fromkeys([*said, loaded.text.strip()]) if part]
    name = title or normalise(readable_name(upload.name) or PurePosixPath(upload.name).stem).strip() or upload.name
    if name.casefold() not in " ".join(parts).casefold():
        parts.insert(0, name)
    return "\n".join(parts)
