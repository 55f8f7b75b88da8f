"""Questions, decisions, evidence and answers: the messages of the contract and `router.types`, both ways.

What the wire can say and our types cannot (a value of no kind, a turn of no role) is refused here, with the path of the field in
the message. Whether a well-formed value makes sense is for the rooms behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, TypeVar, cast

from router.errors import InternalError, InvalidInput
from router.pb import router_service_pb2 as router_pb
from router.pb import types_pb2 as pb
from router.types import (
    Answer,
    AnswerEvent,
    Citation,
    Condition,
    CorrectiveTurn,
    Evidence,
    EvidenceKind,
    Filter,
    ImagePart,
    ImageUriPart,
    Metadata,
    MetadataValue,
    Notice,
    Part,
    PathStep,
    Picture,
    Provenance,
    Query,
    Retrieval,
    Route,
    RouteDecision,
    Scalar,
    SourceCode,
    SourceReport,
    Span,
    TextPart,
    TextRegion,
    Timings,
    Token,
    Turn,
)

E = TypeVar("E", bound=Enum)

_ROLES = {"user": pb.ROLE_USER, "assistant": pb.ROLE_ASSISTANT}
_EVIDENCE_KINDS = {
    EvidenceKind.PASSAGE: pb.EVIDENCE_KIND_PASSAGE,
    EvidenceKind.FACT: pb.EVIDENCE_KIND_FACT,
    EvidenceKind.WEB_PAGE: pb.EVIDENCE_KIND_WEB_PAGE,
    EvidenceKind.SUMMARY: pb.EVIDENCE_KIND_SUMMARY,
}
SOURCE_CODES = {
    SourceCode.OK: pb.SOURCE_CODE_OK,
    SourceCode.DEGRADED: pb.SOURCE_CODE_DEGRADED,
    SourceCode.UNAVAILABLE: pb.SOURCE_CODE_UNAVAILABLE,
    SourceCode.DEADLINE_EXCEEDED: pb.SOURCE_CODE_DEADLINE_EXCEEDED,
    SourceCode.FAILED: pb.SOURCE_CODE_FAILED,
}

# --- the question ---------------------------------------------------------------------------------------------------


def query_from_proto(message: pb.Query) -> Query:
    """Raises InvalidInput for a part without content, a turn without role, a condition without test, a value without kind."""
    return Query(
        tuple(_part(part, f"query.parts[{number}]") for number, part in enumerate(message.parts)),
        tuple(Turn(_role(turn, f"query.history[{number}]"), turn.text) for number, turn in enumerate(message.history)),
        filter_from_proto(message.filter, "query.filter"),
        message.instruction,
    )


def query_to_proto(query: Query) -> pb.Query:
    """Raises InvalidInput for text that is not Unicode and for numbers of more than 64 bits."""
    with writing("query"):
        return pb.Query(
            parts=[_part_to_proto(part) for part in query.parts],
            history=[pb.Turn(role=_ROLES[turn.role], text=turn.text) for turn in query.history],
            filter=filter_to_proto(query.filter) if query.filter else None,
            instruction=query.instruction,
        )


def _part(message: pb.Part, path: str) -> Part:
    match message.WhichOneof("content"):
        case "text":
            return TextPart(message.text)
        case "image":
            return ImagePart(message.image.data, message.image.mime_type)
        case "image_uri":
            return ImageUriPart(message.image_uri)
    raise InvalidInput("the part is empty: set text, image or image_uri", field=f"{path}.content")


def _part_to_proto(part: Part) -> pb.Part:
    match part:
        case TextPart(text):
            return pb.Part(text=text)
        case ImagePart(data, mime_type):
            return pb.Part(image=pb.Image(data=data, mime_type=mime_type))
        case ImageUriPart(uri):
            return pb.Part(image_uri=uri)


def _role(message: pb.Turn, path: str) -> Any:
    for role, number in _ROLES.items():
        if message.role == number:
            return role
    raise InvalidInput("a turn is said by ROLE_USER or ROLE_ASSISTANT", field=f"{path}.role")


def filter_from_proto(message: pb.Filter, path: str) -> Filter:
    def conditions(group: str, messages: Iterable[pb.Condition]) -> tuple[Condition, ...]:
        return tuple(_condition(condition, f"{path}.{group}[{number}]") for number, condition in enumerate(messages))

    return Filter(conditions("must", message.must), conditions("should", message.should), conditions("must_not", message.must_not))


def filter_to_proto(where: Filter) -> pb.Filter:
    return pb.Filter(
        must=map(_condition_to_proto, where.must),
        should=map(_condition_to_proto, where.should),
        must_not=map(_condition_to_proto, where.must_not),
    )


def _condition(message: pb.Condition, path: str) -> Condition:
    match message.WhichOneof("test"):
        case "equals":
            return Condition(message.field, equals=_scalar(message.equals, f"{path}.equals"))
        case "any_of":
            values = enumerate(message.any_of.values)
            return Condition(message.field, any_of=tuple(_scalar(value, f"{path}.any_of.values[{number}]") for number, value in values))
        case "range":
            return Condition(
                message.field,
                at_least=_bound(message.range, "at_least", f"{path}.range"),
                at_most=_bound(message.range, "at_most", f"{path}.range"),
            )
        case "exists":
            return Condition(message.field, exists=message.exists)
    raise InvalidInput("the condition has no test: set equals, any_of, range or exists", field=f"{path}.test")


def _bound(message: pb.Range, name: str, path: str) -> Scalar | None:
    if not (message.HasField("at_least") or message.HasField("at_most")):
        raise InvalidInput("the range has no bound: set at_least, at_most or both", field=path)
    return _scalar(getattr(message, name), f"{path}.{name}") if message.HasField(cast(Any, name)) else None


def _condition_to_proto(condition: Condition) -> pb.Condition:
    message = pb.Condition(field=condition.field)
    if condition.equals is not None:
        message.equals.CopyFrom(value_to_proto(condition.equals))
    if condition.any_of is not None:
        message.any_of.CopyFrom(pb.ValueList(values=map(value_to_proto, condition.any_of)))
    if condition.at_least is not None:
        message.range.at_least.CopyFrom(value_to_proto(condition.at_least))
    if condition.at_most is not None:
        message.range.at_most.CopyFrom(value_to_proto(condition.at_most))
    if condition.exists is not None:
        message.exists = condition.exists
    return message


# --- metadata -------------------------------------------------------------------------------------------------------


def metadata_from_proto(message: Mapping[str, pb.Value], path: str) -> dict[str, MetadataValue]:
    return {name: value_from_proto(value, f"{path}.{name}") for name, value in message.items()}


def metadata_to_proto(metadata: Metadata) -> dict[str, pb.Value]:
    return {name: value_to_proto(value) for name, value in metadata.items()}


def value_from_proto(message: pb.Value, path: str) -> MetadataValue:
    match message.WhichOneof("kind"):
        case None:
            raise InvalidInput("the value is empty: set one of its kinds", field=path)
        case "string_list":
            return tuple(message.string_list.values)
        case kind:
            return cast(Scalar, getattr(message, kind))


def value_to_proto(value: MetadataValue) -> pb.Value:
    match value:
        case bool():  # before int: Python calls a bool an int
            return pb.Value(bool_value=value)
        case int():
            return pb.Value(int_value=value)
        case float():
            return pb.Value(double_value=value)
        case str():
            return pb.Value(string_value=value)
        case tuple():
            return pb.Value(string_list=pb.StringList(values=value))


def _scalar(message: pb.Value, path: str) -> Any:
    value = value_from_proto(message, path)
    if isinstance(value, tuple):
        raise InvalidInput("a condition tests for single values; use any_of for several", field=path)
    return value


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn protobuf's refusal of a value (not Unicode, more than 64 bits, of another type) into InvalidInput."""
    try:
        yield
    except (ValueError, TypeError) as exc:
        raise InvalidInput(f"the value cannot be sent: {exc}", field=path) from exc


