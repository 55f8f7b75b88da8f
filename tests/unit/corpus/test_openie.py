"""Facts that a language model reads from passages: what is believed, what it costs, and what happens when it is no help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.corpus.openie import MAX_FACTS, FactExtractor, parsed, passage_key, reply_schema
from router.corpus.service import Corpus
from router.corpus.statements import checked, with_statements
from router.errors import ModelUnavailable
from router.models.base import Message, Recognised
from router.names import entity_id, name_key
from router.settings import CorpusSettings, OpenIESettings, Settings
from router.testing.language_model import ScriptedLanguageModel
from tests.unit.corpus.test_service import DURABLE, SEARCHABLE, UNCHANGED, World, ingest, states, until_finished
from tests.unit.graphs import passage

CRANE = Upload("crane.txt", b"It was built by Oster & Sons of Kiel.", title="Harbour Crane 4")
FERRY = Upload("ferry.txt", b"Mira Dahl commands the Night Ferry.", title="Fleet")
POND = Upload("pond.txt", b"nothing happens here", title="The Pond")
SAID = {
    "Oster": [("Harbour Crane 4", "was built by", "Oster & Sons"), ("oster & sons", "is based in", "the Kiel")],
    "Dahl": [("MIRA DAHL", "is master of", "night ferry")],
}
GARBAGE = "I'm sorry, but I cannot help with that."


class Reader(ScriptedLanguageModel):
    """Reads the facts of SAID from the passages that it is shown, unless the script has something else for a call (empty: it has not)."""

    def __init__(self, script: Sequence[str | Exception] = (), *, context_tokens: int = 8192, name: str = "reader") -> None:
        super().__init__(script, name=name, context_tokens=context_tokens)
        self.shown: list[list[str]] = []
        """Texts of each call."""

    def _next(self, messages: Sequence[Message], schema: Mapping[str, Any] | None) -> Sequence[str | Exception]:
        told = [json.loads(line) for line in messages[-1].text.split("\n")]
        self.shown.append([item["text"] for item in told])
        if not self._replies:
            self._replies.append("")
        scripted = super()._next(messages, schema)
        return scripted if scripted != [""] else [reply({item["number"]: said_of(item["text"]) for item in told})]


def said_of(text: str) -> list[tuple[str, str, str]]:
    return next((facts for word, facts in SAID.items() if word in text), [])


def reply(facts: Mapping[int, Sequence[tuple[str, str, str]]]) -> str:
    names = ("subject", "relation", "object")
    return json.dumps(
        {"passages": [{"number": n, "facts": [dict(zip(names, fact, strict=True)) for fact in some]} for n, some in facts.items()]}
    )


class Library(World):
    """A world with a model that reads."""

    def __init__(self, folder: Path, model: Reader, *, batch_passages: int = 4, pause_s: float = 0.0) -> None:
        super().__init__(folder, settings=CorpusSettings(chunk_tokens=32, chunk_overlap_tokens=4, batch_chunks=4))
        openie = OpenIESettings(enabled=True, batch_passages=batch_passages)
        self.extractor = lambda journal: FactExtractor(model, openie, journal.statements, pause_s)


async def stated(world: World, tenant: str = "t") -> set[tuple[str, str, str]]:
    """The graph's facts that the model said, by their names."""
    content = await world.graph.load(tenant)
    names = {entity.id: entity.name for entity in content.entities}
    relations = {relation for facts in SAID.values() for _, relation, _ in facts}
    return {(names[fact.subject_id], fact.relation, names[fact.object_id]) for fact in content.facts if fact.relation in relations}


ALL = {
    ("Harbour Crane 4", "was built by", "Oster & Sons"),
    ("Oster & Sons", "is based in", "Kiel"),
    ("Mira Dahl", "is master of", "Night Ferry"),
}


async def notices(corpus: Corpus, tenant: str = "t") -> dict[str, str]:
    return {notice.reason: notice.message for notice in (await corpus.stats(tenant)).notices}


# --- what becomes of a reply ----------------------------------------------------------------------------------------


async def test_facts_come_into_the_graph_with_their_passage(tmp_path: Path) -> None:
    model = Reader()
    world = Library(tmp_path, model)
    async with world.open() as (corpus, _):
        await ingest(corpus, CRANE, FERRY, POND)
        assert await stated(world) == ALL
        content = await world.graph.load("t")
        chunks = {chunk.document_id: chunk.id for chunk in content.chunks}
        (built,) = (fact for fact in content.facts if fact.relation == "was built by")
        crane = document_id("t", "crane.txt")
        assert (built.document_id, built.chunk_id) == (crane, chunks[crane])
        text = CRANE.content.decode()
        named = {text[mention.span.start : mention.span.end] for mention in content.mentions if mention.chunk_id == chunks[crane]}
        assert {"Oster & Sons", "Kiel"} <= named
        cost = (await notices(corpus))["OPENIE_COST"]
        prompts = sum(len(message.text.split()) for call in model.calls for message in call)
    assert f"{len(model.calls)} calls, {prompts} + " in cost
    assert cost.startswith("reader read 3 passages")


