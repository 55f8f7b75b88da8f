"""The blocking client of the service. Made by scripts/sync_client; not edited by hand."""

# ruff: noqa: UP028

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from router.api.convert import (
    answer_from_proto,
    decision_from_proto,
    event_from_proto,
    notices_from_proto,
    picture_from_proto,
    query_to_proto,
    retrieval_from_proto,
    writing,
)
from router.api.convert_decisions import decision_page_from_proto, feedback_to_request
from router.api.convert_documents import acknowledgement_from_proto, page_from_proto, record_from_proto, stats_from_proto, upload_to_proto
from router.client.channel import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, OPTIONS, credential
from router.client.errors import typed_errors
from router.client.policies import Policies, policies_from_proto
from router.corpus.base import Acknowledgement, CorpusStats, DocumentRecord, Upload
from router.pb import (
    corpus_service_pb2,
    corpus_service_pb2_grpc,
    policy_service_pb2,
    policy_service_pb2_grpc,
    router_service_pb2,
    router_service_pb2_grpc,
    types_pb2,
)
from router.types import Answer, AnswerEvent, Feedback, LoggedDecision, Notice, Picture, Query, Retrieval, RouteDecision, TextPart


class RouterClient:
    """Asks a running service. Use it as `with RouterClient(...) as client`.

    Questions take an `instruction`: what to look for relative to their words and pictures; it counts in place of the query's own.

    Every method raises the RouterError that the service raised (class, reason, field, `retry_after_s`; the request id is a note),
    and Unavailable with the reason `SERVICE_UNREACHABLE` when there is no service.

    Args:
        target: Address of the service, `host:port` or any gRPC name.
        api_key: Sent as bearer token.
        timeout_s: Deadline of every call that does not give its own. `ingest` has none unless it is given one.
        tls: Connect with TLS, for services behind a proxy that ends it.
        root_certificates: PEM; None takes the system's.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        tls: bool = False,
        root_certificates: bytes | None = None,
    ) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._metadata = credential(api_key)
        self._credentials = grpc.ssl_channel_credentials(root_certificates) if tls else None

    def __enter__(self) -> RouterClient:
        if self._credentials is None:
            self._channel = grpc.insecure_channel(self._target, OPTIONS)
        else:
            self._channel = grpc.secure_channel(self._target, self._credentials, OPTIONS)
        self._router = router_service_pb2_grpc.RouterServiceStub(self._channel)
        self._corpus = corpus_service_pb2_grpc.CorpusServiceStub(self._channel)
        self._policy = policy_service_pb2_grpc.PolicyServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._channel.close()

    # --- questions --------------------------------------------------------------------------------------------------

    def route(self, query: str | Query, *, instruction: str = "", policy: str = "", timeout_s: float | None = None) -> RouteDecision:
        """Where the answer would be looked for; nothing is retrieved."""
        request = router_service_pb2.RouteRequest(query=_query(query, instruction), policy=policy)
        with typed_errors(self._target):
            reply = self._router.Route(request, timeout=self._within(timeout_s), metadata=self._metadata)
        return decision_from_proto(reply.decision)

    def route_all(
        self, query: str | Query, *, instruction: str = "", timeout_s: float | None = None
    ) -> tuple[RouteDecision, tuple[RouteDecision, ...], tuple[Notice, ...]]:
        """The decision of the configured chain, that of every policy, and who could not decide."""
        request = router_service_pb2.RouteRequest(query=_query(query, instruction), all_policies=True)
        with typed_errors(self._target):
            reply = self._router.Route(request, timeout=self._within(timeout_s), metadata=self._metadata)
        alternatives = tuple(map(decision_from_proto, reply.alternatives))
        return decision_from_proto(reply.decision), alternatives, notices_from_proto(reply.warnings)

    def retrieve(
        self,
        query: str | Query,
        *,
        instruction: str = "",
        sources: Sequence[str] = (),
        policy: str = "",
        limit: int = 0,
        fusion: str = "",
        no_log: bool = False,
        max_cost: float | None = None,
        max_latency_ms: float | None = None,
        experiment_key: str = "",
        timeout_s: float | None = None,
    ) -> Retrieval:
        """Evidence from the chosen sources, fused, best first. Empty options mean the configured ones; `no_log` keeps no record of the call
        to learn from; `experiment_key` names whom an experiment of the service assigns to one of its arms.
        """
        request = router_service_pb2.RetrieveRequest(
            query=_query(query, instruction),
            options=_options(sources, policy, limit, fusion, no_log, max_cost, max_latency_ms, experiment_key),
        )
        with typed_errors(self._target):
            reply = self._router.Retrieve(request, timeout=self._within(timeout_s), metadata=self._metadata)
        return retrieval_from_proto(reply)

    def answer(
        self,
        query: str | Query,
        *,
        instruction: str = "",
        sources: Sequence[str] = (),
        policy: str = "",
        limit: int = 0,
        fusion: str = "",
        no_log: bool = False,
        max_cost: float | None = None,
        max_latency_ms: float | None = None,
        experiment_key: str = "",
        timeout_s: float | None = None,
    ) -> Answer:
        """The answer with its citations and all that it rests on."""
        options = _options(sources, policy, limit, fusion, no_log, max_cost, max_latency_ms, experiment_key)
        request = router_service_pb2.AnswerRequest(query=_query(query, instruction), options=options)
        with typed_errors(self._target):
            reply = self._router.Answer(request, timeout=self._within(timeout_s), metadata=self._metadata)
        return answer_from_proto(reply.answer, reply.request_id)

    def stream_answer(
        self,
        query: str | Query,
        *,
        instruction: str = "",
        sources: Sequence[str] = (),
        policy: str = "",
        limit: int = 0,
        fusion: str = "",
        no_log: bool = False,
        max_cost: float | None = None,
        max_latency_ms: float | None = None,
        experiment_key: str = "",
        timeout_s: float | None = None,
    ) -> Iterator[AnswerEvent]:
        """The decision, the evidence, tokens with citations and notices, then the whole answer. Leaving early cancels the call."""
        request = router_service_pb2.StreamAnswerRequest(
            query=_query(query, instruction),
            options=_options(sources, policy, limit, fusion, no_log, max_cost, max_latency_ms, experiment_key),
        )
        decision: RouteDecision | None = None
        call = self._router.StreamAnswer(request, timeout=self._within(timeout_s), metadata=self._metadata)
        try:
            with typed_errors(self._target):
                for message in call:
                    event = event_from_proto(message, decision)
                    if isinstance(event, RouteDecision):
                        decision = event
                    yield event
        finally:
            call.cancel()

    # --- documents --------------------------------------------------------------------------------------------------

    def ingest(self, uploads: Iterable[Upload], *, timeout_s: float | None = None) -> Iterator[Acknowledgement]:
        """Send documents, slowed down as the service needs; acknowledgements come as things happen, not in the order of the uploads."""
        broken: list[Exception] = []

        def requests() -> Iterator[corpus_service_pb2.IngestDocumentsRequest]:
            # Raised in here, an error of the uploads would reach the caller as a cancelled call.
            try:
                for upload in uploads:
                    yield upload_to_proto(upload)
            except Exception as exc:  # noqa: BLE001 - raised below, when what was sent before is acknowledged
                broken.append(exc)

        call = self._corpus.IngestDocuments(requests(), timeout=timeout_s, metadata=self._metadata)
        try:
            with typed_errors(self._target):
                for message in call:
                    yield acknowledgement_from_proto(message)
        finally:
            call.cancel()
        if broken:
            raise broken[0]

    def delete_document(self, document_id: str, *, timeout_s: float | None = None) -> int:
        """Remove a document everywhere; the number of its passages."""
        request = corpus_service_pb2.DeleteDocumentRequest(document_id=document_id)
        with typed_errors(self._target):
            reply = self._corpus.DeleteDocument(request, timeout=self._within(timeout_s), metadata=self._metadata)
        return reply.chunk_count

    def get_document(self, document_id: str, *, timeout_s: float | None = None) -> tuple[DocumentRecord, str]:
        """A document and its stored text."""
        request = corpus_service_pb2.GetDocumentRequest(document_id=document_id)
        with typed_errors(self._target):
            reply = self._corpus.GetDocument(request, timeout=self._within(timeout_s), metadata=self._metadata)
        return record_from_proto(reply.document), reply.text

    def get_picture(self, picture_id: str, *, timeout_s: float | None = None) -> tuple[Picture, bytes]:
        """A picture of the corpus, as evidence names it, and its file."""
        request = corpus_service_pb2.GetPictureRequest(picture_id=picture_id)
        with typed_errors(self._target):
            reply = self._corpus.GetPicture(request, timeout=self._within(timeout_s), metadata=self._metadata)
        return picture_from_proto(reply.picture), reply.data

    def list_documents(self, *, collection: str = "", page_size: int = 0, timeout_s: float | None = None) -> Iterator[DocumentRecord]:
        """All documents by name; pages are fetched as they are needed."""
        token = ""
        while True:
            request = corpus_service_pb2.ListDocumentsRequest(page_size=page_size, page_token=token, collection=collection)
            with typed_errors(self._target):
                reply = self._corpus.ListDocuments(request, timeout=self._within(timeout_s), metadata=self._metadata)
            page = page_from_proto(reply)
            for document in page.documents:
                yield document
            token = page.next_page_token
            if not token:
                return

    def corpus_stats(self, *, timeout_s: float | None = None) -> CorpusStats:
        """Counts of the caller's tenant."""
        request = corpus_service_pb2.GetCorpusStatsRequest()
        with typed_errors(self._target):
            reply = self._corpus.GetCorpusStats(request, timeout=self._within(timeout_s), metadata=self._metadata)
        return stats_from_proto(reply)

    # --- the policies -----------------------------------------------------------------------------------------------

    def list_policies(self, *, timeout_s: float | None = None) -> Policies:
        """The policies that a call may name, and the sources that they choose among."""
        request = policy_service_pb2.ListPoliciesRequest()
        with typed_errors(self._target):
            reply = self._policy.ListPolicies(request, timeout=self._within(timeout_s), metadata=self._metadata)
        return policies_from_proto(reply)

    def record_feedback(
        self,
        request_id: str,
        *,
        helpful: bool | None = None,
        corrected_answer: str = "",
        clicked_citations: Sequence[int] = (),
        correct_sources: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> None:
        """Tell what a person thought of an answer, in place of what was said of it before.

        Args:
            request_id: Of the answer or retrieval that is judged.
            helpful: Whether it was good; None says nothing.
            corrected_answer: What the answer should have been.
            clicked_citations: Markers of the citations that were followed.
            correct_sources: The sources that would have been right.
            timeout_s: Deadline of the call.
        """
        feedback = Feedback(helpful, corrected_answer, tuple(clicked_citations), tuple(correct_sources))
        request = feedback_to_request(request_id, feedback)
        with typed_errors(self._target):
            self._policy.RecordFeedback(request, timeout=self._within(timeout_s), metadata=self._metadata)

    def list_decisions(self, *, page_size: int = 0, timeout_s: float | None = None) -> Iterator[LoggedDecision]:
        """All logged decisions with their feedback, the oldest first; pages are fetched as they are needed."""
        token = ""
        while True:
            request = policy_service_pb2.ListDecisionsRequest(page_size=page_size, page_token=token)
            with typed_errors(self._target):
                reply = self._policy.ListDecisions(request, timeout=self._within(timeout_s), metadata=self._metadata)
            page = decision_page_from_proto(reply)
            for decision in page.decisions:
                yield decision
            token = page.next_page_token
            if not token:
                return

    # --- the service ------------------------------------------------------------------------------------------------

    def health(self, *, timeout_s: float | None = None) -> dict[str, bool]:
        """Whether each part can serve: the whole service under the empty name, its RPC services, and `source/<name>`."""
        with typed_errors(self._target):
            # The type stubs do not know this newer call.
            request = health_pb2.HealthListRequest()  # type: ignore[attr-defined]
            reply = self._health.List(request, timeout=self._within(timeout_s))  # type: ignore[attr-defined]
        return {name: part.status == health_pb2.HealthCheckResponse.SERVING for name, part in reply.statuses.items()}

    def _within(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else timeout_s


def _query(query: str | Query, instruction: str) -> types_pb2.Query:
    asked = Query((TextPart(query),)) if isinstance(query, str) else query
    return query_to_proto(replace(asked, instruction=instruction) if instruction else asked)


def _options(
    sources: Sequence[str],
    policy: str,
    limit: int,
    fusion: str,
    no_log: bool,
    max_cost: float | None,
    max_latency_ms: float | None,
    experiment_key: str,
) -> types_pb2.RetrievalOptions:
    with writing("options"):
        return types_pb2.RetrievalOptions(
            sources=sources,
            policy=policy,
            limit=limit,
            fusion=fusion,
            no_log=no_log,
            max_cost=max_cost,
            max_latency_ms=max_latency_ms,
            experiment_key=experiment_key,
        )
