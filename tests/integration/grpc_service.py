"""A real server on a free port over small parts, and raw access to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2_grpc

from router.api.server import Server, serving
from router.api.status import DETAILS_KEY
from router.corpus.base import CorpusService
from router.engine import Engine
from router.pb import corpus_service_pb2_grpc, policy_service_pb2_grpc, router_service_pb2_grpc
from router.settings import JournalSettings, LearningSettings, ServerSettings, Settings
from router.stores.decision_log import DecisionLog
from router.stores.journal import open_journal
from router.testing.corpus import InMemoryCorpus
from router.testing.engine import ListRetriever, small_engine
from router.types import Evidence, EvidenceKind, PathStep, Picture, Provenance, Span

PASSAGE = Evidence(
    id="chunk-1",
    kind=EvidenceKind.PASSAGE,
    title="Lanterns",
    text="Ada keeps the lantern lit.",
    provenance=(Provenance("vector", 1, 0.75, "cosine", (PathStep("Ada", "keeps", "lantern"),)),),
    document_id="doc-1",
    uri="notes/lanterns.md",
    span=Span(10, 36),
    headings=("Harbour", "Lights"),
    metadata={"year": 2024, "tags": ("light", "harbour"), "ratio": 0.5, "draft": False, "author": "Ada"},
    recorded=True,
    shares={"vector": 0.75, "graph": 0.25},
    picture=Picture("ab", "image/png", 4, 3, b"a small JPEG", ("cd",)),
)


@dataclass(frozen=True)
class SmallComponent:
    name: str
    check: Any
    source: str = ""


@dataclass
class SmallApp:
    """What the server needs of `router.app.App`, without its backends."""

    engine: Engine = field(default_factory=lambda: small_engine({"vector": ListRetriever([PASSAGE])}))
    corpus: CorpusService = field(default_factory=InMemoryCorpus)
    components: Sequence[SmallComponent] = ()
    policy_descriptions: Mapping[str, str] = field(default_factory=lambda: {"rules": "By rules.", "all": "Everything."})
    settings: Settings = field(default_factory=Settings)
    decisions: DecisionLog | None = None
    """What its engine decides; `running` opens it."""


@dataclass
class Service:
    server: Server
    target: str
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.router = router_service_pb2_grpc.RouterServiceStub(self.channel)
        self.corpus = corpus_service_pb2_grpc.CorpusServiceStub(self.channel)
        self.policies = policy_service_pb2_grpc.PolicyServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)


@asynccontextmanager
async def decision_log(settings: LearningSettings | None = None) -> AsyncIterator[DecisionLog]:
    """A real log on a journal of its own."""
    with TemporaryDirectory() as folder:
        journal = await open_journal(JournalSettings(), Path(folder))
        log = DecisionLog(journal.decisions, settings or LearningSettings())
        await log.start()
        try:
            yield log
        finally:
            await log.aclose()
            await journal.aclose()


@asynccontextmanager
async def logging_decisions(app: SmallApp) -> AsyncIterator[SmallApp]:
    """The app with a log of what its engine decides."""
    async with decision_log(app.settings.learning) as log:
        app.engine.observer = log
        yield replace(app, decisions=log)


@asynccontextmanager
async def running(app: SmallApp | None = None, *, health_interval_s: float = 0.02, **settings: Any) -> AsyncIterator[Service]:
    settings = {"port": 0, "graceful_stop_s": 0.2, **settings}
    async with (
        logging_decisions(app or SmallApp()) as app,
        serving(app, ServerSettings(**settings), health_interval_s=health_interval_s) as server,  # type: ignore[arg-type]
    ):
        target = f"127.0.0.1:{server.port}"
        async with grpc.aio.insecure_channel(target) as channel:
            yield Service(server, target, channel)


@dataclass(frozen=True)
class Failure:
    """A failed call, with its details unpacked."""

    code: grpc.StatusCode
    message: str
    reason: str
    field: str | None
    retry_s: float | None
    request_id: str


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    found = {
        packed.TypeName(): packed.Unpack(kind) for packed in status.details for kind in (info, request, retry) if packed.Is(kind.DESCRIPTOR)
    }
    assert found["google.rpc.ErrorInfo"]
    assert status.code == error.code().value[0]
    return Failure(
        error.code(),
        error.details() or "",
        info.reason,
        request.field_violations[0].field if request.field_violations else None,
        retry.retry_delay.ToMilliseconds() / 1000 if "google.rpc.RetryInfo" in found else None,
        info.metadata["request_id"],
    )


async def collected(stream: Any) -> tuple[list[Any], Failure | None]:
    """What a stream brought until its end or its failure."""
    replies = []
    try:
        async for reply in stream:
            replies.append(reply)  # noqa: PERF401 - what came before a failure counts
    except grpc.aio.AioRpcError as error:
        return replies, failure_of(error)
    return replies, None


async def failed(call: Any) -> Failure:
    """The failure of a call that must fail."""
    try:
        if hasattr(call, "__aiter__"):
            await collected_all(call)
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return failure_of(error)
    raise AssertionError("the call did not fail")


async def collected_all(stream: Any) -> list[Any]:
    return [reply async for reply in stream]
