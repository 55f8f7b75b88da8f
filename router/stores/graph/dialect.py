"""The statements of the graph store, in Cypher that Neo4j 5 and ArcadeDB both take, and where the two differ.

    (:Chunk {key, tenant, id, document_id, document_key, collection, ordinal, title})
    (:Entity {key, tenant, id, name, kind})
    (:Document {key, tenant, id})
    (:Chunk)-[:SUBJECT {confidence}]->(:Entity)
    (:Chunk)-[:MENTIONS {start, end}]->(:Entity)
    (:Entity)-[:FACT {id, relation, document_id, document_key, chunk_id}]->(:Entity)
    (:Document)-[:STATES]->(:Entity)    the entity is the subject of a fact of this document

A `key` is tenant and id in one, unique, so that no statement can reach another tenant's node by id. STATES is how the facts of a
document are found: neither server looks edges up by their properties in an index that both have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from router.settings import GraphSettings

SCHEMA: Sequence[LiteralString] = (
    "CREATE CONSTRAINT chunk_key IF NOT EXISTS FOR (c:Chunk) REQUIRE c.key IS UNIQUE",
    "CREATE CONSTRAINT entity_key IF NOT EXISTS FOR (e:Entity) REQUIRE e.key IS UNIQUE",
    "CREATE CONSTRAINT document_key IF NOT EXISTS FOR (d:Document) REQUIRE d.key IS UNIQUE",
    "CREATE INDEX chunk_tenant IF NOT EXISTS FOR (c:Chunk) ON (c.tenant)",
    "CREATE INDEX chunk_document IF NOT EXISTS FOR (c:Chunk) ON (c.document_key)",
    "CREATE INDEX entity_tenant IF NOT EXISTS FOR (e:Entity) ON (e.tenant)",
)

# Writes: $rows; each returns how many rows found the ends of their edge.
WRITE_CHUNKS: LiteralString = "UNWIND $rows AS row MERGE (c:Chunk {key: row.key}) SET c += row.properties RETURN count(*) AS written"
WRITE_ENTITIES: LiteralString = "UNWIND $rows AS row MERGE (e:Entity {key: row.key}) SET e += row.properties RETURN count(*) AS written"
WRITE_DOCUMENTS: LiteralString = "UNWIND $rows AS row MERGE (d:Document {key: row.key}) SET d += row.properties RETURN count(*) AS written"
WRITE_SUBJECTS: LiteralString = (
    "UNWIND $rows AS row MATCH (c:Chunk {key: row.chunk}) MATCH (e:Entity {key: row.entity}) "
    "MERGE (c)-[s:SUBJECT]->(e) SET s.confidence = row.confidence RETURN count(*) AS written"
)
WRITE_MENTIONS: LiteralString = (
    "UNWIND $rows AS row MATCH (c:Chunk {key: row.chunk}) MATCH (e:Entity {key: row.entity}) "
    "MERGE (c)-[m:MENTIONS {start: row.start}]->(e) SET m.end = row.end RETURN count(*) AS written"
)
KNOWN_DOCUMENTS: LiteralString = "UNWIND $keys AS key MATCH (d:Document {key: key}) RETURN d.key AS key"

# Reads of a tenant's whole graph.
READ_CHUNKS: LiteralString = (
    "MATCH (c:Chunk {tenant: $tenant}) "
    "RETURN c.id AS id, c.document_id AS document_id, c.collection AS collection, c.ordinal AS ordinal, c.title AS title"
)
READ_ENTITIES: LiteralString = "MATCH (e:Entity {tenant: $tenant}) RETURN e.id AS id, e.name AS name, e.kind AS kind"
# An edge of an earlier release has no confidence.
READ_SUBJECTS: LiteralString = (
    "MATCH (c:Chunk {tenant: $tenant})-[s:SUBJECT]->(e:Entity) "
    "RETURN c.id AS chunk_id, e.id AS entity_id, coalesce(s.confidence, 1.0) AS confidence"
)
READ_MENTIONS: LiteralString = (
    "MATCH (c:Chunk {tenant: $tenant})-[m:MENTIONS]->(e:Entity) RETURN c.id AS chunk_id, e.id AS entity_id, m.start AS start, m.end AS end"
)
FACT_COLUMNS: LiteralString = (
    "RETURN f.id AS id, s.id AS subject_id, f.relation AS relation, o.id AS object_id, f.document_id AS document_id, f.chunk_id AS chunk_id"
)
READ_FACTS: LiteralString = "MATCH (s:Entity {tenant: $tenant})-[f:FACT]->(o:Entity) " + FACT_COLUMNS
READ_NEIGHBOURS: LiteralString = (
    "UNWIND $keys AS key MATCH (e:Entity {key: key})-[f:FACT]-() WITH DISTINCT f, startNode(f) AS s, endNode(f) AS o "
    + FACT_COLUMNS
    + " ORDER BY id LIMIT $limit"
)
COUNTS: Mapping[str, LiteralString] = {
    "chunks": "MATCH (c:Chunk {tenant: $tenant}) RETURN count(c) AS n",
    "entities": "MATCH (e:Entity {tenant: $tenant}) RETURN count(e) AS n",
    "mentions": "MATCH (c:Chunk {tenant: $tenant})-[m:MENTIONS]->() RETURN count(m) AS n",
    "facts": "MATCH (e:Entity {tenant: $tenant})-[f:FACT]->() RETURN count(f) AS n",
}

# Deletes, some at a time; each returns the entities that have lost an edge.
DELETE_FACTS: LiteralString = (
    "MATCH (:Document {key: $document})-[:STATES]->(s:Entity) WITH DISTINCT s "
    "MATCH (s)-[f:FACT {document_key: $document}]->(o:Entity) "
    "WITH f, s.key AS subject, o.key AS object LIMIT $limit DELETE f RETURN subject, object"
)
SOME_CHUNKS: LiteralString = "MATCH (c:Chunk {document_key: $document}) RETURN c.key AS key LIMIT $limit"
TOUCHED_BY_CHUNKS: LiteralString = (
    "UNWIND $keys AS key MATCH (c:Chunk {key: key})-[:MENTIONS|SUBJECT]->(e:Entity) RETURN DISTINCT e.key AS entity"
)
DELETE_CHUNKS: LiteralString = "UNWIND $keys AS key MATCH (c:Chunk {key: key}) DETACH DELETE c"
DELETE_DOCUMENT: LiteralString = "MATCH (d:Document {key: $document}) DETACH DELETE d"
# An entity without facts can only have STATES edges that have outlived their facts.
DELETE_ORPHANS: LiteralString = (
    "UNWIND $keys AS key MATCH (e:Entity {key: key}) WHERE NOT (e)-[:FACT]-() AND NOT (e)<-[:MENTIONS|SUBJECT]-() DETACH DELETE e"
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one server does well and the other does not."""

    find_facts: LiteralString | None
    """Ids of the facts of $documents that leave the entities $subjects; None where `write_facts` finds them itself."""
    write_facts: LiteralString
    write_stated: LiteralString


