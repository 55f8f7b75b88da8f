"""A/B: which policy decides is drawn by the hash of a key that the caller gives, so that one key always meets the same arm."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from router.routing.base import RoutingPolicy

BUCKETS = 256
"""Of keys. Enough for an interval over them, and so few that where there are many keys a bucket is none of them."""


@dataclass(frozen=True, slots=True)
class Arm:
    name: str
    share: float
    """Of the keys, in (0, 1]; the shares of an experiment sum to 1."""
    policy: RoutingPolicy


class Experiment:
    """Assigns keys to arms.

    The arm follows from the experiment's name, the tenant and the key, and from nothing else: another experiment deals the keys anew, and
    no two tenants share an assignment.

    Args:
        name: Of the experiment.
        arms: At least one; their order and shares are part of the assignment.
    """

    def __init__(self, name: str, arms: Sequence[Arm]) -> None:
        assert arms, "an experiment has at least one arm. This is a bug."
        self.name = name
        self._arms = tuple(arms)

    def arm(self, tenant: str, key: str) -> Arm:
        """The arm of a key."""
        drawn = int.from_bytes(self._digest(tenant, key)[:8]) / 2**64
        for arm in self._arms:
            drawn -= arm.share
            if drawn < 0:
                return arm
        return self._arms[-1]  # the shares sum to a little less than 1 in floating point

    def bucket(self, tenant: str, key: str) -> int:
        """Which of `BUCKETS` the key belongs to, whatever its arm: in the log it stands for the key, whose calls are alike."""
        return self._digest(tenant, key)[8]

    def _digest(self, tenant: str, key: str) -> bytes:
        return hashlib.sha256(json.dumps([self.name, tenant, key]).encode()).digest()
