"""The graph without a language model: what is linked to what, and in which order documents may come."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.corpus.base import Triple
from router.corpus.graph_builder import DEPICTED, TERM, TITLE, NameGraphBuilder
from router.models.base import Recognised, RecognisedName, RecognisedRelation
from router.names import entity_id
from router.settings import WalkSettings
from router.stores.mirror import GraphMirror
from router.testing.fakes import InMemoryGraphStore
from router.types import Picture, PictureLabel, Span
from tests.unit.graphs import NOTHING, TENANT, Passages, passage

INCIDENT = passage("a", "Incident 12", "It came from Aster Foundry, said Jonas Weld.")
SUPPLIER = passage("b", "Aster Foundry", "A foundry.")


async def build_in_turn(tmp_path, *batches):
    """One build and write after the other, as the indexer does; the journal already has everything."""
    store, passages = InMemoryGraphStore(), Passages([chunk for batch in batches for chunk in batch])
    mirror = GraphMirror(store, tmp_path, WalkSettings())
    builder = NameGraphBuilder(mirror, passages)
    for chunks in batches:
        batch = await builder.build(TENANT, chunks, [NOTHING] * len(chunks), {})
        await store.upsert(TENANT, batch)
        await mirror.on_written(TENANT, chunks, None, batch)
    return await store.load(TENANT)


async def test_the_order_of_documents_does_not_matter(tmp_path) -> None:
    one = await build_in_turn(tmp_path / "1", [INCIDENT], [SUPPLIER])
    other = await build_in_turn(tmp_path / "2", [SUPPLIER], [INCIDENT])
    together = await build_in_turn(tmp_path / "3", [INCIDENT, SUPPLIER])
    assert one == other == together
    assert [(mention.chunk_id, mention.entity_id) for mention in one.mentions] == [("a", entity_id("Aster Foundry"))]


async def test_mentions_carry_exact_spans_of_the_document(tmp_path) -> None:
    content = await build_in_turn(tmp_path, [INCIDENT, SUPPLIER])
    mention = content.mentions[0]
    assert INCIDENT.text[mention.span.start : mention.span.end] == "Aster Foundry"


async def test_recognised_names_and_relations_become_entities_and_facts(tmp_path) -> None:
    weld = RecognisedName("Jonas Weld", "PERSON", Span(32, 42))
    aster = RecognisedName("Aster Foundry", "ORG", Span(13, 26))
    seen = Recognised((aster, weld), (RecognisedRelation(weld, "speaks for", aster),))
    mirror = GraphMirror(InMemoryGraphStore(), tmp_path, WalkSettings())
    batch = await NameGraphBuilder(mirror, Passages([INCIDENT])).build(TENANT, [INCIDENT], [seen], {})
    kinds = {entity.name: entity.kind for entity in batch.entities}
    assert kinds == {"Incident 12": TITLE, "Aster Foundry": "ORG", "Jonas Weld": "PERSON"}
    (fact,) = batch.facts
    assert (fact.subject_id, fact.relation, fact.object_id) == (entity_id("Jonas Weld"), "speaks for", entity_id("Aster Foundry"))
    assert fact.chunk_id == "a"


async def test_a_title_stays_a_title_when_another_document_only_mentions_it(tmp_path) -> None:
    content = await build_in_turn(tmp_path, [SUPPLIER], [INCIDENT])
    assert {entity.name: entity.kind for entity in content.entities}["Aster Foundry"] == TITLE


async def test_what_a_picture_shows_is_linked_in_any_order_and_looked_for_in_no_text(tmp_path) -> None:
    photo = replace(passage("p", "", "0042"), picture=Picture("0" * 64, "image/png", 9, 9, labels=(PictureLabel("coffee mug", 0.95),)))
    about, text = passage("m", "Coffee Mug", "Of clay."), passage("t", "Note", "A coffee mug broke.")
    alone = await build_in_turn(tmp_path / "1", [photo], [text])
    assert {entity.name: entity.kind for entity in alone.entities} == {"coffee mug": DEPICTED, "Note": TITLE}
    assert [(mention.chunk_id, mention.entity_id) for mention in alone.mentions] == [("p", entity_id("coffee mug"))]
    one = await build_in_turn(tmp_path / "2", [photo], [about], [text])
    other = await build_in_turn(tmp_path / "3", [text], [about], [photo])
    assert one == other
    assert {entity.name: entity.kind for entity in one.entities} == {"Coffee Mug": TITLE, "Note": TITLE}
    assert {mention.chunk_id for mention in one.mentions} == {"p", "t"}
    assert {subject.chunk_id for subject in one.subjects} == {"m", "t"}


async def test_structured_facts_are_terms_and_small_words_are_not_found_in_texts(tmp_path) -> None:
    note = passage("n", "Note", "It rained. Team Blue came, with love.")
    mirror = GraphMirror(InMemoryGraphStore(), tmp_path, WalkSettings())
    triples = {"facts": [Triple("Team Blue", "owns", "Pump Seven"), Triple("Night Ferry", "has tag", "love")]}
    batch = await NameGraphBuilder(mirror, Passages([note])).build(TENANT, [note], [NOTHING], triples)
    assert {entity.kind for entity in batch.entities if entity.name != "Note"} == {TERM}
    assert [mention.entity_id for mention in batch.mentions] == [entity_id("Team Blue")]
    assert all(fact.chunk_id is None and fact.document_id == "facts" for fact in batch.facts)


async def test_building_again_gives_the_same_batch(tmp_path) -> None:
    mirror = GraphMirror(InMemoryGraphStore(), tmp_path, WalkSettings())
    builder = NameGraphBuilder(mirror, Passages([INCIDENT, SUPPLIER]))
    first = await builder.build(TENANT, [INCIDENT, SUPPLIER], [NOTHING] * 2, {})
    assert first == await builder.build(TENANT, [INCIDENT, SUPPLIER], [NOTHING] * 2, {})


async def test_old_passages_of_an_earlier_process_find_new_names(tmp_path) -> None:
    store, passages = InMemoryGraphStore(), Passages([INCIDENT])
    for chunks in ([INCIDENT], [SUPPLIER]):
        # Everything in memory is made anew; the graph store and the journal stay.
        passages.all |= {chunk.id: chunk for chunk in chunks}
        mirror = GraphMirror(store, tmp_path, WalkSettings())
        await store.upsert(TENANT, await NameGraphBuilder(mirror, passages).build(TENANT, chunks, [NOTHING], {}))
    assert [mention.chunk_id for mention in (await store.load(TENANT)).mentions] == ["a"]


NAMES = ["Aster Foundry", "Jonas Weld", "ERP", "Pump Seven", "Night Ferry"]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from([*NAMES, "and", "erp", "JONAS WELD"]), max_size=6), min_size=5, max_size=5), st.randoms())
async def test_any_order_of_documents_gives_one_graph(tmp_path, texts: list[list[str]], random) -> None:
    chunks = [passage(f"p{n}", NAMES[n], " ".join(words)) for n, words in enumerate(texts)]
    together = await build_in_turn(tmp_path, chunks)
    random.shuffle(chunks)
    cut = random.randint(1, 4)
    assert await build_in_turn(tmp_path, *([chunk] for chunk in chunks)) == together
    assert await build_in_turn(tmp_path, chunks[:cut], chunks[cut:]) == together
