"""A small company's graph, and what a model may rightly ask of it."""

from __future__ import annotations

from router.retrieval.text2cypher.schema import GraphSchema, schema_of
from router.stores.base import GraphBatch, GraphContent, GraphNodeChunk, Subject
from router.types import Chunk, Entity, Fact, Mention, Span

KINDS = {
    "PERSON": ("Jonas Weld", "Ada Holm", "Mara Quist"),
    "ORG": ("Aster Foundry", "Tidewater", "Northlight"),
    "GPE": ("Kiel", "Bergen"),
    "DATE": ("1962", "1971"),
    "TERM": ("Pump P-12", "O'Brien's \"Seal\""),
}
FACTS = (
    ("Jonas Weld", "works for", "Aster Foundry"),
    ("Ada Holm", "works for", "Aster Foundry"),
    ("Mara Quist", "works for", "Tidewater"),
    ("Jonas Weld", "reports to", "Ada Holm"),
    ("Aster Foundry", "supplies", "Tidewater"),
    ("Tidewater", "supplies", "Northlight"),
    ("Aster Foundry", "located in", "Kiel"),
    ("Tidewater", "located in", "Bergen"),
    ("Aster Foundry", "founded_in", "1962"),
    ("Tidewater", "founded_in", "1971"),
    ("Aster Foundry", "makes", "Pump P-12"),
    ("Pump P-12", "contains", "O'Brien's \"Seal\""),
)
PASSAGES = {
    "Supplier review": ("Aster Foundry", ("Tidewater", "Jonas Weld")),
    "Incident 12": ("Pump P-12", ("Aster Foundry", "Jonas Weld")),
    "Travel notes": ("Bergen", ("Mara Quist",)),
}


def identity(name: str) -> str:
    return "e-" + "".join(character if character.isalnum() else "-" for character in name.lower())


def company(extra: tuple[str, ...] = ()) -> GraphBatch:
    """The graph; `extra` are organisations besides, which Jonas Weld works for too."""
    entities = [Entity(identity(name), name, kind) for kind, names in KINDS.items() for name in names]
    entities += [Entity(identity(name), name, "ORG") for name in extra]
    told = (*FACTS, *(("Jonas Weld", "works for", name) for name in extra))
    facts = tuple(
        Fact(f"f{number}", identity(subject), relation, identity(other), "ledger") for number, (subject, relation, other) in enumerate(told)
    )
    chunks = [Chunk(f"c{number}", f"d{number}", "main", 0, title, (), "text", Span(0, 4)) for number, title in enumerate(PASSAGES)]
    subjects = [Subject(chunk.id, identity(PASSAGES[chunk.title][0])) for chunk in chunks]
    mentions = [
        Mention(chunk.id, identity(name), Span(place, place + 1)) for chunk in chunks for place, name in enumerate(PASSAGES[chunk.title][1])
    ]
    return GraphBatch(tuple(chunks), tuple(entities), tuple(subjects), tuple(mentions), facts)


def content(batch: GraphBatch) -> GraphContent:
    chunks = tuple(GraphNodeChunk(chunk.id, chunk.document_id, chunk.collection, chunk.ordinal, chunk.title) for chunk in batch.chunks)
    return GraphContent(chunks, batch.entities, batch.subjects, batch.mentions, batch.facts)


def company_schema() -> GraphSchema:
    return schema_of(content(company()))


