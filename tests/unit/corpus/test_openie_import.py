"""Facts that somebody else read from passages: whose passage they belong to, whenever either comes or goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.corpus.openie_import import parse_openie
from router.corpus.service import Corpus
from router.errors import DocumentRejected
from router.stores.base import GraphContent
from router.stores.journal import Journal
from tests.unit.corpus.test_openie import notices
from tests.unit.corpus.test_service import DURABLE, SEARCHABLE, UNCHANGED, World, ingest, reasons, states, until_finished

CRANE = Upload("crane", b"It was built by Oster & Sons of Kiel.", "text/plain", "Harbour Crane 4")
FERRY = Upload("ferry", b"Mira Dahl commands the Night Ferry.", "text/plain", "Fleet")
BUILT = ["Harbour Crane 4", "was built by", "Oster & Sons"]
COMMANDS = ["Mira Dahl", "is master of", "Night Ferry"]
OTHERS = {"of", "commands the"}
"""Relations that the grammar tells."""


def openie(*rows: dict[str, Any], name: str = "facts.jsonl") -> Upload:
    return Upload(name, "\n".join(map(json.dumps, rows)).encode())


IMPORT = openie({"doc_id": "crane", "entities": ["Kiel"], "triples": [BUILT]}, {"doc_id": "ferry", "triples": [COMMANDS]})


async def take(corpus: Corpus, journal: Journal, *uploads: Upload) -> None:
    """One after the other, with everything that follows from each."""
    for upload in uploads:
        assert reasons(await ingest(corpus, upload)) == {}
        await until_finished(journal)


def told(content: GraphContent) -> set[tuple[str, str, str]]:
    names = {entity.id: entity.name for entity in content.entities}
    return {(names[fact.subject_id], fact.relation, names[fact.object_id]) for fact in content.facts if fact.relation not in OTHERS}


async def graph_after(folder: Path, *uploads: Upload) -> GraphContent:
    world = World(folder)
    async with world.open() as (corpus, journal):
        await take(corpus, journal, *uploads)
    return await world.graph.load("t")


async def test_in_whatever_order_they_come_facts_and_passages_make_one_graph(tmp_path: Path) -> None:
    orders = list(permutations([CRANE, FERRY, IMPORT]))
    graphs = [await graph_after(tmp_path / str(number), *order) for number, order in enumerate(orders)]
    assert told(graphs[0]) == {tuple(BUILT), tuple(COMMANDS)}
    assert all(graph == graphs[0] for graph in graphs)
    (built,) = (fact for fact in graphs[0].facts if fact.relation == BUILT[1])
    crane = document_id("t", "crane")
    assert (built.document_id, built.chunk_id) == (crane, next(chunk.id for chunk in graphs[0].chunks if chunk.document_id == crane))


async def test_a_passage_is_named_by_its_words_or_its_identity_too(tmp_path: Path) -> None:
    bare = await graph_after(tmp_path / "bare", CRANE, FERRY)
    chunk = next(chunk.id for chunk in bare.chunks if chunk.document_id == document_id("t", "crane"))
    named = [chunk, document_id("t", "crane")]
    rows = [{"doc_id": name} for name in named] + [
        {"passage": CRANE.content.decode()},
        {"passage": f"Harbour Crane 4\n{CRANE.content.decode()}"},
    ]
    for number, row in enumerate(rows):
        graph = await graph_after(tmp_path / str(number), CRANE, FERRY, openie({**row, "triples": [BUILT]}))
        assert told(graph) == {tuple(BUILT)}


async def test_sent_again_it_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.open() as (corpus, journal):
        await take(corpus, journal, CRANE, FERRY, IMPORT)
        before, embedded = await world.graph.load("t"), world.embedder.embedded
        assert states(await ingest(corpus, IMPORT), "facts.jsonl") == [UNCHANGED]
        # Other bytes that say the same.
        spaced = Upload(IMPORT.name, IMPORT.content + b"\n\n")
        assert states(await ingest(corpus, spaced), "facts.jsonl") == [DURABLE, SEARCHABLE]
        await until_finished(journal)
        assert await world.graph.load("t") == before
    assert world.embedder.embedded == embedded


async def test_deleted_it_leaves_nothing_behind(tmp_path: Path) -> None:
    never = await graph_after(tmp_path / "never", CRANE, FERRY)
    world = World(tmp_path)
    async with world.open() as (corpus, journal):
        await take(corpus, journal, CRANE, FERRY, IMPORT)
        assert await world.graph.load("t") != never
        await corpus.delete("t", document_id("t", "facts.jsonl"))
        await until_finished(journal)
        assert await world.graph.load("t") == never
        assert await journal.statements.imported("t", {"crane": "x"}) == {}
        assert await notices(corpus) == {"OPENIE_CHECKED": "since the start 2 facts were kept; left out: none"}


async def test_a_new_version_takes_back_what_it_no_longer_says(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.open() as (corpus, journal):
        await take(corpus, journal, CRANE, FERRY, IMPORT)
        written = len(world.log.written)
        await take(corpus, journal, openie({"doc_id": "crane", "triples": [BUILT]}))
        assert told(await world.graph.load("t")) == {tuple(BUILT)}
    assert world.log.written[written:] == ["ferry"]  # the other one was left alone


async def test_rows_without_a_passage_are_told_and_find_it_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.open() as (corpus, journal):
        await take(corpus, journal, CRANE, IMPORT)
        assert (await notices(corpus))["OPENIE_UNMATCHED"].startswith("1 of 2 rows of facts.jsonl belong to no passage")
        await take(corpus, journal, FERRY)
        assert "OPENIE_UNMATCHED" not in await notices(corpus)
        assert tuple(COMMANDS) in told(await world.graph.load("t"))
        await corpus.delete("t", document_id("t", "ferry"))
        assert told(await world.graph.load("t")) == {tuple(BUILT)}
        assert "1 of 2 rows" in (await notices(corpus))["OPENIE_UNMATCHED"]
        await take(corpus, journal, FERRY)
        assert tuple(COMMANDS) in told(await world.graph.load("t"))
        assert (await corpus.stats("t")).documents == {"searchable": 3}


async def test_what_a_changed_passage_no_longer_bears_out_goes(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.open() as (corpus, journal):
        await take(corpus, journal, CRANE, IMPORT, Upload("crane", b"Nobody knows who built it in Kiel.", "text/plain", "Harbour Crane 4"))
        assert told(await world.graph.load("t")) == set()
        assert "1 NOT_IN_PASSAGE" in (await notices(corpus))["OPENIE_CHECKED"]


async def test_a_restart_takes_up_what_an_import_has_opened(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.open() as (corpus, journal):
        await take(corpus, journal, CRANE)
        rows, named = parse_openie(IMPORT.content.decode()), {"crane": {document_id("t", "crane")}}
        await take(corpus, journal, openie({"doc_id": "nobody", "triples": [BUILT]}))
        opened = await journal.statements.replace_import("t", document_id("t", "facts.jsonl"), rows, named)
        assert opened == {document_id("t", "crane"): 1}  # and then the process ends
    async with world.open() as (_, journal):
        await until_finished(journal)
    assert told(await world.graph.load("t")) == {tuple(BUILT)}


async def test_another_tenants_passages_are_out_of_reach(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.open() as (corpus, journal):
        await take(corpus, journal, CRANE)
        await ingest(corpus, IMPORT, tenant="u")
        assert told(await world.graph.load("t")) == told(await world.graph.load("u")) == set()
        assert "2 of 2 rows" in (await notices(corpus, "u"))["OPENIE_UNMATCHED"]
        assert "OPENIE_UNMATCHED" not in await notices(corpus)


@pytest.mark.parametrize(
    ("lines", "reason", "said"),
    [
        (['{"doc_id": "a", "triples": []}', "{"], "BROKEN", "line 2 is not JSON"),
        (['{"text": "a", "label": 1}'], "BROKEN", "line 1 is not a row of facts"),
        (['{"doc_id": 7, "triples": []}'], "BROKEN", "line 1 is not a row of facts"),
        (["[1, 2]"], "BROKEN", "line 1 is not a row of facts"),
        (['{"doc_id": "a", "triples": [["one", "two"]]}'], "EMPTY", "there is no fact in it"),
    ],
)
async def test_other_json_lines_are_refused_by_name(tmp_path: Path, lines: Sequence[str], reason: str, said: str) -> None:
    async with World(tmp_path).open() as (corpus, _):
        (*_, last) = await ingest(corpus, Upload("rows.jsonl", "\n".join(lines).encode()))
    assert last.failure is not None
    assert last.failure.reason == reason
    assert said in last.failure.message


def test_rows_of_one_passage_are_joined_and_broken_triples_left_out() -> None:
    rows = [
        '{"doc_id": "a", "triples": [["x", "y", " z  w "], ["x", "y"], [1, 2, 3], ["x", "", "z"], "xyz"]}',
        "",
        '{"doc_id": "a", "triples": [["u", "v", "w"]]}',
    ]
    assert parse_openie("\n".join(rows)) == {"a": (("x", "y", "z w"), ("u", "v", "w"))}
    with pytest.raises(DocumentRejected):
        parse_openie("no")
