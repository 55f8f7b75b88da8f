"""Vectors that the store has lost: its files were restored from an older copy, a collection was dropped, or another one is named now.

The journal has the texts, so what is lost is made again: the documents go back to those that wait for the indexer, in the journal, before
it starts. A process that dies meanwhile leaves them there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import structlog

from router.stores.documents import DocumentState
from router.stores.journal import Journal
from router.types import Notice

_DOCUMENTS_PER_QUERY = 5_000
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Loss:
    vectors: int
    documents: int
    waiting: set[str]
    """Documents that were not searchable again when somebody last asked."""
    failed: int = 0


class LostVectors:
    """What was found missing when this process started, by tenant."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._losses: dict[str, _Loss] = {}

    async def index_again(self, tenant: str, missing: Mapping[str, int]) -> None:
        """Put documents back before the indexer, but those that it has not finished: what they miss is still to come.

        Args:
            tenant: Whose.
            missing: Vectors that are not in the store, by document id.
        """
        if lost := await self._journal.statements.open_again(tenant, missing.keys()):
            loss = self._losses[tenant] = _Loss(sum(missing[key] for key in lost), len(lost), set(lost))
            _log.warning("vectors_lost", tenant=tenant, vectors=loss.vectors, documents=loss.documents, remedy="they are indexed again")

    async def notices(self, tenant: str) -> tuple[Notice, ...]:
        """What was lost, and how far it is made good."""
        loss = self._losses.get(tenant)
        if loss is None:
            return ()
        await self._look_again(tenant, loss)
        lost = f"{loss.vectors} vectors of {loss.documents} documents were missing in the vector store at the start"
        if not loss.waiting and not loss.failed:
            return (Notice("VECTORS_RESTORED", f"{lost}; they were indexed again"),)
        failed = f", {loss.failed} could not be: `corpus list` says why" if loss.failed else ""
        return (Notice("VECTORS_LOST", f"{lost}; {len(loss.waiting)} documents wait to be indexed again{failed}"),)

    async def _look_again(self, tenant: str, loss: _Loss) -> None:
        remaining = iter(sorted(loss.waiting))
        while some := list(islice(remaining, _DOCUMENTS_PER_QUERY)):
            standings = await self._journal.standings(tenant, some)
            states = {key: standings[key].state if key in standings else None for key in some}
            loss.failed += sum(state is DocumentState.FAILED for state in states.values())
            loss.waiting -= {key for key, state in states.items() if state is not DocumentState.DURABLE}
