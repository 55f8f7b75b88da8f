from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.routing.overview import overview_asked
from router.routing.rules import RulesPolicy
from router.types import Query, TextPart, Turn
from tests.unit.routing.questions import SOURCES, caller, probe, question

SAMPLE = Path(__file__).parents[3] / "examples" / "sample" / "questions.jsonl"

OF_ALL = """
What is this corpus about?
What are these documents about?
what are the main topics?
What are the 5 most important themes in the data set?
What are the key themes in the documents?
Which themes run through the collection?
What topics are covered in the files?
What topics are there?
What do the documents cover?
What's in the knowledge base?
What kinds of documents are there?
Give me an overview of the documents
Give me a short overview, please.
Could you give me the big picture?
I'd like an overview of everything.
Tell me what the data is about.
Summarise the corpus in five sentences.
Can you summarize all documents?
Provide a high-level summary of the whole collection.
Describe the corpus.
"""
OF_A_SUBJECT = {
    "Summarise what we know about pump failures": "pump failures",
    "Summarize everything we have on supplier contracts.": "supplier contracts",
    "I would like an overview of our safety rules.": "safety rules",
    "Give me an overview of the Otter Pump": "otter pump",
    "What are the main topics in the meeting minutes?": "meeting minutes",
    "Can I have a summary of all that is known about Harbour Street?": "harbour street",
}
ORDINARY = """
Summarise the annual report
What does the handbook contain?
What is the annual report about?
How many documents are in the corpus?
Who wrote the documents?
Where is the overview of the pumps?
What documents must a new employee bring?
What is the summary of INC-101?
What do the documents say about holidays?
Which documents mention GateKeeper?
What is this about?
What is the main subject of the painting?
What is a knowledge base?
What data does the sensor record?
What does everything cost?
Summarise that.
Hello!
"""


@pytest.mark.parametrize("text", OF_ALL.strip().splitlines())
def test_questions_about_the_whole(text: str) -> None:
    asked = overview_asked(question(text))
    assert asked is not None
    assert asked.is_of_all


@pytest.mark.parametrize(("text", "subject"), OF_A_SUBJECT.items())
def test_questions_for_an_overview_of_a_subject(text: str, subject: str) -> None:
    asked = overview_asked(question(text))
    assert asked is not None
    assert asked.subject == subject


@pytest.mark.parametrize("text", ORDINARY.strip().splitlines())
def test_ordinary_questions(text: str) -> None:
    assert overview_asked(question(text)) is None


def test_no_question_of_the_sample_asks_for_an_overview() -> None:
    texts = [json.loads(line)["text"] for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    assert len(texts) > 100
    assert [text for text in texts if overview_asked(question(text))] == []


def test_in_a_conversation_the_whole_must_be_named() -> None:
    def after_a_turn(text: str) -> Query:
        return Query((TextPart(text),), (Turn("user", "Who casts the housings?"), Turn("assistant", "Aster Foundry.")))

    assert overview_asked(after_a_turn("Give me a short overview, please.")) is None
    assert overview_asked(after_a_turn("Give me a short overview of the documents, please.")) is not None


async def test_the_rules_send_the_whole_to_the_graph_alone_and_a_subject_to_the_passages_too() -> None:
    whole = await RulesPolicy().decide(question("What is this corpus about?"), probe((), 0.1), SOURCES, caller())
    assert whole.selected == ("graph",)
    assert "overview" in whole.reason
    subject = await RulesPolicy().decide(question("Give me an overview of our safety rules"), probe((), 0.5), SOURCES, caller())
    assert subject.selected == ("vector", "graph")
