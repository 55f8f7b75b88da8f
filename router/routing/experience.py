"""What became of questions that were asked before: the judged decisions of one tenant, found again by the embedding of their questions.

The decision log holds no vectors, since a text can be guessed from its vector: it holds the question, and only where
`learning.log_questions` is on. So questions are embedded again when they are read, in the background. One tenant's experience never serves
another.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import structlog

from router.errors import RouterError
from router.models.base import Embedder
from router.routing.learned import Kinds
from router.stores.decisions import DecisionStore
from router.types import LoggedDecision, Matrix, Vector

MAX_REMEMBERED = 2_000
"""Judged decisions of a tenant, the newest; 3 MB at 384 dimensions."""
MAX_TENANTS = 64
"""Tenants in memory; of more, those that asked last."""
REFRESH_S = 60.0
"""How old what is in memory may be when a question comes before the log is read again."""
_EMBEDDED_TOGETHER = 32
"""So few that a question that is asked now does not wait long for them."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A question that was asked before."""

    similarity: float
    """Cosine."""
    qualities: Mapping[Kinds, float]
    """0 to 1, of the sets of kinds of which something is known."""


class Experience(Protocol):
    def nearest(self, tenant: str, vector: Vector, most: int) -> list[Neighbour]:
        """The tenant's most similar questions, the nearest first. Waits for nothing."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """Questions with what was found out about them."""

    vectors: Matrix
    qualities: Sequence[Mapping[Kinds, float]]

    def nearest(self, vector: Vector, most: int) -> list[Neighbour]:
        if not len(self.qualities):
            return []
        cosines = self.vectors @ vector
        return [Neighbour(float(cosines[place]), self.qualities[place]) for place in np.argsort(-cosines, kind="stable")[:most]]


@dataclass(slots=True)
class _OfTenant:
    remembered: Remembered | None = None
    by_text: dict[str, Vector] = field(default_factory=dict)
    read_at: float = -REFRESH_S
    is_read: bool = False
    """Just now."""
    is_left: bool = False
    """Nobody asks for it any more."""


class LoggedExperience:
    """Experience from the decision log. What is asked of it is answered from memory; reading the log goes on beside.

    Args:
        store: The log.
        embedder: Of the one space.
        kinds: Kind of every configured source, by name.
    """

    def __init__(self, store: DecisionStore, embedder: Embedder, kinds: Mapping[str, str]) -> None:
        self._store = store
        self._embedder = embedder
        self._kinds = kinds
        self._tenants: OrderedDict[str, _OfTenant] = OrderedDict()
        self._reading: set[asyncio.Task[None]] = set()

    def nearest(self, tenant: str, vector: Vector, most: int) -> list[Neighbour]:
        """As `Experience`; empty until the log was read for the first time."""
        mine = self._of(tenant)
        if not mine.is_read and time.monotonic() - mine.read_at >= REFRESH_S:
            mine.is_read = True
            task = asyncio.create_task(self._read(tenant, mine), name="experience")
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        return mine.remembered.nearest(vector, most) if mine.remembered is not None else []

    async def refresh(self, tenant: str) -> None:
        """Read the tenant's log now.

        Raises:
            StoreUnavailable: The database does not answer.
            RouterError: The questions cannot be embedded.
        """
        await self._refresh(tenant, self._of(tenant))

    async def aclose(self) -> None:
        """Give up what is being read."""
        for tenant in list(self._tenants):
            self._leave(tenant)
        # Not cancelled: a task that is cancelled while it opens a connection leaves it open.
        await self.settle()

    async def settle(self) -> None:
        """Wait for what is being read."""
        await asyncio.gather(*self._reading)

    def _leave(self, tenant: str) -> None:
        self._tenants.pop(tenant).is_left = True

    def _of(self, tenant: str) -> _OfTenant:
        mine = self._tenants.setdefault(tenant, _OfTenant())
        self._tenants.move_to_end(tenant)
        while len(self._tenants) > MAX_TENANTS:
            self._leave(next(iter(self._tenants)))
        return mine

    async def _read(self, tenant: str, mine: _OfTenant) -> None:
        try:
            await self._refresh(tenant, mine)
        except RouterError as error:
            _log.warning("experience_not_read", tenant=tenant, reason=error.reason, message=error.message)
        finally:
            mine.is_read, mine.read_at = False, time.monotonic()

    async def _refresh(self, tenant: str, mine: _OfTenant) -> None:
        told = [
            (decision.question, qualities)
            for decision in await self._store.judged(tenant, MAX_REMEMBERED)
            if (qualities := qualities_told(decision, self._kinds))
        ]
        known = {text: mine.by_text[text] for text, _ in told if text in mine.by_text}
        new = list(dict.fromkeys(text for text, _ in told if text not in known))
        for start in range(0, len(new), _EMBEDDED_TOGETHER):
            if mine.is_left:
                return
            some = new[start : start + _EMBEDDED_TOGETHER]
            known |= zip(some, await self._embedder.embed(some), strict=True)
        vectors = np.stack([known[text] for text, _ in told]) if told else np.zeros((0, self._embedder.dimension), np.float32)
        mine.by_text, mine.remembered = known, Remembered(vectors, [qualities for _, qualities in told])


def qualities_told(decision: LoggedDecision, kinds: Mapping[str, str]) -> dict[Kinds, float]:
    """What feedback says of sets of kinds: that the asked one carried the answer or not, and which would have.

    Args:
        decision: With feedback.
        kinds: Kind of every configured source, by name; a set with a source that is configured no more says nothing.
    """
    feedback = decision.feedback
    if feedback is None:
        return {}
    told: dict[Kinds, float] = {}
    asked, right = (_kinds(names, kinds) for names in (decision.chosen, feedback.correct_sources))
    if asked and feedback.helpful is not None:
        told[asked] = float(feedback.helpful)
    elif asked and right and not right <= asked:
        told[asked] = 0.0
    if right:
        told[right] = 1.0
    return told


def _kinds(names: Sequence[str], kinds: Mapping[str, str]) -> Kinds:
    return frozenset(kinds[name] for name in names) if all(name in kinds for name in names) else frozenset()