async def test_what_the_passage_does_not_bear_out_is_left_out_and_counted(tmp_path: Path) -> None:
    invented = [
        ("Harbour Crane 4", "was built by", "Harland Wolff"),
        ("It", "was built by", "Oster & Sons"),
        ("", "was built by", "Kiel"),
        ("Harbour Crane 4", "was", "built"),
        ("Harbour Crane 4", "says", "It was built by Oster & Sons of Kiel."),
        ("the Harbour crane 4", "is", "Harbour Crane 4"),
        ("Oster & Sons", "works " * 20, "Kiel"),
        ("Kiel", "has", "Oster & Sons"),
    ]
    world = Library(tmp_path, Reader([reply({1: invented})]))
    async with world.open() as (corpus, _):
        await ingest(corpus, CRANE)
        facts = {fact.relation for fact in (await world.graph.load("t")).facts} - {"of"}  # which the grammar says
        told = (await notices(corpus))["OPENIE_CHECKED"]
    assert facts == {"has"}
    why = "1 EMPTY, 1 NOT_A_NAME, 1 NOT_IN_PASSAGE, 1 PRONOUN, 1 SAME_ENDS, 1 SENTENCE, 1 TOO_LONG"
    assert told == f"since the start 1 facts were kept; left out: {why}"


async def test_a_name_that_stands_in_a_part_of_the_title_only_is_an_entity_too(tmp_path: Path) -> None:
    world = Library(tmp_path, Reader([reply({1: [("oster & sons", "works in", "harbour")]})]))
    async with world.open() as (corpus, _):
        await ingest(corpus, CRANE)
        content = await world.graph.load("t")
    (fact,) = (fact for fact in content.facts if fact.relation == "works in")
    names = {entity.id: entity.name for entity in content.entities}
    assert (names[fact.subject_id], names[fact.object_id]) == ("Oster & Sons", "Harbour")


async def test_only_so_many_facts_of_a_passage_are_kept(tmp_path: Path) -> None:
    world = Library(tmp_path, Reader([reply({1: [("Kiel", f"relation {n}", "Oster & Sons") for n in range(MAX_FACTS + 3)]})]))
    async with world.open() as (corpus, _):
        await ingest(corpus, CRANE)
        assert sum(fact.relation.startswith("relation") for fact in (await world.graph.load("t")).facts) == MAX_FACTS
        assert "3 TOO_MANY" in (await notices(corpus))["OPENIE_CHECKED"]


WORDS = st.lists(st.sampled_from(["Ada", "ada", "ÅDA", "Oster", "the", "&", "Kiel", "kiel.", "met", "in", "1900", "北京"]), max_size=6).map(
    " ".join
)


@given(WORDS, WORDS, st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=5))
def test_what_is_kept_stands_in_the_passage(title: str, text: str, statements: list[tuple[str, str, str]]) -> None:
    chunk = passage("p", title, text)
    found = checked(chunk, statements)
    assert len(found.relations) + found.left_out.total() <= len(statements)
    for name in found.names:
        assert name_key(chunk.text[name.span.start : name.span.end]) == name_key(name.text)
    shown = name_key(f"{title}. {text}")
    for relation in found.relations:
        assert name_key(relation.subject.text) in shown
        assert name_key(relation.object.text) in shown
    merged = with_statements(Recognised((), ()), found)
    assert merged.names == found.names


def test_accents_and_white_space_do_not_count() -> None:
    chunk = passage("p", "", "Café\nRiché lies in Zürich.")
    found = checked(chunk, [("CAFE RICHE", "lies in", "Zu\u0308rich")])
    assert [(name.text, name.span.start) for name in found.names] == [("Café Riché", 0), ("Zürich", 19)]


# --- replies that are no use ----------------------------------------------------------------------------------------


async def test_after_garbage_the_halves_are_asked_for_with_what_was_wrong(tmp_path: Path) -> None:
    model = Reader([GARBAGE])
    with capture_logs() as logs:
        facts, told = await read_together(Library(tmp_path, model))
    assert facts == {"crane": tuple(SAID["Oster"]), "ferry": tuple(SAID["Dahl"])}
    assert model.shown == [[*TEXTS], [TEXTS[0]], [TEXTS[1]]]
    assert all("could not be used: it held no whole JSON object" in call[1].text for call in model.calls[1:])
    assert "3 calls" in told["OPENIE_COST"]
    assert "1 unusable replies" in told["OPENIE_COST"]
    assert "OPENIE_IN_VAIN" not in told
    assert [line["log_level"] for line in logs if line["event"] == "facts_reply_malformed"] == ["warning"]


