"""LlamaIndex's own selectors on the service's models."""

from __future__ import annotations

import json

import numpy as np
import pytest

from router.errors import ConfigurationError, InternalError, ModelUnavailable
from router.experiments.peers.llama_index_selectors import SelectorPolicy, embedding_selector, llm_multi_selector, llm_single_selector
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.testing.fakes import HashEmbedder
from router.testing.language_model import ScriptedLanguageModel
from router.types import Caller, Deadline, Query, RouteDecision, TextPart

SOURCES = (
    SourceProfile("vector", "vector", "Passages of the handbook.", 0.0),
    SourceProfile("graph", "graph", "People and their relations.", 0.0),
    SourceProfile("web", "web", "News of the day.", 0.0),
)


async def decide(policy: SelectorPolicy, text: str = "Who leads the team?") -> RouteDecision:
    probe = Probe(np.ones(1, np.float32), None, None, is_recent=False)
    return await policy.decide(Query((TextPart(text),)), probe, SOURCES, Caller("t", "r", Deadline.after(5)))


def reply(*choices: int) -> str:
    return json.dumps([{"choice": choice, "reason": f"because {choice}"} for choice in choices])


async def test_the_model_reads_the_descriptions_and_its_choices_are_taken() -> None:
    model = ScriptedLanguageModel([reply(2), reply(1, 3)])
    single = await decide(llm_single_selector(model))
    assert (single.policy, single.selected, single.routes[1].reason) == ("llama-index-single", ("graph",), "because 2")
    assert "People and their relations." in model.calls[0][0].text
    assert "Who leads the team?" in model.calls[0][0].text
    multi = await decide(llm_multi_selector(model))
    assert multi.selected == ("vector", "web")
    assert [route.probability for route in multi.routes] == [1.0, 0.0, 1.0]


NEITHER_JSON_NOR_YAML = '[{choice: 2, reason: "a name with \x83 in it"}]'


@pytest.mark.parametrize("said", ["I would ask the graph.", reply(0), reply(4), '{"choice": 1}', "[1]", NEITHER_JSON_NOR_YAML])
async def test_a_malformed_selection_is_a_failure(said: str) -> None:
    with pytest.raises(InternalError) as error:
        await decide(llm_single_selector(ScriptedLanguageModel([said])))
    assert error.value.reason == "SELECTION_MALFORMED"


async def test_a_model_that_is_gone_or_was_never_there() -> None:
    with pytest.raises(ModelUnavailable):
        await decide(llm_multi_selector(ScriptedLanguageModel([])))
    with pytest.raises(ConfigurationError, match="llama-index-multi needs a language model"):
        llm_multi_selector(None)


async def test_the_nearest_description_is_chosen() -> None:
    policy = embedding_selector(HashEmbedder())
    assert (await decide(policy, "News of the day.")).selected == ("web",)
    assert (await decide(policy, "Passages of the handbook.")).selected == ("vector",)
