"""How two named things are connected."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.corpus.base import Triple
from router.retrieval.connection import MAX_STEPS, connections, shortest_path
from router.retrieval.linker import NameLinker
from tests.unit.graphs import TENANT, mirror_of, passage

CORPUS = (
    passage("incident", "Incident 12", "The pump failed. It came from Aster Foundry."),
    passage("supplier", "Aster Foundry", "The account is held by Jonas Weld."),
    passage("person", "Jonas Weld", "He works in the Harbour Office."),
    passage("menu", "Canteen Menu", "Soup."),
)


@pytest.fixture
async def connect(tmp_path):
    async def between(question: str, corpus=CORPUS, facts=()):
        mirror, _, _ = await mirror_of(corpus, tmp_path, facts)
        snapshot = await mirror.current(TENANT)
        return connections(snapshot, question, await NameLinker(mirror).link(TENANT, question))

    return between


@pytest.mark.parametrize(
    "question",
    [
        "How is Incident 12 connected to Jonas Weld?",
        "What is the relationship between Incident 12 and Jonas Weld?",
        "What does Incident 12 have to do with Jonas Weld?",
    ],
)
async def test_the_path_is_told_step_by_step(connect, question: str) -> None:
    (found,) = await connect(question)
    assert [(step.subject, step.relation, step.object) for step in found.steps] == [
        ("Incident 12", "mentions", "Aster Foundry"),
        ("Aster Foundry", "mentions", "Jonas Weld"),
    ]
    assert found.chunk_ids[:2] == ("incident", "supplier")
    assert found.text == "Incident 12 and Jonas Weld: Incident 12 mentions Aster Foundry; Aster Foundry mentions Jonas Weld."


@pytest.mark.parametrize(
    "question", ["Who is Jonas Weld?", "How is Incident 12 connected?", "How is Jonas Weld connected to the Canteen Menu?"]
)
async def test_no_path_where_none_is_asked_for_or_there_is_none(connect, question: str) -> None:
    assert await connect(question) == []


async def test_facts_connect_too(connect) -> None:
    facts = [Triple("Night Ferry", "directed by", "Mara Holt"), Triple("Stone Harbour", "directed by", "Mara Holt")]
    (found,) = await connect("What is the link between Night Ferry and Stone Harbour?", CORPUS, facts)
    assert {step.relation for step in found.steps} == {"directed by"}
    assert "Mara Holt" in found.text


async def test_of_paths_of_one_length_the_one_clear_of_hubs_is_taken(connect) -> None:
    hub = passage("hub", "Telephone List", "Ada Finn. Olaf Berg. Jonas Weld. Mara Holt. Piet Maas. Ines Falk.")
    quiet = passage("quiet", "Orchard Note", "Ada Finn grows apples. So does Olaf Berg.")
    people = [passage(name, name, "A page.") for name in ("Ada Finn", "Olaf Berg", "Jonas Weld", "Mara Holt", "Piet Maas", "Ines Falk")]
    (found,) = await connect("How are Ada Finn and Olaf Berg connected, and what links Ada Finn to Olaf Berg?", (hub, quiet, *people))
    assert "Orchard Note" in found.text
    assert "Telephone List" not in found.text


edges = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=14)


@given(edges, st.integers(0, 9), st.integers(0, 9))
async def test_no_path_is_shorter(tmp_path_factory, pairs, start: int, end: int) -> None:
    facts = [Triple(f"Thing {one}", "next to", f"Thing {other}") for one, other in pairs if one != other]
    if not facts:
        return
    mirror, _, _ = await mirror_of(CORPUS, tmp_path_factory.mktemp("graph"), facts)
    snapshot = await mirror.current(TENANT)
    node = {snapshot.entity(entity.id).name: snapshot.node(entity.id) for entity in snapshot.entities.living()}
    graph = nx.Graph((node[fact.subject], node[fact.object]) for fact in facts)
    one, other = node.get(f"Thing {start}"), node.get(f"Thing {end}")
    if one is None or other is None:
        return
    found = shortest_path(snapshot, [one], [other])
    if not nx.has_path(graph, one, other) or nx.shortest_path_length(graph, one, other) > MAX_STEPS:
        assert len(found) - 1 > MAX_STEPS or found == []
        return
    assert (found[0], found[-1]) == (one, other)
    assert len(found) - 1 == nx.shortest_path_length(graph, one, other)
    assert all(graph.has_edge(before, after) for before, after in pairwise(found))