async def test_only_what_a_reply_lacked_is_asked_for_again(tmp_path: Path) -> None:
    model = Reader([reply({2: SAID["Dahl"], 7: []})])
    facts, _ = await read_together(Library(tmp_path, model))
    assert facts == {"crane": tuple(SAID["Oster"]), "ferry": tuple(SAID["Dahl"])}
    assert model.shown == [[*TEXTS], [TEXTS[0]]]
    assert "it lacked passage 1" in model.calls[1][1].text


TEXTS = (CRANE.content.decode(), FERRY.content.decode())


async def read_together(world: World) -> tuple[dict[str, tuple[tuple[str, str, str], ...]], dict[str, str]]:
    """What the extractor says of two passages of a document, in one call; and its notices."""
    async with World(world.folder).open() as (corpus, journal):
        await ingest(corpus, POND)
        assert world.extractor is not None
        extractor, pond = world.extractor(journal), document_id("t", "pond.txt")
        chunks = [passage(*row, document=pond) for row in zip(("crane", "ferry"), ("Harbour Crane 4", "Fleet"), TEXTS, strict=True)]
        facts = await extractor.facts("t", chunks)
        return facts, {notice.reason: notice.message for notice in await extractor.notices("t")}


async def test_half_a_reply_twice_leaves_the_passage_without_facts_until_it_is_sent_again(tmp_path: Path) -> None:
    half = reply({1: SAID["Oster"]})[:40]
    model = Reader([half, half])
    world = Library(tmp_path, model)
    async with world.open() as (corpus, _):
        assert states(await ingest(corpus, CRANE), "crane.txt") == [DURABLE, SEARCHABLE]
        assert len(model.calls) == 2
        assert await stated(world) == set()
        assert (await notices(corpus))["OPENIE_IN_VAIN"].startswith("1 passages have no facts")
        assert states(await ingest(corpus, CRANE), "crane.txt") == [DURABLE, SEARCHABLE]
        assert await stated(world) == {fact for fact in ALL if "Oster & Sons" in fact}
        assert "OPENIE_IN_VAIN" not in await notices(corpus)
        assert states(await ingest(corpus, CRANE), "crane.txt") == [UNCHANGED]
    assert len(model.calls) == 3


async def test_a_model_that_goes_away_is_left_alone_and_indexing_goes_on(tmp_path: Path) -> None:
    model = Reader(["", ModelUnavailable("gone")])
    world = Library(tmp_path, model, batch_passages=1, pause_s=3600.0)
    async with world.open() as (corpus, _):
        with capture_logs() as logs:
            await ingest(corpus, CRANE)
            told = await ingest(corpus, FERRY, POND)
        assert states(told, "ferry.txt") == states(told, "pond.txt") == [DURABLE, SEARCHABLE]
        assert (await corpus.stats("t")).vector_count == 3
        assert await stated(world) == {fact for fact in ALL if "Oster & Sons" in fact}
        assert (await notices(corpus))["OPENIE_IN_VAIN"].startswith("2 passages have no facts")
    assert len(model.calls) == 2
    assert [line["error"] for line in logs if line["event"] == "facts_model_unavailable"] == ["gone"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "{",
        "[]",
        '{"passages": 1}',
        '{"passages": [{"number": "one", "facts": []}]}',
        '{"passages": [{"number": 1, "facts": [["a"]]}]}',
    ],
)
def test_a_malformed_reply_is_said_to_be_malformed(text: str) -> None:
    with pytest.raises(ValueError):
        parsed(text)


@given(st.text(max_size=60))
def test_no_reply_breaks_the_parser(text: str) -> None:
    with suppress(ValueError):
        assert all(isinstance(number, int) for number in parsed("{" + text + "}"))


# --- what it costs --------------------------------------------------------------------------------------------------


async def test_after_a_restart_and_under_another_name_a_passage_costs_nothing(tmp_path: Path) -> None:
    first = Library(tmp_path, Reader())
    async with first.open() as (corpus, _):
        await ingest(corpus, CRANE, FERRY)
    model = Reader()
    again = Library(tmp_path, model)  # empty stores, the same journal
    async with again.open() as (corpus, _):
        moved = [Upload(f"new/{upload.name}", upload.content, title=upload.title) for upload in (CRANE, FERRY)]
        await ingest(corpus, *moved)
        assert await stated(again) == ALL
        assert "2 passages cost nothing" in (await notices(corpus))["OPENIE_COST"]
    assert model.calls == []


