"""What a service says of its policies."""

from __future__ import annotations

from dataclasses import dataclass

from router.pb import policy_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    description: str
    chain_position: int
    """Place in the configured chain, from 1; 0 when it is not part of it."""


@dataclass(frozen=True, slots=True)
class Policies:
    policies: tuple[Policy, ...]
    sources: tuple[str, ...]
    """What they choose among."""


def policies_from_proto(message: pb.ListPoliciesResponse) -> Policies:
    policies = tuple(Policy(policy.name, policy.description, policy.chain_position) for policy in message.policies)
    return Policies(policies, tuple(message.sources))
