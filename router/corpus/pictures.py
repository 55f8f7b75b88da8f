"""Pictures among the documents: their words, their vectors, and their files, which are kept as long as a passage refers to them.

A file is written before the journal takes its document and removed before the journal forgets it, so that a crash in between leaves a
file too many, which the next start removes, and never one too few.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from router.corpus.base import Upload
from router.corpus.text import LoadedDocument, normalise
from router.errors import NotFound
from router.models.base import Encoder, PictureEmbedder, PictureLabeller
from router.models.fingerprint import fingerprint
from router.models.pictures import MAX_PIXELS, load_picture
from router.names import readable_name
from router.stores.base import GraphBatch, VectorStore
from router.stores.fingerprints import NearDuplicates
from router.stores.journal import Journal
from router.stores.pictures import PictureStore
from router.stores.vectors import PassageVectors
from router.types import MAX_NEAR_DUPLICATES, Chunk, Matrix, Picture, PictureLabel, Span

WORDS_OF = ("caption", "alt")
"""Metadata that says what a picture shows."""
FINGERPRINTS = "fingerprints 1"
"""Their kind; pictures that were ingested with another, or without, get one when they come again."""


@dataclass(frozen=True, slots=True)
class FileVectors:
    """The vectors of files of one kind: pictures, or others that are kept as such."""

    kind: str
    """How their media types begin."""
    decode: Callable[[bytes], Any]
    """A file to what the encoder takes. Blocking."""
    encoder: Encoder[Any] | None
    """None leaves them to be found by their words."""
    version: str
    """Of the encoder's weights and of what else is made of them."""
    vector_store: VectorStore
    vectors: PassageVectors
    """The same in this process."""

    def of(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Those whose file is of this kind."""
        return [chunk for chunk in chunks if chunk.picture is not None and chunk.picture.mime_type.startswith(self.kind)]


@dataclass(frozen=True, slots=True)
class Looked:
    """Files of one kind that were decoded once, for all that is made of them."""

    kind: FileVectors
    chunks: tuple[Chunk, ...]
    """Their passages, with the labels of pictures."""
    vectors: Matrix | None
    """One a passage; None without an encoder."""
    fingerprints: Mapping[str, bytes]
    """Of pictures, by id."""


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
        near_duplicates: NearDuplicates | None = None,
        sure: float | None = None,
        others: Sequence[FileVectors] = (),
    ) -> None:
        self._store = store
        self._journal = journal
        self.max_pixels = max_pixels
        self._near_duplicates = near_duplicates or NearDuplicates()
        load = partial(load_picture, max_pixels=max_pixels)
        self._of_pictures = FileVectors("image/", load, encoder, f"{version} {FINGERPRINTS}", vector_store, vectors)
        self.kinds = (self._of_pictures, *others)
        """Those whose files have vectors."""
        self.sure = sure if isinstance(encoder, PictureLabeller) else None
        self._taking: Counter[tuple[str, str]] = Counter()
        self._files = asyncio.Lock()

    def version(self, mime_type: str) -> str:
        """Of what is made of the files of documents of a type; another one makes it anew when they come again."""
        return next((kind.version for kind in self.kinds if mime_type.startswith(kind.kind)), self._of_pictures.version)

    @asynccontextmanager
    async def kept(self, tenant: str, content: bytes, loaded: LoadedDocument) -> AsyncIterator[tuple[Picture, ...]]:
        """Keep the file of a picture, or those of a document's figures; inside, nothing removes them, so that the journal can take it."""
        files = [(figure.content, figure.picture) for figure in loaded.figures]
        if loaded.picture is not None and not files:
            files = [(content, loaded.picture)]
        pictures = tuple(
            Picture(hashlib.sha256(file).hexdigest(), seen.mime_type, seen.width, seen.height, regions=seen.regions) for file, seen in files
        )
        taken = [(tenant, picture.id) for picture in pictures]
        self._taking.update(taken)
        try:
            for picture, (file, seen) in zip(pictures, files, strict=True):
                async with self._files:
                    await self._store.put(tenant, picture.id, file, seen.thumbnail)
            yield pictures
        finally:
            self._taking.subtract(taken)

    async def look(self, tenant: str, chunks: Sequence[Chunk], persist: Any) -> tuple[Looked, ...]:
        """Embed the files among some passages, label the pictures that the encoder has a name for, and take what they are recognised by."""
        return tuple([await persist(self._looked, tenant, kept, kind) for kind in self.kinds if (kept := kind.of(chunks))])

    async def write(self, tenant: str, looked: Sequence[Looked], persist: Any) -> None:
        """Write what was seen."""
        for seen in looked:
            if seen.fingerprints:
                await persist(self._journal.fingerprints.keep, tenant, seen.fingerprints)
                self._near_duplicates.put(tenant, seen.fingerprints)
            if seen.kind is self._of_pictures and self.sure is not None:
                await persist(self._journal.label_pictures, tenant, seen.chunks)
            if seen.vectors is not None:
                await persist(seen.kind.vector_store.upsert, tenant, seen.chunks, seen.vectors)
                await seen.kind.vectors.on_written(tenant, seen.chunks, seen.vectors, GraphBatch())

    async def remove(self, tenant: str, document_id: str, persist: Any) -> None:
        """Remove what a document's passages that are gone had: vectors, and files that no other passage has."""
        left = await persist(self._journal.left_pictures, tenant, document_id)
        if not left:
            return
        for kind in self.kinds:
            await persist(kind.vector_store.delete_document, tenant, document_id)
            await kind.vectors.on_deleted(tenant, document_id)
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

    async def _looked(self, tenant: str, chunks: Sequence[Chunk], kind: FileVectors) -> Looked:
        ids = [chunk.picture.id for chunk in chunks if chunk.picture is not None]
        decoded = {key: await asyncio.to_thread(kind.decode, await self._store.read(tenant, key)) for key in dict.fromkeys(ids)}
        fingerprints: dict[str, bytes] = {}
        if kind is self._of_pictures:
            fingerprints = await asyncio.to_thread(lambda: {key: fingerprint(pixels) for key, pixels in decoded.items()})
        if kind.encoder is None:
            return Looked(kind, tuple(chunks), None, fingerprints)
        things = [decoded[key] for key in ids]
        if kind is not self._of_pictures or self.sure is None or not isinstance(kind.encoder, PictureLabeller):
            return Looked(kind, tuple(chunks), await kind.encoder.embed(things), fingerprints)
        vectors, labels = await kind.encoder.embed_and_label(things)
        sure = [tuple(label for label in some if label.probability >= self.sure) for some in labels]
        return Looked(kind, tuple(map(_labelled, chunks, sure)), vectors, fingerprints)


def _labelled(chunk: Chunk, labels: tuple[PictureLabel, ...]) -> Chunk:
    assert chunk.picture is not None
    return replace(chunk, picture=replace(chunk.picture, labels=labels))


def with_picture_words(upload: Upload, title: str, loaded: LoadedDocument) -> LoadedDocument:
    """The document of a picture, or of frames, with what is said of it as its text; of each frame also what is written in that one."""
    words = words_of(upload, title, loaded)
    if not loaded.figures:
        return replace(loaded, text=words)
    said = ["\n".join(filter(None, (words, frame.words))) for frame in loaded.figures]
    text = "\n\n".join(dict.fromkeys(said))
    starts = map(text.index, said)  # frames of which the same is said share its place
    places = [Span(start, start + len(words)) for start, words in zip(starts, said, strict=True)]
    frames = tuple(replace(frame, place=place) for frame, place in zip(loaded.figures, places, strict=True))
    return replace(loaded, text=text, figures=frames)


def words_of(upload: Upload, title: str, loaded: LoadedDocument) -> str:
    """What is said of a picture: its name, what its metadata says that it shows, and what is written in it. Never empty."""
    said = [normalise(str(upload.metadata[field])).strip() for field in WORDS_OF if field in upload.metadata]
    parts = [part for part in dict.fromkeys([*said, loaded.text.strip()]) if part]
    name = title or normalise(readable_name(upload.name) or PurePosixPath(upload.name).stem).strip() or upload.name
    if name.casefold() not in " ".join(parts).casefold():
        parts.insert(0, name)
    return "\n".join(parts)
