"""`PolicyService`: the policies that a call may name."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from router.api.interceptors import Context
from router.errors import NotImplementedYet
from router.pb import policy_service_pb2 as pb
from router.pb import policy_service_pb2_grpc as pb_grpc


class PolicyServicer(pb_grpc.PolicyServiceServicer):
    """Lists what is configured.

    Args:
        descriptions: Every available policy with one sentence.
        chain: The policies of the configured chain, in order.
        sources: Names of the configured sources.
    """

    def __init__(self, descriptions: Mapping[str, str], chain: Sequence[str], sources: Iterable[str]) -> None:
        self._policies = [
            pb.Policy(name=name, description=description, chain_position=chain.index(name) + 1 if name in chain else 0)
            for name, description in descriptions.items()
        ]
        self._sources = tuple(sources)

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:
        return pb.ListPoliciesResponse(policies=self._policies, sources=self._sources)

    async def RecordFeedback(self, request: pb.RecordFeedbackRequest, context: Context) -> pb.RecordFeedbackResponse:
        raise NotImplementedYet("this release does not learn from feedback, so it keeps none", reason="FEEDBACK_NOT_KEPT")