# --- decisions and evidence -----------------------------------------------------------------------------------------


def decision_from_proto(message: pb.RouteDecision) -> RouteDecision:
    return RouteDecision(
        message.policy,
        tuple(map(_route, message.routes)),
        message.reason,
        _seconds(message.latency_ms),
        version=message.version,
        propensity=message.propensity,
        features=dict(message.features),
        expected_latency_s=_seconds(message.expected_latency_ms) if message.HasField("expected_latency_ms") else None,
        expected_latency_p90_s=_seconds(message.expected_latency_p90_ms) if message.HasField("expected_latency_p90_ms") else None,
        experiment=message.experiment,
        arm=message.arm,
    )


def decision_to_proto(decision: RouteDecision) -> pb.RouteDecision:
    return pb.RouteDecision(
        policy=decision.policy,
        routes=map(_route_to_proto, decision.routes),
        reason=decision.reason,
        latency_ms=_milliseconds(decision.latency_s),
        version=decision.version,
        propensity=decision.propensity,
        features=decision.features,
        expected_latency_ms=None if decision.expected_latency_s is None else _milliseconds(decision.expected_latency_s),
        expected_latency_p90_ms=None if decision.expected_latency_p90_s is None else _milliseconds(decision.expected_latency_p90_s),
        experiment=decision.experiment,
        arm=decision.arm,
    )


