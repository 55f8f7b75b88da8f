"""The guard: what must be refused is, for the reason that it names; what passes is written anew and carries the tenant everywhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import InvalidInput
from router.retrieval.text2cypher.guard import MAX_LIST, MAX_PARAMETER_CHARS, MAX_PARAMETERS, Limits, guard
from router.retrieval.text2cypher.parser import parse
from tests.unit.retrieval.text2cypher.company import ANSWERABLE, company_schema
from tests.unit.retrieval.text2cypher.hostile import HOSTILE, STATEMENTS

SCHEMA = company_schema()
NODE = re.compile(r"\((?:[vg]_?\w+)?(?::(?:Entity|Chunk))? \{[^}]*\}\)")
WRITING = re.compile(r"\b(CREATE|MERGE|SET|DELETE|REMOVE|DROP|CALL|LOAD|USE|FOREACH|INSERT|YIELD|SHOW|GRANT)\b", re.IGNORECASE)


@pytest.mark.parametrize(("kind", "reason", "statement"), STATEMENTS, ids=[f"{kind}: {text[:60]}" for kind, _, text in STATEMENTS])
def test_a_hostile_statement_is_refused_for_what_it_is(kind: str, reason: str, statement: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        guard(statement, {"p": "tenant"}, SCHEMA)
    assert refusal.value.reason == f"CYPHER_{reason}", refusal.value.message
    assert len(refusal.value.message) < 1_000


def test_there_are_enough_of_them() -> None:
    assert len(STATEMENTS) > 200
    assert all(len(cases) >= 5 for cases in HOSTILE.values())


@pytest.mark.parametrize("name", ANSWERABLE)
def test_what_passes_holds_nothing_of_the_text(name: str) -> None:
    cypher, parameters, _ = ANSWERABLE[name]
    statement = guard(cypher, parameters, SCHEMA)
    assert set(re.findall(r"\$(\w+)", statement.cypher)) - {"tenant"} == set(statement.parameters)
    assert "tenant" not in statement.parameters
    # Texts became parameters (the one below is ours), names became ours, and every node carries the tenant.
    assert "'" not in statement.cypher.replace("'Passage'", "")
    assert '"' not in statement.cypher
    assert not WRITING.search(statement.cypher)
    assert_every_node_carries_the_tenant(statement.cypher)


def assert_every_node_carries_the_tenant(cypher: str) -> None:
    nodes = NODE.findall(cypher)
    edges = re.findall(r"-\[", cypher)
    assert all("tenant: $tenant" in node for node in nodes)
    # Whatever stands at an end of an edge is such a node.
    assert not re.search(r"\]-?>?\((?!(?:[vg]_?\w+)?(?::(?:Entity|Chunk))? \{tenant: \$tenant)", cypher)
    assert len(nodes) >= len(edges)
    for name in re.findall(r"(\w+) = (?:shortestPath\()?\([^=]*?\*\d", cypher):
        assert f"all(n IN nodes({name}) WHERE n.tenant = $tenant)" in cypher


def test_a_node_of_a_later_match_carries_the_tenant_too() -> None:
    statement = guard("MATCH (a:ORG) WITH collect(a) AS l UNWIND l AS x MATCH (x)-[:SUPPLIES]->(y) RETURN y", {}, SCHEMA)
    assert "(v_x {tenant: $tenant})-[" in statement.cypher
    assert statement.cypher.count("tenant: $tenant") == 3


def test_hidden_nodes_of_a_path_are_tested() -> None:
    statement = guard("MATCH (a {name: 'x'})-[*1..3]-(b) RETURN b", {}, SCHEMA)
    assert "WHERE all(n IN nodes(g1) WHERE n.tenant = $tenant)" in statement.cypher


def test_rows_are_limited() -> None:
    assert guard("MATCH (n) RETURN n", {}, SCHEMA, Limits(rows=7)).cypher.endswith(" LIMIT 8")
    assert guard("MATCH (n) RETURN n LIMIT 3", {}, SCHEMA, Limits(rows=7)).cypher.endswith(" LIMIT 3")
    assert guard("MATCH (n) RETURN n LIMIT 999", {}, SCHEMA, Limits(rows=7)).cypher.endswith(" LIMIT 8")
    assert guard("MATCH (n) RETURN n LIMIT $k", {"k": 2}, SCHEMA, Limits(rows=7)).cypher.endswith(" LIMIT 2")


def test_a_lists_growth_is_limited() -> None:
    assert "collect(v_n.name)[0..1000]" in guard("MATCH (n) RETURN collect(n.name)", {}, SCHEMA).cypher


@pytest.mark.parametrize(
    "parameters",
    [
        {"tenant": "rival"},
        {"TENANT": "rival"},
        {"_x": "a"},
        {"p": "x" * (MAX_PARAMETER_CHARS + 1)},
        {"p": ("x",) * (MAX_LIST + 1)},
        {"p": 2**60},
        {"p": float("nan")},
        {"p": float("inf")},
        {"p": None},
        {"p": {"a": 1}},
        {"p": (("nested",),)},
        {f"p{number}": 1 for number in range(MAX_PARAMETERS + 1)},
    ],
    ids=str,
)
def test_a_parameter_that_is_none_is_refused(parameters) -> None:
    with pytest.raises(InvalidInput) as refusal:
        guard("MATCH (n) RETURN n.name", parameters, SCHEMA)
    assert refusal.value.reason in ("CYPHER_PARAMETER", "CYPHER_TENANT")


def test_equal_values_of_different_types_are_different_parameters() -> None:
    statement = guard("MATCH (n) WHERE n.name IN $a OR n.name IN $b RETURN n", {"a": (1,), "b": (True,)}, SCHEMA)
    assert statement.parameters == {"p0": (1,), "p1": (True,)}


def test_a_parameter_that_is_not_used_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"stands nowhere in the query as \$who") as refusal:
        guard("MATCH (who)-[:WORKS_FOR]->(o) RETURN o.name", {"who": "Jonas Weld"}, SCHEMA)
    assert refusal.value.reason == "CYPHER_PARAMETER"


def test_a_refusal_of_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="SUPPLIES"):
        guard("MATCH (a)-[:DELIVERS]->(b) RETURN b", {}, SCHEMA)


PIECES = sorted({piece for _, _, text in STATEMENTS for piece in re.findall(r"\w+|\s+|[^\w\s]", text[:400])})


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """A hostile statement with some of its words dropped, doubled, swapped, or replaced by words of the others."""
    _, _, statement = draw(st.sampled_from([case for case in STATEMENTS if case[1] != "TOO_LARGE"]))
    pieces = re.findall(r"\w+|\s+|[^\w\s]", statement)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(pieces) - 1)))
        match draw(st.sampled_from(("drop", "double", "swap", "replace", "insert", "upper"))):
            case "drop":
                del pieces[place : place + 1]
            case "double":
                pieces[place:place] = pieces[place : place + 1]
            case "swap":
                pieces[place : place + 2] = reversed(pieces[place : place + 2])
            case "replace":
                pieces[place : place + 1] = [draw(st.sampled_from(PIECES))]
            case "insert":
                pieces.insert(place, draw(st.sampled_from((*PIECES, "\u200b", "\u00a0", "\\", "`", "'", "\x00"))))
            case "upper":
                pieces[place : place + 1] = [piece.swapcase() for piece in pieces[place : place + 1]]
    return "".join(pieces)


@settings(max_examples=1_500, deadline=None)
@given(mutations())
def test_no_mutation_becomes_something_that_writes_or_leaves_the_tenant(statement: str) -> None:
    try:
        passed = guard(statement, {"p": "tenant"} if "$p" in statement else {}, SCHEMA)
    except InvalidInput as refusal:
        assert refusal.reason.startswith("CYPHER_")  # noqa: PT017 - a refusal is one of two right outcomes
    else:
        # A mutation may have become harmless (`DETACH DELETE n` dropped from its end): then it is written anew as any other.
        assert not WRITING.search(passed.cypher)
        assert_every_node_carries_the_tenant(passed.cypher)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_refused_or_parsed(text: str) -> None:
    try:
        parse(text)
    except InvalidInput as refusal:
        assert refusal.reason.startswith("CYPHER_")  # noqa: PT017
