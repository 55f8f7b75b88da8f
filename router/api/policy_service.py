"""`PolicyService`: the policies that a call may name, and what is learned from their use."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from router.api.convert_decisions import decision_page_to_proto, feedback_from_request
from router.api.interceptors import Context, current_caller
from router.errors import InvalidInput
from router.pb import policy_service_pb2 as pb
from router.pb import policy_service_pb2_grpc as pb_grpc
from router.stores.decision_log import DecisionLog

DEFAULT_PAGE_SIZE = 100


class PolicyServicer(pb_grpc.PolicyServiceServicer):
    """Lists what is configured and what was decided, and takes feedback.

    Args:
        descriptions: Every available policy with one sentence.
        chain: The policies of the configured chain, in order.
        sources: Names of the configured sources.
        decisions: What calls decided, and the feedback on it.
    """

    def __init__(self, descriptions: Mapping[str, str], chain: Sequence[str], sources: Iterable[str], decisions: DecisionLog) -> None:
        self._policies = [
            pb.Policy(name=name, description=description, chain_position=chain.index(name) + 1 if name in chain else 0)
            for name, description in descriptions.items()
        ]
        self._sources = tuple(sources)
        self._decisions = decisions

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:
        return pb.ListPoliciesResponse(policies=self._policies, sources=self._sources)

    async def RecordFeedback(self, request: pb.RecordFeedbackRequest, context: Context) -> pb.RecordFeedbackResponse:
        if not request.request_id:
            raise InvalidInput("name the call: the request_id of its reply", field="request_id")
        feedback = feedback_from_request(request, self._sources)
        await self._decisions.record_feedback(current_caller().tenant, request.request_id, feedback)
        return pb.RecordFeedbackResponse()

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Context) -> pb.ListDecisionsResponse:
        page = await self._decisions.page(
            current_caller().tenant, page_size=request.page_size or DEFAULT_PAGE_SIZE, page_token=request.page_token
        )
        return decision_page_to_proto(page)
