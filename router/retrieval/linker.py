"""Links a text to the names of the graph."""

from __future__ import annotations

from router.retrieval.base import LinkedName
from router.stores.mirror import GraphMirror


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
