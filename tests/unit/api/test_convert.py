from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from router.api import convert, convert_decisions, convert_documents
from router.api.convert import filter_from_proto, filter_to_proto, query_from_proto, query_to_proto, value_from_proto, value_to_proto
from router.errors import InternalError, InvalidInput
from router.pb import corpus_service_pb2, policy_service_pb2, router_service_pb2, types_pb2
from router.types import Condition, Evidence, EvidenceKind, Feedback, Filter, Query, RouteDecision, SourceCode, TextPart
from tests.unit.api.filled import filled, unset_fields

DECISION = RouteDecision("rules", (), "because")
SOURCES = ("vector", "graph", "web")
source_lists = st.lists(st.sampled_from(SOURCES), unique=True).map(tuple)

# Each message that stands for one of our values, with its conversions.
PAIRS: dict[type[Message], tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    types_pb2.Query: (query_from_proto, query_to_proto),
    types_pb2.RouteDecision: (convert.decision_from_proto, convert.decision_to_proto),
    types_pb2.Evidence: (convert.evidence_from_proto, convert.evidence_to_proto),
    types_pb2.CorrectiveTurn: (convert.turn_from_proto, convert.turn_to_proto),
    types_pb2.SourceReport: (convert.report_from_proto, convert.report_to_proto),
    types_pb2.Citation: (convert.citation_from_proto, convert.citation_to_proto),
    types_pb2.Timings: (convert.timings_from_proto, convert.timings_to_proto),
    router_service_pb2.Answer: (lambda message: convert.answer_from_proto(message, "r"), convert.answer_to_proto),
    router_service_pb2.RetrieveResponse: (
        convert.retrieval_from_proto,
        lambda value: convert.retrieval_to_proto(value, "request_id Ω {pick}"),
    ),
    router_service_pb2.StreamAnswerResponse: (
        lambda message: convert.event_from_proto(message, DECISION),
        lambda value: convert.event_to_proto(value, "request_id Ω {pick}"),
    ),
    corpus_service_pb2.IngestDocumentsRequest: (convert_documents.upload_from_proto, convert_documents.upload_to_proto),
    corpus_service_pb2.IngestDocumentsResponse: (
        convert_documents.acknowledgement_from_proto,
        convert_documents.acknowledgement_to_proto,
    ),
    corpus_service_pb2.Document: (convert_documents.record_from_proto, convert_documents.record_to_proto),
    corpus_service_pb2.ListDocumentsResponse: (convert_documents.page_from_proto, convert_documents.page_to_proto),
    corpus_service_pb2.GetCorpusStatsResponse: (convert_documents.stats_from_proto, convert_documents.stats_to_proto),
    policy_service_pb2.LoggedDecision: (convert_decisions.logged_from_proto, convert_decisions.logged_to_proto),
    policy_service_pb2.ListDecisionsResponse: (convert_decisions.decision_page_from_proto, convert_decisions.decision_page_to_proto),
}

# Put together and taken apart by the servicers and the client; tests/integration/test_grpc.py looks at each of their fields.
ENVELOPES = {
    "RouteRequest",
    "RouteResponse",
    "RetrieveRequest",
    "RetrievalOptions",
    "AnswerRequest",
    "AnswerResponse",
    "StreamAnswerRequest",
    "DeleteDocumentRequest",
    "DeleteDocumentResponse",
    "GetDocumentRequest",
    "GetDocumentResponse",
    "GetPictureRequest",
    "GetPictureResponse",
    "ListDocumentsRequest",
    "GetCorpusStatsRequest",
    "ListPoliciesRequest",
    "ListPoliciesResponse",
    "Policy",
    "RecordFeedbackRequest",
    "RecordFeedbackResponse",
    "ListDecisionsRequest",
}

FILES = (types_pb2, router_service_pb2, corpus_service_pb2, policy_service_pb2)


