"""A language model names what to look up next."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from router.correction.base import Lookup
from router.correction.sub_questions import SubQuestions, parsed
from router.errors import InternalError
from router.testing.language_model import ScriptedLanguageModel
from tests.unit.correction.states import QUESTION, item, state


async def test_its_questions_go_to_the_sources_that_were_asked() -> None:
    wanted = "Which team looks after the Otter Pump?"
    model = ScriptedLanguageModel([json.dumps({"questions": [wanted, "  ", wanted]})])
    asked = state({"vector": 0.5, "graph": 0.5, "web": 0.1}, ["vector", "graph"], 0.1, evidence=[item("The pump is an Otter Pump.")])
    change = await SubQuestions(model, doubt=0.5).propose(asked)
    assert change is not None
    assert set(change.lookups) == {Lookup(wanted, source) for source in ("vector", "graph")}
    assert QUESTION in model.calls[0][-1].text
    assert "instruction" not in model.calls[0][-1].text


async def test_it_is_told_an_instruction() -> None:
    model = ScriptedLanguageModel([json.dumps({"questions": ["Which?"]})])
    asked = state({"vector": 0.5}, ["vector"], 0.1)
    await SubQuestions(model, doubt=0.5).propose(replace(asked, query=replace(asked.query, instruction="only drawings")))
    assert json.loads(model.calls[0][-1].text)["instruction"] == "only drawings"


async def test_evidence_without_doubt_costs_no_call() -> None:
    model = ScriptedLanguageModel([])
    assert await SubQuestions(model, doubt=0.5).propose(state({"vector": 0.5}, ["vector"], 0.6)) is None
    assert not model.calls


async def test_a_model_that_knows_nothing_proposes_nothing() -> None:
    model = ScriptedLanguageModel(['{"questions": []}'])
    assert await SubQuestions(model, doubt=0.5).propose(state({"vector": 0.5}, ["vector"], 0.1)) is None


@pytest.mark.parametrize("reply", ["", "no", '{"questions": "one"}', "{"])
def test_a_malformed_reply_is_said_to_be_so(reply: str) -> None:
    with pytest.raises(InternalError) as caught:
        parsed(reply)
    assert caught.value.reason == "LLM_REPLY_MALFORMED"