def _route(message: pb.Route) -> Route:
    return Route(
        message.source,
        message.selected,
        message.probability,
        message.reason,
        expected_quality=message.expected_quality if message.HasField("expected_quality") else None,
        cost=message.cost if message.HasField("cost") else None,
        latency_s=_seconds(message.latency_ms) if message.HasField("latency_ms") else None,
        latency_p90_s=_seconds(message.latency_p90_ms) if message.HasField("latency_p90_ms") else None,
    )


def _route_to_proto(route: Route) -> pb.Route:
    return pb.Route(
        source=route.source,
        selected=route.selected,
        probability=route.probability,
        reason=route.reason,
        expected_quality=route.expected_quality,
        cost=route.cost,
        latency_ms=None if route.latency_s is None else _milliseconds(route.latency_s),
        latency_p90_ms=None if route.latency_p90_s is None else _milliseconds(route.latency_p90_s),
    )


def evidence_from_proto(message: pb.Evidence) -> Evidence:
    return Evidence(
        id=message.id,
        kind=member(_EVIDENCE_KINDS, message.kind),
        title=message.title,
        text=message.text,
        provenance=tuple(map(_provenance, message.provenance)),
        document_id=message.document_id,
        uri=message.uri,
        span=_span(message.span) if message.HasField("span") else None,
        headings=tuple(message.headings),
        metadata=metadata_from_proto(message.metadata, "evidence.metadata"),
        score=message.score,
        recorded=message.recorded,
        shares=dict(message.shares),
        picture=picture_from_proto(message.picture) if message.HasField("picture") else None,
    )


def evidence_to_proto(evidence: Evidence) -> pb.Evidence:
    return pb.Evidence(
        id=evidence.id,
        kind=_EVIDENCE_KINDS[evidence.kind],
        document_id=evidence.document_id,
        title=evidence.title,
        text=evidence.text,
        uri=evidence.uri,
        span=_span_to_proto(evidence.span) if evidence.span else None,
        headings=evidence.headings,
        metadata=metadata_to_proto(evidence.metadata),
        provenance=map(_provenance_to_proto, evidence.provenance),
        score=evidence.score,
        recorded=evidence.recorded,
        shares=evidence.shares,
        picture=picture_to_proto(evidence.picture) if evidence.picture else None,
    )


def picture_from_proto(message: pb.Picture) -> Picture:
    return Picture(
        message.id,
        message.mime_type,
        message.width,
        message.height,
        message.thumbnail,
        tuple(message.near_duplicates),
        regions=tuple(map(_region, message.regions)),
    )