@pytest.mark.parametrize("pick", range(6))
@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.DESCRIPTOR.name)
def test_every_field_of_a_message_survives(kind: type[Message], pick: int) -> None:
    from_proto, to_proto = PAIRS[kind]
    message = filled(kind, pick)
    assert unset_fields(message) == []
    returned = to_proto(from_proto(message))
    if "request_id" in message.DESCRIPTOR.fields_by_name:
        returned.request_id = message.request_id
    assert returned == message


def test_every_message_of_the_contract_is_converted_or_named_as_an_envelope() -> None:
    converted = {name for kind in PAIRS for name in _names(kind.DESCRIPTOR)}
    defined = {name for file in FILES for name in file.DESCRIPTOR.message_types_by_name}
    assert defined - converted - ENVELOPES == set()
    assert ENVELOPES - defined == set()


def _names(descriptor: Descriptor) -> Iterator[str]:
    yield descriptor.name
    for field in descriptor.fields:
        if field.message_type is not None:
            yield from _names(field.message_type)


# What the wire does not carry, and why.
NOT_CARRIED = {
    ("Retrieval", "notices"),  # of an answer: the answer's own notices hold them
    ("RouteDecision", "bucket"),  # inside the service only: the log has it
    ("RouteDecision", "shadows"),  # inside the service only: they decide silently
    ("Picture", "labels"),  # metadata of the evidence tells them
    ("Retrieval", "question"),  # inside the service only: a notice tells it to the caller
}


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.DESCRIPTOR.name)
def test_every_field_of_our_values_is_set_from_a_full_message(kind: type[Message]) -> None:
    """For each field some alternative of the message sets it to something that is not its default."""
    from_proto, _ = PAIRS[kind]
    seen: dict[tuple[str, str], bool] = {}
    for pick in range(6):
        _note_fields(from_proto(filled(kind, pick)), seen)
    assert {field for field, is_set in seen.items() if not is_set} <= NOT_CARRIED


def _note_fields(value: Any, seen: dict[tuple[str, str], bool]) -> None:
    if isinstance(value, tuple):
        for item in value:
            _note_fields(item, seen)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            given = getattr(value, field.name)
            key = type(value).__name__, field.name
            default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
            seen[key] = seen.get(key, False) or given != default
            _note_fields(given, seen)


@pytest.mark.parametrize(
    ("table", "members"),
    [
        (convert._EVIDENCE_KINDS, EvidenceKind),
        (convert.SOURCE_CODES, SourceCode),
        (convert_documents._STATES, convert_documents.DocumentState),
    ],
)
def test_every_member_of_an_enum_has_its_own_number(table: dict[Any, int], members: Any) -> None:
    assert set(table) == set(members)
    assert len(set(table.values())) == len(table)
    assert 0 not in table.values()


scalars = st.text() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans()
values = scalars | st.lists(st.text(), max_size=3).map(tuple)
bounds = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
conditions = st.one_of(
    st.builds(Condition, st.text(), equals=scalars),
    st.builds(Condition, st.text(), any_of=st.lists(scalars, max_size=3).map(tuple)),
    st.builds(Condition, st.text(), at_least=bounds, at_most=st.none() | bounds),
    st.builds(Condition, st.text(), at_most=bounds),
    st.builds(Condition, st.text(), exists=st.booleans()),
)
groups = st.lists(conditions, max_size=3).map(tuple)


@given(values)
def test_a_metadata_value_keeps_its_type(value: Any) -> None:
    returned = value_from_proto(value_to_proto(value), "metadata.x")
    assert returned == value
    assert type(returned) is type(value)


@given(st.builds(Filter, groups, groups, groups))
def test_a_filter_comes_back_as_it_was(where: Filter) -> None:
    assert filter_from_proto(filter_to_proto(where), "query.filter") == where


def _query(**fields: Any) -> types_pb2.Query:
    return types_pb2.Query(parts=[types_pb2.Part(text="Who?")], **fields)


def _must(*conditions: types_pb2.Condition) -> types_pb2.Query:
    return _query(filter=types_pb2.Filter(must=conditions))


