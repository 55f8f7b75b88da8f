"""The snapshot's edges and the walk on it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from router.corpus.base import Triple
from router.names import entity_id
from router.retrieval.pagerank import dominant_path, personalised_pagerank, strengths
from router.settings import WalkSettings
from router.stores.base import EMPTY_GRAPH
from router.stores.snapshot import GraphSnapshot
from tests.unit.graphs import TENANT, mirror_of, passage


async def snapshot_of(tmp_path, *chunks, triples=()):
    mirror, _, _ = await mirror_of(chunks, tmp_path, triples)
    return await mirror.current(TENANT)


async def test_a_passage_is_linked_to_the_one_whose_title_it_names(tmp_path) -> None:
    snapshot = await snapshot_of(
        tmp_path,
        passage("a", "Valve Recall", "The recall began after Aster Foundry shipped late."),
        passage("b", "Aster Foundry", "A foundry in the north."),
        passage("c", "Canteen Menu", "Soup on Mondays."),
    )
    a, b, c = (snapshot.node(identity) for identity in "abc")
    assert snapshot.weights[a, b] == snapshot.weights[b, a] == 1.0
    assert snapshot.weights[a, c] == snapshot.weights[b, c] == 0.0


async def test_passages_of_a_document_are_linked_by_names_only(tmp_path) -> None:
    snapshot = await snapshot_of(
        tmp_path,
        *(passage(str(n), "Long Report", f"part {n}", document="report", ordinal=n) for n in range(3)),
        passage("x", "Other", "text"),
    )
    assert snapshot.weights[snapshot.node("0"), snapshot.node("1")] == 0.0


async def test_structured_facts_link_their_entities(tmp_path) -> None:
    snapshot = await snapshot_of(
        tmp_path,
        passage("a", "Note", "text"),
        triples=[Triple("Pump Seven", "maintained by", "Team Blue"), Triple("Team Blue", "led by", "Ada Weld")],
    )
    pump, blue, ada = (snapshot.node(entity_id(name)) for name in ("Pump Seven", "Team Blue", "Ada Weld"))
    assert snapshot.weights[pump, blue] > 0
    assert snapshot.weights[blue, ada] > 0
    assert snapshot.weights[pump, ada] == 0
    assert [fact.relation for fact in snapshot.facts_of[entity_id("Ada Weld")]] == ["led by"]


async def test_names_in_a_question_are_found_longest_first(tmp_path) -> None:
    snapshot = await snapshot_of(tmp_path, passage("a", "Aster", "x"), passage("b", "Aster Foundry North", "y"), passage("c", "Weld", "z"))
    assert [name.entity.name for name in snapshot.names_in("Does Weld visit Aster Foundry North or Aster?")] == [
        "Aster Foundry North",
        "Aster",
        "Weld",
    ]


def test_an_empty_graph_can_be_walked() -> None:
    snapshot = GraphSnapshot(EMPTY_GRAPH, WalkSettings())
    assert snapshot.weights.shape == (0, 0)
    assert snapshot.names_in("anything") == []


def test_damping_zero_returns_the_seeds() -> None:
    weights = sp.csr_matrix(np.array([[0, 1.0], [1.0, 0]]))
    assert personalised_pagerank(weights, strengths(weights), np.array([0.3, 0.7]), 0.0).tolist() == [0.3, 0.7]


@given(st.integers(2, 8), st.data(), st.floats(0, 0.95))
def test_mass_is_kept_and_matches_the_closed_form(size: int, data, damping: float) -> None:
    upper = data.draw(st.lists(st.floats(0, 1), min_size=size * size, max_size=size * size))
    matrix = np.triu(np.array(upper).reshape(size, size), 1)
    matrix[matrix < 1e-3] = 0.0
    matrix = matrix + matrix.T
    restart = np.zeros(size)
    restart[data.draw(st.integers(0, size - 1))] = 1.0
    weights = sp.csr_matrix(matrix)
    mass = personalised_pagerank(weights, strengths(weights), restart, damping, iterations=2_000, tolerance=1e-13)
    strength = matrix.sum(axis=0)
    transition = np.where(strength > 0, matrix / np.where(strength > 0, strength, 1), restart[:, None])
    exact = np.linalg.solve(np.eye(size) - damping * transition, (1 - damping) * restart)
    assert mass.sum() == pytest.approx(1.0)
    assert mass == pytest.approx(exact, abs=1e-8)


def test_the_dominant_path_goes_back_to_the_seed() -> None:
    chain = np.zeros((4, 4))
    for one, other in ((0, 1), (1, 2), (2, 3)):
        chain[one, other] = chain[other, one] = 1.0
    weights = sp.csr_matrix(chain)
    restart = np.array([1.0, 0, 0, 0])
    mass = personalised_pagerank(weights, strengths(weights), restart, 0.5)
    assert dominant_path(weights, strengths(weights), mass, restart, 3) == [0, 1, 2, 3]
    assert dominant_path(weights, strengths(weights), mass, restart, 0) == [0]


async def test_facts_without_passages_are_a_graph(tmp_path) -> None:
    snapshot = await snapshot_of(tmp_path, triples=[Triple("Pump Seven", "maintained by", "Team Blue")])
    assert snapshot.weights[snapshot.node(entity_id("Pump Seven")), snapshot.node(entity_id("Team Blue"))] > 0
