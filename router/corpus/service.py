"""The corpus as the transports call it: take documents, keep them in the journal, have them indexed, show and remove them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypedDict
from weakref import WeakValueDictionary

import structlog
from pydantic import TypeAdapter, ValidationError

from router.corpus.base import (
    Acknowledgement,
    CorpusObserver,
    CorpusStats,
    DocumentPage,
    DocumentRecord,
    DocumentState,
    Failure,
    GraphBuilder,
    Upload,
)
from router.corpus.chunk import Chunker, document_id, path_at, picture_chunk, to_chunks
from router.corpus.figures import with_figure_words
from router.corpus.indexer import PATIENCE_S, Indexer, Outcome, typed_errors
from router.corpus.load import LOADER_VERSION, Format, format_of
from router.corpus.lost_vectors import LostVectors
from router.corpus.openie import FactExtractor
from router.corpus.parsing import Parser
from router.corpus.pictures import CorpusPictures, with_picture_words
from router.corpus.statements import PassageStatements
from router.corpus.text import LoadedDocument, normalise, rejected
from router.corpus.writing import StoreWriter
from router.errors import InvalidInput, RouterError, StoreUnavailable, Unavailable
from router.filters import check_metadata
from router.models.base import Embedder, EntityRecogniser
from router.settings import CorpusSettings, Name
from router.stores.base import GraphStore, VectorStore
from router.stores.documents import NewDocument
from router.stores.journal import Journal
from router.types import Chunk, Metadata, Notice, Picture

MAX_NAME_CHARS = 1024
MAX_TITLE_CHARS = 1000
TAKEN_AT_ONCE = 8
"""Uploads of one stream that are read and put into the journal at the same time; their bytes are in memory."""
UNFINISHED_AT_ONCE = 256
"""Durable documents of one stream that wait for the indexer; then the stream is read no further."""
OCR_VERSION = "regions 1"
"""Of what is kept of the text in pictures; another one reads them again when they come again."""
_COLLECTION: TypeAdapter[str] = TypeAdapter(Name)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NOTHING_MISSING: Mapping[str, Mapping[str, int]] = {}
_log = structlog.get_logger(__name__)

Tell = Callable[[Acknowledgement], None]


class Corpus:
    """A CorpusService. `start` before use; the stores and models stay the caller's to close."""

    def __init__(
        self,
        settings: CorpusSettings,
        journal: Journal,
        vector_store: VectorStore,
        graph_store: GraphStore,
        embedder: Embedder,
        recogniser: EntityRecogniser,
        builder: GraphBuilder,
        observers: Sequence[CorpusObserver],
        pictures: CorpusPictures,
        patience_s: float = PATIENCE_S,
        extractor: FactExtractor | None = None,
    ) -> None:
        self._settings = settings
        self._extractor = extractor
        self._statements = PassageStatements(journal.statements, extractor)
        self._lost_vectors = LostVectors(journal)
        self._journal = journal
        self._vector_store = vector_store
        self._graph_store = graph_store
        self._pictures = pictures
        self._parser = Parser(
            settings.max_document_chars, max_pixels=pictures.max_pixels, ocr=settings.ocr, max_figures=settings.max_figures
        )
        self._chunker = Chunker(settings.chunk_tokens, settings.chunk_overlap_tokens)
        writer = StoreWriter(
            vector_store, graph_store, embedder, recogniser, self._statements, builder, observers, pictures, settings.batch_chunks
        )
        self._indexer = Indexer(journal, writer, settings.batch_chunks, patience_s)
        self._takers: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def start(self, missing: Mapping[str, Mapping[str, int]] = NOTHING_MISSING) -> None:
        """Take up what an earlier process left unfinished, and index again what the vector store has lost.

        Args:
            missing: Vectors that are not in the store, by tenant and document id; those of documents that wait for the indexer anyway
                are no loss.
        """
        await self._pictures.sweep()
        for tenant, documents in missing.items():
            await self._lost_vectors.index_again(tenant, documents)
        await self._indexer.start()

    async def aclose(self) -> None:
        await self._indexer.aclose()  # answers those who wait for it
        if self._takers:
            await asyncio.wait(self._takers)
        await self._parser.aclose()

    # --- ingest -----------------------------------------------------------------------------------------------------

    async def ingest(self, tenant: str, uploads: AsyncIterator[Upload]) -> AsyncIterator[Acknowledgement]:
        told: asyncio.Queue[Acknowledgement | None] = asyncio.Queue()
        reader = asyncio.create_task(self._read(tenant, uploads, told))
        try:
            while (acknowledgement := await told.get()) is not None:
                yield acknowledgement
            await reader  # raises what the caller's stream raised
        finally:
            # Only the reading ends with a caller who leaves: what was read is taken and indexed all the same.
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, tenant: str, uploads: AsyncIterator[Upload], told: asyncio.Queue[Acknowledgement | None]) -> None:
        taking = asyncio.Semaphore(TAKEN_AT_ONCE)
        unfinished = asyncio.Semaphore(UNFINISHED_AT_ONCE)
        takers: set[asyncio.Task[None]] = set()
        try:
            async for upload in uploads:
                await unfinished.acquire()
                await taking.acquire()
                taker = asyncio.create_task(self._take(tenant, upload, told.put_nowait, taking, unfinished))
                for tasks in (takers, self._takers):
                    tasks.add(taker)
                    taker.add_done_callback(tasks.discard)
            if takers:
                await asyncio.wait(takers)
        finally:
            told.put_nowait(None)

    async def _take(self, tenant: str, upload: Upload, tell: Tell, taking: asyncio.Semaphore, unfinished: asyncio.Semaphore) -> None:
        identity = document_id(tenant, upload.name)
        turn = self._turns.setdefault((tenant, upload.name), asyncio.Lock())
        try:
            try:
                with typed_errors():
                    async with turn:  # the same name twice is taken in its order
                        indexed = await self._make_durable(tenant, identity, upload, tell)
            finally:
                taking.release()
            if indexed is not None:
                tell(_acknowledgement(upload.name, identity, await indexed))
        except RouterError as error:
            tell(Acknowledgement(upload.name, "", DocumentState.FAILED, failure=Failure(error.reason, error.message, error.retryable)))
        finally:
            unfinished.release()

    async def _make_durable(self, tenant: str, identity: str, upload: Upload, tell: Tell) -> asyncio.Future[Outcome] | None:
        """Check, read and journal one upload; what the indexer will say of it, or None when nothing has changed."""
        form = self._check(upload)
        fingerprint = await asyncio.to_thread(self._fingerprint, upload, form)
        standing = (await self._journal.standings(tenant, [identity])).get(identity)
        same = standing if standing is not None and standing.fingerprint == fingerprint else None
        if same is not None and same.state is DocumentState.SEARCHABLE and not await self._is_wanting(tenant, identity):
            tell(Acknowledgement(upload.name, identity, DocumentState.UNCHANGED, same.chunk_count))
            return None
        if same is not None and same.state in (DocumentState.SEARCHABLE, DocumentState.DURABLE):
            chunk_count = same.chunk_count  # it waits for the indexer already, or shall do so again
        else:
            loaded = await self._parser.load(upload.content, form)
            if loaded.left_out:
                _log.info("figures_left_out", tenant=tenant, document=identity, taken=len(loaded.figures), **loaded.left_out)
            async with self._pictures.kept(tenant, upload.content, loaded) as pictures:
                document = await self._document(identity, upload, loaded, pictures, form, fingerprint)
                await self._journal.put(tenant, document)
            chunk_count = len(document.chunks)
        tell(Acknowledgement(upload.name, identity, DocumentState.DURABLE, chunk_count))
        return self._indexer.submit(tenant, identity, chunk_count)

    async def _is_wanting(self, tenant: str, identity: str) -> bool:
        """Whether an unchanged document is worth another turn of the indexer, which it then waits for."""
        if self._extractor is None or not await self._extractor.is_wanting(tenant, identity):
            return False
        await self._journal.statements.open_again(tenant, {identity})
        return True

    def _check(self, upload: Upload) -> Format:
        if not upload.name.strip() or len(upload.name) > MAX_NAME_CHARS or _CONTROL.search(upload.name):
            raise InvalidInput(f"the name must have 1 to {MAX_NAME_CHARS} characters, none of them a control character", field="name")
        if len(upload.title) > MAX_TITLE_CHARS or _CONTROL.search(upload.title):
            raise InvalidInput(f"the title may have {MAX_TITLE_CHARS} characters, none of them a control character", field="title")
        try:
            _COLLECTION.validate_python(upload.collection)
        except ValidationError as exc:
            allowed = "a small letter, then at most 62 small letters, digits, '_' or '-'"
            raise InvalidInput(f"the collection {upload.collection!r} is not allowed: {allowed}", field="collection") from exc
        check_metadata(upload.metadata, "metadata")
        if len(upload.content) > self._settings.max_document_bytes:
            limit = f"{self._settings.max_document_bytes:,}"
            raise rejected("TOO_LARGE", f"the file has {len(upload.content):,} bytes; at most {limit} are taken")
        return format_of(upload.name, upload.mime_type)

    def _fingerprint(self, upload: Upload, form: Format) -> str:
        """Of all that decides what the stores will hold."""
        parts = [
            LOADER_VERSION,
            self._settings.chunk_tokens,
            self._settings.chunk_overlap_tokens,
            form.mime_type,
            upload.title,
            upload.collection,
            dict(upload.metadata),
            hashlib.sha256(upload.content).hexdigest(),
        ]
        if self._extractor is not None:
            parts.append(self._extractor.name)
        if form.is_picture or form.has_figures:
            parts += [self._pictures.version(form.mime_type), self._settings.ocr and OCR_VERSION, self._pictures.sure]
        if form.has_figures:
            parts.append(self._settings.max_figures)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    async def _document(
        self, identity: str, upload: Upload, loaded: LoadedDocument, pictures: Sequence[Picture], form: Format, fingerprint: str
    ) -> NewDocument:
        title = " ".join(normalise(upload.title or loaded.title).split())[:MAX_TITLE_CHARS]
        if form.is_picture:
            loaded = with_picture_words(upload, title, loaded)
        elif loaded.figures:
            loaded = with_figure_words(loaded)
        chunks = () if loaded.triples else await asyncio.to_thread(self._chunks, identity, upload, title, loaded, pictures, form)
        return NewDocument(
            id=identity,
            name=upload.name,
            title=title,
            collection=upload.collection,
            mime_type=loaded.picture.mime_type if loaded.picture is not None else form.mime_type,
            metadata=upload.metadata,
            fingerprint=fingerprint,
            size_bytes=len(upload.content),
            text=loaded.text,
            chunks=chunks,
        )

    def _chunks(
        self, identity: str, upload: Upload, title: str, loaded: LoadedDocument, pictures: Sequence[Picture], form: Format
    ) -> tuple[Chunk, ...]:
        of_document = _OfDocument(
            document_id=identity, document_name=upload.name, collection=upload.collection, title=title, metadata=upload.metadata
        )
        if loaded.picture is not None and not loaded.figures:
            return (picture_chunk(loaded.text, pictures[0], **of_document),)
        chunks = () if form.is_picture else to_chunks(loaded.text, self._chunker.passages(loaded), **of_document)
        # After all passages, so that those stay neighbours and the document still opens with its own words.
        figures = []
        for ordinal, (figure, picture) in enumerate(zip(loaded.figures, pictures, strict=True), start=len(chunks)):
            start, words = figure.place.start, loaded.text[figure.place.start : figure.place.end]
            headings = (*path_at(loaded.headings, start), *figure.where)
            figures.append(picture_chunk(words, picture, **of_document, ordinal=ordinal, headings=headings, start=start))
        return (*chunks, *figures)

    # --- the rest ---------------------------------------------------------------------------------------------------

    async def delete(self, tenant: str, document_id: str) -> int:
        """Remove a document everywhere; its number of passages.

        Raises:
            NotFound: There is no such document.
            StoreUnavailable: It is out of sight, but a store is down; what that store holds goes when it is back.
        """
        chunk_count = await self._journal.begin_delete(tenant, document_id)
        outcome = await self._indexer.submit(tenant, document_id, 0, first=True)
        if outcome.failure is not None:
            raise StoreUnavailable(f"the deletion is recorded, but not finished: {outcome.failure.message}", reason=outcome.failure.reason)
        return chunk_count

    async def get(self, tenant: str, document_id: str) -> tuple[DocumentRecord, str]:
        return await self._journal.get(tenant, document_id)

    async def picture(self, tenant: str, picture_id: str) -> tuple[Picture, bytes]:
        return await self._pictures.get(tenant, picture_id)

    async def list(self, tenant: str, *, page_size: int = 100, page_token: str = "", collection: str = "") -> DocumentPage:
        return await self._journal.page(tenant, page_size=page_size, page_token=page_token, collection=collection)

    async def stats(self, tenant: str) -> CorpusStats:
        documents, chunk_count = await self._journal.counts(tenant)
        notices: list[Notice] = []
        vector_count: int | None = None
        graph: Mapping[str, int] = {}
        try:
            vector_count = await self._vector_store.count(tenant)
        except Unavailable as error:
            notices.append(Notice(error.reason, f"the vector store does not answer: {error.message}"))
        try:
            graph = await self._graph_store.counts(tenant)
        except Unavailable as error:
            notices.append(Notice(error.reason, f"the graph store does not answer: {error.message}"))
        notices += await self._lost_vectors.notices(tenant)
        notices += await self._statements.notices(tenant)
        return CorpusStats(documents, chunk_count, vector_count, graph, tuple(notices))


class _OfDocument(TypedDict):
    """What all passages of a document have in common."""

    document_id: str
    document_name: str
    collection: str
    title: str
    metadata: Metadata


def _acknowledgement(name: str, identity: str, outcome: Outcome) -> Acknowledgement:
    if outcome.state is None:
        gone = Failure("DELETED", "the document was deleted before it became searchable")
        return Acknowledgement(name, identity, DocumentState.FAILED, failure=gone)
    state = DocumentState.FAILED if outcome.failure is not None else outcome.state
    return Acknowledgement(name, identity, state, outcome.chunk_count, outcome.failure)