def picture_to_proto(picture: Picture) -> pb.Picture:
    return pb.Picture(
        id=picture.id,
        mime_type=picture.mime_type,
        width=picture.width,
        height=picture.height,
        thumbnail=picture.thumbnail,
        near_duplicates=picture.near_duplicates,
        regions=map(_region_to_proto, picture.regions),
    )


def _region(message: pb.TextRegion) -> TextRegion:
    return TextRegion(message.text, message.left, message.top, message.width, message.height, message.confidence, matches=message.matches)


def _region_to_proto(region: TextRegion) -> pb.TextRegion:
    return pb.TextRegion(
        text=region.text,
        left=region.left,
        top=region.top,
        width=region.width,
        height=region.height,
        confidence=region.confidence,
        matches=region.matches,
    )


def _provenance(message: pb.Provenance) -> Provenance:
    path = tuple(PathStep(step.subject, step.relation, step.object) for step in message.path)
    return Provenance(message.source, message.rank, message.score, cast(Any, message.scale), path)


def _provenance_to_proto(provenance: Provenance) -> pb.Provenance:
    return pb.Provenance(
        source=provenance.source,
        rank=provenance.rank,
        score=provenance.score,
        scale=provenance.scale,
        path=[pb.PathStep(subject=step.subject, relation=step.relation, object=step.object) for step in provenance.path],
    )


def report_from_proto(message: pb.SourceReport) -> SourceReport:
    code = member(SOURCE_CODES, message.code)
    return SourceReport(message.source, code, _seconds(message.latency_ms), message.count, message.message)


def report_to_proto(report: SourceReport) -> pb.SourceReport:
    return pb.SourceReport(
        source=report.source,
        code=SOURCE_CODES[report.code],
        latency_ms=_milliseconds(report.latency_s),
        count=report.count,
        message=report.message,
    )


def turn_from_proto(message: pb.CorrectiveTurn) -> CorrectiveTurn:
    return CorrectiveTurn(message.action, message.reason, message.probability, tuple(message.questions), tuple(message.sources))


def turn_to_proto(turn: CorrectiveTurn) -> pb.CorrectiveTurn:
    return pb.CorrectiveTurn(
        action=turn.action, reason=turn.reason, probability=turn.probability, questions=turn.questions, sources=turn.sources
    )


def _span(message: pb.Span) -> Span:
    return Span(message.start, message.end)


def _span_to_proto(span: Span) -> pb.Span:
    return pb.Span(start=span.start, end=span.end)


# --- answers --------------------------------------------------------------------------------------------------------


def retrieval_from_proto(message: router_pb.RetrieveResponse) -> Retrieval:
    return Retrieval(
        decision_from_proto(message.decision),
        tuple(map(evidence_from_proto, message.evidence)),
        tuple(map(report_from_proto, message.sources)),
        timings_from_proto(message.timings),
        notices_from_proto(message.warnings),
        turns=tuple(map(turn_from_proto, message.turns)),
        request_id=message.request_id,
    )


def retrieval_to_proto(retrieval: Retrieval, request_id: str) -> router_pb.RetrieveResponse:
    return router_pb.RetrieveResponse(
        request_id=request_id,
        decision=decision_to_proto(retrieval.decision),
        evidence=map(evidence_to_proto, retrieval.evidence),
        sources=map(report_to_proto, retrieval.sources),
        warnings=map(notice_to_proto, retrieval.notices),
        timings=timings_to_proto(retrieval.timings),
        turns=map(turn_to_proto, retrieval.turns),
    )


def answer_from_proto(message: router_pb.Answer, request_id: str) -> Answer:
    """The wire carries one set of timings and notices, those of the whole answer; its retrieval gets the timings too."""
    timings = timings_from_proto(message.timings)
    return Answer(
        text=message.text,
        found=message.found,
        citations=tuple(map(citation_from_proto, message.citations)),
        retrieval=Retrieval(
            decision_from_proto(message.decision),
            tuple(map(evidence_from_proto, message.evidence)),
            tuple(map(report_from_proto, message.sources)),
            timings,
            turns=tuple(map(turn_from_proto, message.turns)),
            request_id=request_id,
        ),
        generator=message.generator,
        timings=timings,
        notices=notices_from_proto(message.warnings),
    )