_FACT_ENDS: LiteralString = "UNWIND $rows AS row MATCH (s:Entity {key: row.subject}) MATCH (o:Entity {key: row.object}) "
_STATED_ENDS: LiteralString = "UNWIND $rows AS row MATCH (d:Document {key: row.document}) MATCH (s:Entity {key: row.subject}) "

NEO4J = Dialect(
    find_facts=None,
    write_facts=_FACT_ENDS + "MERGE (s)-[f:FACT {id: row.id}]->(o) ON CREATE SET f += row.properties RETURN count(*) AS written",
    write_stated=_STATED_ENDS + "MERGE (d)-[:STATES]->(s)",
)
# To MERGE an edge ArcadeDB looks at every edge of its first end: 370 facts/s where some entities have thousands, against 2,300 for
# CREATE. So the facts that are there are looked up once per write. Safe, since this server has one writer: us.
ARCADEDB = Dialect(
    find_facts=(
        "UNWIND $subjects AS subject MATCH (s:Entity {key: subject})-[f:FACT]->() WHERE f.document_key IN $documents RETURN f.id AS id"
    ),
    write_facts=_FACT_ENDS + "CREATE (s)-[f:FACT {id: row.id}]->(o) SET f += row.properties RETURN count(*) AS written",
    write_stated=_STATED_ENDS + "CREATE (d)-[:STATES]->(s)",
)


def dialect_of(settings: GraphSettings) -> Dialect:
    return {"neo4j": NEO4J, "arcadedb": ARCADEDB}[settings.dialect]
