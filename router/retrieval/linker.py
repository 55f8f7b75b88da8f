"""Links a text to the names of the graph."""

from __future__ import annotations

from collections.abc import Sequence

from router.errors import StoreUnavailable
from router.retrieval.base import LinkedName
from router.stores.mirror import GraphMirror


def without_names(text: str, linked: Sequence[LinkedName]) -> str:
    """The text with the names in it left out; empty when it says nothing else."""
    for name in linked:
        text = text.replace(name.surface, " ")
    words = " ".join(text.split())
    return words if any(map(str.isalnum, words)) else ""


class NameLinker:
    """Names that stand in a text, word for word. An exact name means its entity; ambiguity is later work."""

    def __init__(self, mirror: GraphMirror) -> None:
        self._mirror = mirror

    async def link(self, tenant: str, text: str) -> tuple[LinkedName, ...]:
        """Longest first.

        Raises:
            StoreUnavailable: The graph is down and no snapshot is there.
        """
        snapshot = await self._mirror.current(tenant)
        return tuple(LinkedName(name.entity.id, name.entity.name, name.surface, 1.0) for name in snapshot.names_in(text))

    async def ids_in(self, tenant: str, text: str) -> tuple[str, ...]:
        """Entities that a text of this query names; none while there is no graph to name them."""
        try:
            return tuple(name.entity_id for name in await self.link(tenant, text))
        except StoreUnavailable:
            # The text stays evidence of its own; the walk just has no edge to it, and the graph source reports the cause.
            return ()