def answer_to_proto(answer: Answer) -> router_pb.Answer:
    return router_pb.Answer(
        text=answer.text,
        found=answer.found,
        citations=map(citation_to_proto, answer.citations),
        decision=decision_to_proto(answer.retrieval.decision),
        evidence=map(evidence_to_proto, answer.retrieval.evidence),
        sources=map(report_to_proto, answer.retrieval.sources),
        generator=answer.generator,
        warnings=map(notice_to_proto, answer.notices),
        timings=timings_to_proto(answer.timings),
        turns=map(turn_to_proto, answer.retrieval.turns),
    )


def event_from_proto(message: router_pb.StreamAnswerResponse, decision: RouteDecision | None) -> AnswerEvent:
    """`decision` is the one that came before in this stream: the evidence belongs to it.

    Raises:
        InternalError: The event is of no known kind (a newer service), or evidence came before the decision.
    """
    match message.WhichOneof("event"):
        case "decision":
            return decision_from_proto(message.decision)
        case "evidence" if decision is not None:
            evidence = tuple(map(evidence_from_proto, message.evidence.evidence))
            reports = tuple(map(report_from_proto, message.evidence.sources))
            turns = tuple(map(turn_from_proto, message.evidence.turns))
            return Retrieval(decision, evidence, reports, Timings({}, 0.0), turns=turns, request_id=message.request_id)
        case "token":
            return Token(message.token)
        case "citation":
            return citation_from_proto(message.citation)
        case "warning":
            return Notice(message.warning.reason, message.warning.message)
        case "final":
            return answer_from_proto(message.final, message.request_id)
    raise InternalError("the stream holds an event that this client does not know, or that came out of order")


def event_to_proto(event: AnswerEvent, request_id: str) -> router_pb.StreamAnswerResponse:
    message = router_pb.StreamAnswerResponse(request_id=request_id)
    match event:
        case RouteDecision():
            message.decision.CopyFrom(decision_to_proto(event))
        case Retrieval():
            found, reports = map(evidence_to_proto, event.evidence), map(report_to_proto, event.sources)
            turns = map(turn_to_proto, event.turns)
            message.evidence.CopyFrom(router_pb.EvidenceList(evidence=found, sources=reports, turns=turns))
        case Token(text):
            message.token = text
        case Citation():
            message.citation.CopyFrom(citation_to_proto(event))
        case Notice():
            message.warning.CopyFrom(notice_to_proto(event))
        case Answer():
            message.final.CopyFrom(answer_to_proto(event))
    return message


def citation_from_proto(message: pb.Citation) -> Citation:
    return Citation(message.marker, message.evidence_id, _span(message.span))


def citation_to_proto(citation: Citation) -> pb.Citation:
    return pb.Citation(marker=citation.marker, evidence_id=citation.evidence_id, span=_span_to_proto(citation.span))


def notices_from_proto(messages: Iterable[pb.Warning]) -> tuple[Notice, ...]:
    return tuple(Notice(message.reason, message.message) for message in messages)


def notice_to_proto(notice: Notice) -> pb.Warning:
    return pb.Warning(reason=notice.reason, message=notice.message)


def timings_from_proto(message: pb.Timings) -> Timings:
    return Timings({stage: _seconds(value) for stage, value in message.stages_ms.items()}, _seconds(message.total_ms))


def timings_to_proto(timings: Timings) -> pb.Timings:
    stages = {stage: _milliseconds(value) for stage, value in timings.stages_s.items()}
    return pb.Timings(stages_ms=stages, total_ms=_milliseconds(timings.total_s))


def member(table: Mapping[E, int], number: int) -> E:
    """The member of an enum that a number of the wire stands for."""
    for known, value in table.items():
        if value == number:
            return known
    raise InternalError(f"{next(iter(table)).__class__.__name__} {number} is not known here; the service is newer than this client")


def _seconds(milliseconds: float) -> float:
    return milliseconds / 1000


def _milliseconds(seconds: float) -> float:
    return seconds * 1000
