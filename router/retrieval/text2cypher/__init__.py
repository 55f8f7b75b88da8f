"""Questions to Cypher: a language model writes one query, the guard parses and rewrites it, the database plans and runs it."""

from router.retrieval.text2cypher.answer import CypherWriter, GraphWithCypher
from router.retrieval.text2cypher.guard import Limits, guard

__all__ = ["CypherWriter", "GraphWithCypher", "Limits", "guard"]