async def test_another_model_reads_anew_what_is_sent_again(tmp_path: Path) -> None:
    async with World(tmp_path).open() as (corpus, _):
        await ingest(corpus, CRANE)
    for name in ("one", "other"):
        world = Library(tmp_path, model := Reader(name=name))
        async with world.open() as (corpus, _):
            assert states(await ingest(corpus, CRANE), "crane.txt") == [DURABLE, SEARCHABLE]
            assert len(await stated(world)) == 2
        assert len(model.calls) == 1


async def test_passages_are_batched_by_number_and_by_tokens(tmp_path: Path) -> None:
    uploads = [Upload(f"{n}.txt", f"Ship number {n} sails. ".encode() * 4, title=f"Ship {n}") for n in range(4)]
    for context, expected in ((8192, 2), (1900, 1)):
        world = Library(tmp_path / str(context), model := Reader(context_tokens=context), batch_passages=2)
        async with world.open(start=False) as (_, journal):
            chunks = [passage(str(n), upload.title, upload.content.decode()) for n, upload in enumerate(uploads)]
            assert world.extractor is not None
            batches = list(world.extractor(journal)._batches(chunks))
            assert [chunk for batch in batches for chunk in batch] == chunks
        assert {len(batch) for batch in batches} == {expected}
        assert model.calls == []
    assert reply_schema(2)["properties"]["passages"]["maxItems"] == 2


# --- whose it is ----------------------------------------------------------------------------------------------------


async def test_a_deleted_document_takes_its_facts_and_its_replies_with_it(tmp_path: Path) -> None:
    model = Reader()
    world = Library(tmp_path, model)
    async with world.open() as (corpus, journal):
        await ingest(corpus, CRANE)
        await ingest(corpus, FERRY)
        await corpus.delete("t", document_id("t", "crane.txt"))
        assert await stated(world) == {("Mira Dahl", "is master of", "Night Ferry")}
        content = await world.graph.load("t")
        assert not {entity_id("Oster & Sons"), entity_id("Kiel")} & {entity.id for entity in content.entities}
        keys = [passage_key(passage("p", upload.title, upload.content.decode())) for upload in (CRANE, FERRY)]
        assert list(await journal.statements.replies("t", "reader 1", keys)) == keys[1:]
        await ingest(corpus, CRANE)
        assert await stated(world) == ALL
    assert len(model.calls) == 3


async def test_tenants_share_nothing(tmp_path: Path) -> None:
    model = Reader()
    world = Library(tmp_path, model)
    async with world.open() as (corpus, _):
        await ingest(corpus, CRANE, tenant="t")
        await ingest(corpus, CRANE, tenant="u")
        assert len(model.calls) == 2
        assert await stated(world, "t") == await stated(world, "u") != set()
        documents = [{fact.document_id for fact in (await world.graph.load(tenant)).facts} for tenant in ("t", "u")]
        assert documents == [{document_id(tenant, "crane.txt")} for tenant in ("t", "u")]
        assert (await notices(corpus, "u"))["OPENIE_COST"].startswith("reader read 1 passages since the start: 1 calls")
        assert await notices(corpus, "v") == {}
        await corpus.delete("t", document_id("t", "crane.txt"))
        assert await stated(world, "t") == set()
        assert len(await stated(world, "u")) == 2
        world.settings = world.settings.model_copy(update={"chunk_tokens": 40})
    async with world.open() as (corpus, _):
        await ingest(corpus, CRANE, tenant="u")
    assert len(model.calls) == 2


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.unit.corpus.test_openie import Library, Reader, ships
from tests.unit.corpus.test_service import ingest

class Dying(Reader):
    def _next(self, messages, schema):
        if len(self.calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._next(messages, schema)

async def main():
    async with Library(Path(sys.argv[1]), Dying(), batch_passages=1).open() as (corpus, _):
        await ingest(corpus, *ships())

asyncio.run(main())
"""


def ships() -> list[Upload]:
    return [Upload(f"{n}.txt", f"Mira Dahl commands the Night Ferry, ship {n}.".encode(), title=f"Ship {n}") for n in range(4)]


async def test_what_was_paid_for_before_a_kill_is_not_paid_again(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, env=os.environ)  # noqa: ASYNC221
    assert killed.returncode == -9
    model = Reader()
    world = Library(tmp_path, model, batch_passages=1)
    async with world.open() as (corpus, journal):
        await ingest(corpus, *ships())
        await until_finished(journal)
        assert len(model.calls) == 1
        await ingest(corpus, *(replace(upload, name=f"new/{upload.name}") for upload in ships()))
        content = await world.graph.load("t")
    new = {document_id("t", f"new/{upload.name}") for upload in ships()}
    assert {fact.document_id for fact in content.facts if fact.relation == "is master of"} >= new
    assert len(model.calls) == 1


def test_it_needs_a_language_model() -> None:
    with pytest.raises(ValidationError, match=r"models\.llm is not set"):
        Settings(corpus=CorpusSettings(openie=OpenIESettings(enabled=True)))
