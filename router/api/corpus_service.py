"""`CorpusService` over the corpus."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from pydantic import TypeAdapter, ValidationError

from router.api.convert import picture_to_proto
from router.api.convert_documents import acknowledgement_to_proto, page_to_proto, record_to_proto, stats_to_proto, upload_from_proto
from router.api.interceptors import Context, current_caller
from router.api.streams import closing
from router.corpus.base import Acknowledgement, CorpusService, DocumentState, Failure, Upload
from router.errors import InvalidInput
from router.pb import corpus_service_pb2 as pb
from router.pb import corpus_service_pb2_grpc as pb_grpc
from router.settings import Name

DEFAULT_PAGE_SIZE = 100
_COLLECTION: TypeAdapter[str] = TypeAdapter(Name)


class CorpusServicer(pb_grpc.CorpusServiceServicer):
    def __init__(self, corpus: CorpusService) -> None:
        self._corpus = corpus

    async def IngestDocuments(
        self, request_iterator: AsyncIterable[pb.IngestDocumentsRequest], context: Context
    ) -> AsyncIterator[pb.IngestDocumentsResponse]:
        """A request is read when the corpus asks for the next document, and an acknowledgement waits until the one before is written:
        a busy corpus slows its sender down, and so does a caller who does not read.
        """
        tenant = current_caller().tenant
        outcomes: asyncio.Queue[Acknowledgement | None] = asyncio.Queue()

        async def tell(acknowledgement: Acknowledgement) -> None:
            outcomes.put_nowait(acknowledgement)
            await outcomes.join()

        async def uploads() -> AsyncIterator[Upload]:
            async for request in request_iterator:
                try:
                    upload = upload_from_proto(request)
                except InvalidInput as error:  # a document that cannot be read as one ends neither the stream nor the others
                    failure = Failure(error.reason, f"{error.field}: {error.message}")
                    await tell(Acknowledgement(request.name, "", DocumentState.FAILED, failure=failure))
                else:
                    yield upload

        async def take_all() -> None:
            async with closing(self._corpus.ingest(tenant, uploads())) as acknowledgements:
                async for acknowledgement in acknowledgements:
                    await tell(acknowledgement)

        worker = asyncio.create_task(take_all())
        worker.add_done_callback(lambda _: outcomes.put_nowait(None))
        try:
            while (outcome := await outcomes.get()) is not None:
                yield acknowledgement_to_proto(outcome)
                outcomes.task_done()
            worker.result()
        finally:
            worker.cancel()
            await asyncio.wait({worker})

    async def DeleteDocument(self, request: pb.DeleteDocumentRequest, context: Context) -> pb.DeleteDocumentResponse:
        _require(request.document_id, "document_id")
        return pb.DeleteDocumentResponse(chunk_count=await self._corpus.delete(current_caller().tenant, request.document_id))

    async def GetDocument(self, request: pb.GetDocumentRequest, context: Context) -> pb.GetDocumentResponse:
        _require(request.document_id, "document_id")
        record, text = await self._corpus.get(current_caller().tenant, request.document_id)
        return pb.GetDocumentResponse(document=record_to_proto(record), text=text)

    async def GetPicture(self, request: pb.GetPictureRequest, context: Context) -> pb.GetPictureResponse:
        if not request.picture_id:
            raise InvalidInput("picture_id is empty: name a picture", field="picture_id")
        picture, data = await self._corpus.picture(current_caller().tenant, request.picture_id)
        return pb.GetPictureResponse(picture=picture_to_proto(picture), data=data)

    async def ListDocuments(self, request: pb.ListDocumentsRequest, context: Context) -> pb.ListDocumentsResponse:
        if request.collection:
            try:
                _COLLECTION.validate_python(request.collection)
            except ValidationError as exc:
                message = "a collection's name is a lower-case letter, then up to 62 of a-z, 0-9, - and _"
                raise InvalidInput(message, field="collection") from exc
        page = await self._corpus.list(
            current_caller().tenant,
            page_size=request.page_size or DEFAULT_PAGE_SIZE,
            page_token=request.page_token,
            collection=request.collection,
        )
        return page_to_proto(page)

    async def GetCorpusStats(self, request: pb.GetCorpusStatsRequest, context: Context) -> pb.GetCorpusStatsResponse:
        return stats_to_proto(await self._corpus.stats(current_caller().tenant))


def _require(value: str, field: str) -> None:
    if not value:
        raise InvalidInput(f"{field} is empty: name a document", field=field)
