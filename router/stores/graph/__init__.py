"""The graph store over Bolt: one store, two dialects (Neo4j and ArcadeDB)."""

from router.stores.graph.errors import bolt_errors
from router.stores.graph.monitor import GraphMonitor
from router.stores.graph.store import BoltGraphStore, open_embedded, open_graph_store

__all__ = ["BoltGraphStore", "GraphMonitor", "bolt_errors", "open_embedded", "open_graph_store"]
