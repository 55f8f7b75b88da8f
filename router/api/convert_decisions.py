"""Logged decisions and feedback: the messages of the contract and `router.types`, both ways."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from router.api.convert import SOURCE_CODES, member, writing
from router.errors import InvalidInput
from router.pb import policy_service_pb2 as pb
from router.types import DecisionPage, Feedback, LoggedDecision, Outcome, ShadowDecision

_VERDICTS = {None: pb.VERDICT_UNSPECIFIED, True: pb.VERDICT_HELPFUL, False: pb.VERDICT_NOT_HELPFUL}


def decision_page_from_proto(message: pb.ListDecisionsResponse) -> DecisionPage:
    return DecisionPage(tuple(map(logged_from_proto, message.decisions)), message.next_page_token)


def decision_page_to_proto(page: DecisionPage) -> pb.ListDecisionsResponse:
    return pb.ListDecisionsResponse(decisions=map(logged_to_proto, page.decisions), next_page_token=page.next_page_token)


def logged_from_proto(message: pb.LoggedDecision) -> LoggedDecision:
    return LoggedDecision(
        request_id=message.request_id,
        decided_at=message.decided_at.ToDatetime(UTC),
        policy=message.policy,
        version=message.policy_version,
        as_asked=message.as_asked,
        chosen=tuple(message.chosen),
        probabilities=dict(message.probabilities),
        propensity=message.propensity,
        features=dict(message.features),
        cost=message.cost,
        outcome=_outcome(message.outcome) if message.HasField("outcome") else None,
        question=message.question,
        feedback=_feedback(message.feedback) if message.HasField("feedback") else None,
        experiment=message.experiment,
        arm=message.arm,
        bucket=message.bucket if message.HasField("bucket") else None,
        shadows=tuple(ShadowDecision(shadow.policy, shadow.version, tuple(shadow.chosen)) for shadow in message.shadows),
    )


def logged_to_proto(decision: LoggedDecision) -> pb.LoggedDecision:
    decided_at = Timestamp()
    decided_at.FromDatetime(decision.decided_at)
    return pb.LoggedDecision(
        request_id=decision.request_id,
        decided_at=decided_at,
        policy=decision.policy,
        policy_version=decision.version,
        as_asked=decision.as_asked,
        chosen=decision.chosen,
        probabilities=decision.probabilities,
        propensity=decision.propensity,
        features=decision.features,
        cost=decision.cost,
        outcome=_outcome_to_proto(decision.outcome) if decision.outcome else None,
        question=decision.question,
        feedback=_feedback_to_proto(decision.feedback) if decision.feedback else None,
        experiment=decision.experiment,
        arm=decision.arm,
        bucket=decision.bucket,
        shadows=[pb.ShadowDecision(policy=one.policy, version=one.version, chosen=one.chosen) for one in decision.shadows],
    )


def feedback_from_request(message: pb.RecordFeedbackRequest, sources: Collection[str]) -> Feedback:
    """What was said, in whichever of two fields.

    Raises:
        InvalidInput: A source that is not among `sources`, two verdicts, or a verdict that is not known here.
    """
    if message.correct_source:
        _check_source(message.correct_source, "correct_source", sources)
    for number, name in enumerate(message.correct_sources):
        _check_source(name, f"correct_sources[{number}]", sources)
    if message.verdict not in _VERDICTS.values():
        raise InvalidInput("the verdict is VERDICT_HELPFUL or VERDICT_NOT_HELPFUL", field="verdict")
    if message.helpful and message.verdict == pb.VERDICT_NOT_HELPFUL:
        raise InvalidInput("helpful says that the answer was good, verdict that it was not: leave helpful out", field="helpful")
    named = (*message.correct_sources, message.correct_source) if message.correct_source else message.correct_sources
    return Feedback(
        helpful=True if message.helpful else _helpful(message.verdict),
        corrected_answer=message.corrected_answer,
        clicked_citations=tuple(dict.fromkeys(message.clicked_citations)),
        correct_sources=tuple(dict.fromkeys(named)),
    )


def feedback_to_request(request_id: str, feedback: Feedback) -> pb.RecordFeedbackRequest:
    """Raises InvalidInput for text that is not Unicode and for markers of more than 32 bits."""
    with writing("feedback"):
        return pb.RecordFeedbackRequest(
            request_id=request_id,
            verdict=_VERDICTS[feedback.helpful],
            corrected_answer=feedback.corrected_answer,
            clicked_citations=feedback.clicked_citations,
            correct_sources=feedback.correct_sources,
        )


def _check_source(name: str, field: str, sources: Collection[str]) -> None:
    if name not in sources:
        raise InvalidInput(f"there is no source {name!r}; configured are {sorted(sources)}", reason="UNKNOWN_SOURCE", field=field)


def _feedback(message: pb.Feedback) -> Feedback:
    return Feedback(_helpful(message.verdict), message.corrected_answer, tuple(message.clicked_citations), tuple(message.correct_sources))


def _feedback_to_proto(feedback: Feedback) -> pb.Feedback:
    return pb.Feedback(
        verdict=_VERDICTS[feedback.helpful],
        corrected_answer=feedback.corrected_answer,
        clicked_citations=feedback.clicked_citations,
        correct_sources=feedback.correct_sources,
    )


def _helpful(verdict: pb.Verdict.ValueType) -> bool | None:
    return {number: helpful for helpful, number in _VERDICTS.items()}.get(verdict)


def _outcome(message: pb.DecisionOutcome) -> Outcome:
    return Outcome(
        message.evidence_count,
        {source: member(SOURCE_CODES, code) for source, code in message.sources.items()},
        message.latency_ms / 1000,
        message.found if message.HasField("found") else None,
    )


def _outcome_to_proto(outcome: Outcome) -> pb.DecisionOutcome:
    return pb.DecisionOutcome(
        evidence_count=outcome.evidence_count,
        sources={source: SOURCE_CODES[code] for source, code in outcome.sources.items()},
        latency_ms=outcome.latency_s * 1000,
        found=outcome.found,
    )