GOOD = types_pb2.Condition(field="year", exists=True)
LIST = types_pb2.Value(string_list=types_pb2.StringList(values=["a"]))


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (types_pb2.Query(parts=[types_pb2.Part(text="a"), types_pb2.Part()]), "query.parts[1].content"),
        (_query(history=[types_pb2.Turn(text="a")]), "query.history[0].role"),
        (_query(history=[types_pb2.Turn(role=77, text="a")]), "query.history[0].role"),
        (_must(GOOD, types_pb2.Condition(field="year")), "query.filter.must[1].test"),
        (_query(filter=types_pb2.Filter(should=[types_pb2.Condition()])), "query.filter.should[0].test"),
        (_query(filter=types_pb2.Filter(must_not=[types_pb2.Condition()])), "query.filter.must_not[0].test"),
        (_must(types_pb2.Condition(equals=types_pb2.Value())), "query.filter.must[0].equals"),
        (_must(types_pb2.Condition(equals=LIST)), "query.filter.must[0].equals"),
        (_must(types_pb2.Condition(any_of=types_pb2.ValueList(values=[types_pb2.Value()]))), "query.filter.must[0].any_of.values[0]"),
        (_must(types_pb2.Condition(range=types_pb2.Range())), "query.filter.must[0].range"),
        (_must(types_pb2.Condition(range=types_pb2.Range(at_least=types_pb2.Value()))), "query.filter.must[0].range.at_least"),
        (_must(types_pb2.Condition(range=types_pb2.Range(at_most=LIST))), "query.filter.must[0].range.at_most"),
    ],
)
def test_what_our_types_cannot_say_is_refused_with_its_field(message: types_pb2.Query, field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        query_from_proto(message)
    assert raised.value.field == field


def test_a_metadata_value_without_kind_is_refused_with_its_name() -> None:
    message = corpus_service_pb2.IngestDocumentsRequest(name="a.txt", metadata={"year": types_pb2.Value()})
    with pytest.raises(InvalidInput) as raised:
        convert_documents.upload_from_proto(message)
    assert raised.value.field == "metadata.year"


@pytest.mark.parametrize(
    "query",
    [
        Query((TextPart("half a pair: \ud800"),)),
        Query((TextPart("a"),), filter=Filter(must=(Condition("year", equals=2**63),))),
        Query((TextPart("a"),), filter=Filter(must=(Condition("year", equals=(1, 2)),))),  # type: ignore[arg-type]
    ],
)
def test_what_the_wire_cannot_say_is_refused(query: Query) -> None:
    with pytest.raises(InvalidInput) as raised:
        query_to_proto(query)
    assert raised.value.field == "query"


def test_a_newer_service_is_not_misunderstood() -> None:
    with pytest.raises(InternalError):
        convert.report_from_proto(types_pb2.SourceReport(code=99))
    with pytest.raises(InternalError):
        convert.event_from_proto(router_service_pb2.StreamAnswerResponse(request_id="r"), DECISION)
    evidence = router_service_pb2.StreamAnswerResponse(evidence=router_service_pb2.EvidenceList())
    with pytest.raises(InternalError):
        convert.event_from_proto(evidence, None)


@given(st.builds(Feedback, st.none() | st.booleans(), st.text(), st.lists(st.integers(1, 100), unique=True).map(tuple), source_lists))
def test_feedback_comes_back_as_it_was_given(feedback: Feedback) -> None:
    message = convert_decisions.feedback_to_request("r", feedback)
    assert message.request_id == "r"
    assert convert_decisions.feedback_from_request(message, SOURCES) == feedback


def test_both_ways_to_say_it_are_understood() -> None:
    message = policy_service_pb2.RecordFeedbackRequest(helpful=True, correct_source="web", correct_sources=["graph", "web"])
    assert convert_decisions.feedback_from_request(message, SOURCES) == Feedback(True, correct_sources=("graph", "web"))


def test_no_span_is_not_the_span_of_nothing() -> None:
    evidence = Evidence("e", EvidenceKind.PASSAGE, "t", "x", ())
    assert convert.evidence_from_proto(convert.evidence_to_proto(evidence)) == evidence