Row = tuple[object, ...]
# Statement, parameters, and the rows of a right answer (nodes by name, paths as lists); sorted, unless the statement orders them.
ANSWERABLE: dict[str, tuple[str, dict[str, object], list[Row]]] = {
    "one hop": (
        "MATCH (p:PERSON)-[:WORKS_FOR]->(o) WHERE o.name = $org RETURN p.name AS person",
        {"org": "Aster Foundry"},
        [("Ada Holm",), ("Jonas Weld",)],
    ),
    "name in the pattern": (
        "MATCH (p)-[:WORKS_FOR]->(:ORG {name: $org}) RETURN p.name",
        {"org": "Tidewater"},
        [("Mara Quist",)],
    ),
    "text in the query": ("MATCH (p)-[:WORKS_FOR]->(o:ORG {name: 'Tidewater'}) RETURN p.name;", {}, [("Mara Quist",)]),
    "quoted text": (
        "MATCH (p)-[:CONTAINS]->(s {name: 'O\\'Brien\\'s \"Seal\"'}) RETURN p.name",
        {},
        [("Pump P-12",)],
    ),
    "against the arrow": ("MATCH (o:ORG)<-[:WORKS_FOR]-(p:PERSON {name: $who}) RETURN o.name", {"who": "Ada Holm"}, [("Aster Foundry",)]),
    "no direction": (
        "MATCH (o {name: $name})-[:SUPPLIES]-(other) RETURN other.name",
        {"name": "Tidewater"},
        [("Aster Foundry",), ("Northlight",)],
    ),
    "two hops": (
        "MATCH (p {name: $who})-[:WORKS_FOR]->()-[:LOCATED_IN]->(place) RETURN place.name AS place",
        {"who": "Jonas Weld"},
        [("Kiel",)],
    ),
    "two paths": (
        "MATCH (p)-[:WORKS_FOR]->(o), (o)-[:LOCATED_IN]->(c) WHERE c.name = $city RETURN p.name ORDER BY p.name DESC",
        {"city": "Kiel"},
        [("Jonas Weld",), ("Ada Holm",)],
    ),
    "a node as a value": ("MATCH (p {name: $who})-[:REPORTS_TO]->(boss) RETURN boss", {"who": "Jonas Weld"}, [("Ada Holm",)]),
    "a relation as a value": (
        "MATCH (a {name: $who})-[r]->(b) WHERE b.kind = 'PERSON' RETURN type(r) AS relation, r",
        {"who": "Jonas Weld"},
        [("reports to", "reports to")],
    ),
    "types in alternatives": (
        "MATCH ({name: $who})-[r:WORKS_FOR|REPORTS_TO]->(b) RETURN type(r), b.name ORDER BY b.name",
        {"who": "Jonas Weld"},
        [("reports to", "Ada Holm"), ("works for", "Aster Foundry")],
    ),
    "labels in alternatives": ("MATCH (n:GPE|DATE) RETURN n.name ORDER BY n.name LIMIT 2", {}, [("1962",), ("1971",)]),
    "small letters": ("match (p:Person)-[:works_for]->(o:org {name: 'Tidewater'}) return p.name", {}, [("Mara Quist",)]),
    "variable length": (
        "MATCH (o {name: $name})-[:SUPPLIES*1..3]->(other) RETURN other.name",
        {"name": "Aster Foundry"},
        [("Northlight",), ("Tidewater",)],
    ),
    "a path as a value": (
        "MATCH p = (o {name: $name})-[:SUPPLIES*2..2]->(other) RETURN p",
        {"name": "Aster Foundry"},
        [(("Aster Foundry", "supplies", "Tidewater", "supplies", "Northlight"),)],
    ),
    "parts of a path": (
        "MATCH p = (o {name: $name})-[:SUPPLIES|MAKES*1..2]->(x) RETURN length(p) AS steps, [n IN nodes(p) | n.name] AS names, "
        "[r IN relationships(p) | type(r)] AS relations ORDER BY steps DESC, x.name LIMIT 1",
        {"name": "Aster Foundry"},
        [(2, ("Aster Foundry", "Tidewater", "Northlight"), ("supplies", "supplies"))],
    ),
    "shortest path": (
        "MATCH p = shortestPath((a {name: $a})-[*..6]-(b {name: $b})) RETURN [n IN nodes(p) | n.name] AS names, length(p)",
        {"a": "Jonas Weld", "b": "Bergen"},
        [(("Jonas Weld", "Aster Foundry", "Tidewater", "Bergen"), 3)],
    ),
    "count": ("MATCH (p:PERSON) RETURN count(p) AS n", {}, [(3,)]),
    "count of all": ("MATCH (:ORG)-[r]->() RETURN count(*)", {}, [(7,)]),
    "group and order": (
        "MATCH (p:PERSON)-[:WORKS_FOR]->(o:ORG) "
        "RETURN o.name AS org, count(p) AS people, collect(p.name) AS names ORDER BY people DESC LIMIT 1",
        {},
        [("Aster Foundry", 2, {"Ada Holm", "Jonas Weld"})],
    ),
    "having": (
        "MATCH (o:ORG)<-[:WORKS_FOR]-(p) WITH o, count(DISTINCT p) AS n WHERE n > 1 RETURN o.name, n",
        {},
        [("Aster Foundry", 2)],
    ),
    "with and a further match": (
        "MATCH (p {name: $who})-[:WORKS_FOR]->(o) WITH o MATCH (o)-[:SUPPLIES]->(c) RETURN c.name",
        {"who": "Ada Holm"},
        [("Tidewater",)],
    ),
    "optional": (
        "MATCH (o:ORG) OPTIONAL MATCH (o)-[:FOUNDED_IN]->(y) RETURN o.name AS org, y.name AS year ORDER BY org",
        {},
        [("Aster Foundry", "1962"), ("Northlight", None), ("Tidewater", "1971")],
    ),
    "optional with a condition": (
        "MATCH (o:ORG) OPTIONAL MATCH (o)-[:FOUNDED_IN]->(y) WHERE toInteger(y.name) > 1965 "
        "RETURN o.name AS org, y.name AS year ORDER BY org",
        {},
        [("Aster Foundry", None), ("Northlight", None), ("Tidewater", "1971")],
    ),
    "figures": (
        "MATCH (o:ORG)-[:FOUNDED_IN]->(y) WITH o, toInteger(y.name) AS year WHERE 1960 <= year < 1970 RETURN o.name, year + 100 AS later",
        {},
        [("Aster Foundry", 2062)],
    ),
    "smallest and mean": (
        "MATCH (:ORG)-[:FOUNDED_IN]->(y) "
        "RETURN min(toInteger(y.name)) AS first, max(toInteger(y.name)) AS last, avg(toInteger(y.name)) AS mean",
        {},
        [(1962, 1971, 1966.5)],
    ),
    "conditions": (
        "MATCH (n:ORG) WHERE (n.name STARTS WITH 'A' OR n.name ENDS WITH 'water' OR n.name CONTAINS 'zzz') "
        "AND NOT n.name = 'Tidewater' RETURN n.name",
        {},
        [("Aster Foundry",)],
    ),
    "a list as a parameter": (
        "MATCH (n)-[:LOCATED_IN]->(c) WHERE n.name IN $names RETURN c.name",
        {"names": ("Tidewater", "Aster Foundry", "Nobody")},
        [("Bergen",), ("Kiel",)],
    ),
    "a list in the query": ("MATCH (n) WHERE toLower(n.name) IN ['kiel', 'bergen'] RETURN n.name AS n", {}, [("Bergen",), ("Kiel",)]),
    "pattern as a condition": (
        "MATCH (o:ORG) WHERE (o)-[:SUPPLIES]->(:ORG) AND NOT (o)<-[:SUPPLIES]-() RETURN o.name",
        {},
        [("Aster Foundry",)],
    ),
    "exists": ("MATCH (o:ORG) WHERE NOT EXISTS { (o)-[:LOCATED_IN]->() } RETURN o.name", {}, [("Northlight",)]),
    "alternatives in a condition": (
        "MATCH (o:ORG) WHERE NOT (o)-[:LOCATED_IN|FOUNDED_IN]->() RETURN o.name",
        {},
        [("Northlight",)],
    ),
    "passages": (
        "MATCH (d:Passage)-[:MENTIONS]->(e {name: $who}) RETURN d.title AS title ORDER BY title",
        {"who": "Jonas Weld"},
        [("Incident 12",), ("Supplier review",)],
    ),
    "passages without a label": ("MATCH (d)-[:ABOUT]->(e) WHERE d.title CONTAINS 'Incident' RETURN e.name", {}, [("Pump P-12",)]),
    "passages about what": (
        "MATCH (p:PERSON)<-[:MENTIONS]-(d)-[:ABOUT]->(e) RETURN p.name AS p, collect(DISTINCT e.name) AS about ORDER BY p",
        {},
        [("Jonas Weld", {"Aster Foundry", "Pump P-12"}), ("Mara Quist", {"Bergen"})],
    ),
    "passages that mention two": (
        "MATCH (a {name: $a})<-[:MENTIONS]-(d:Passage)-[:MENTIONS]->(b {name: $b}) RETURN DISTINCT d.title",
        {"a": "Jonas Weld", "b": "Tidewater"},
        [("Supplier review",)],
    ),
    "union": (
        "MATCH (p)-[:WORKS_FOR]->({name: 'Tidewater'}) RETURN p.name AS name "
        "UNION MATCH (o)-[:SUPPLIES]->({name: 'Tidewater'}) RETURN o.name AS name",
        {},
        [("Aster Foundry",), ("Mara Quist",)],
    ),
    "case": (
        "MATCH (o:ORG) OPTIONAL MATCH (o)-[:LOCATED_IN]->(c) "
        "RETURN o.name AS org, CASE WHEN c IS NULL THEN 'unknown' ELSE c.name END AS place ORDER BY org",
        {},
        [("Aster Foundry", "Kiel"), ("Northlight", "unknown"), ("Tidewater", "Bergen")],
    ),
    "unwind": (
        "UNWIND $names AS name MATCH (o {name: name})-[:LOCATED_IN]->(c) RETURN name, c.name",
        {"names": ("Aster Foundry", "Tidewater")},
        [("Aster Foundry", "Kiel"), ("Tidewater", "Bergen")],
    ),
    "skip": ("MATCH (p:PERSON) RETURN p.name ORDER BY p.name SKIP 1 LIMIT 1", {}, [("Jonas Weld",)]),
    "distinct": ("MATCH (p)-[:WORKS_FOR]->(o) RETURN DISTINCT o.name ORDER BY o.name", {}, [("Aster Foundry",), ("Tidewater",)]),
    "labels": (
        "MATCH (n {name: $name}) RETURN labels(n) AS labels, n:ORG AS is_org, n.kind IS NULL AS none",
        {"name": "Tidewater"},
        [(("ORG",), True, False)],
    ),
    "any of a list": (
        "MATCH p = ({name: $name})-[*1..2]->(x) WHERE any(n IN nodes(p) WHERE n.name = 'Tidewater') "
        "AND none(n IN nodes(p) WHERE n.kind = 'DATE') "
        "RETURN x.name ORDER BY x.name",
        {"name": "Aster Foundry"},
        [("Bergen",), ("Northlight",), ("Tidewater",)],
    ),
    "a map": (
        "MATCH (o {name: $n})-[:LOCATED_IN]->(c) RETURN {org: o.name, city: c.name} AS pair",
        {"n": "Tidewater"},
        [({"org": "Tidewater", "city": "Bergen"},)],
    ),
    "words that a server reserves": (
        "MATCH (order_by)-[show:LOCATED_IN]->(end1) RETURN end1.name AS start ORDER BY start",
        {},
        [("Bergen",), ("Kiel",)],
    ),
    "slices": (
        "MATCH (p:PERSON) WITH p ORDER BY p.name WITH collect(p.name) AS names "
        "RETURN names[0] AS first, names[1..3] AS others, size(names) AS n",
        {},
        [("Ada Holm", ("Jonas Weld", "Mara Quist"), 3)],
    ),
    "nodes out of a list": (
        "MATCH (a:ORG)-[:LOCATED_IN]->(:GPE) WITH collect(a) AS orgs "
        "UNWIND orgs AS org MATCH (org)-[:SUPPLIES]->(x) RETURN x.name ORDER BY x.name",
        {},
        [("Northlight",), ("Tidewater",)],
    ),
    "coalesce": (
        "MATCH (o:ORG {name: $n}) OPTIONAL MATCH (o)-[:LOCATED_IN]->(c) RETURN coalesce(c.name, 'nowhere') AS place",
        {"n": "Northlight"},
        [("nowhere",)],
    ),
}
