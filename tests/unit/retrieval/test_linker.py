"""Linking a question to the graph's names."""

from __future__ import annotations

import pytest

from router.corpus.base import Triple
from router.errors import StoreUnavailable
from router.models.base import Recognised, RecognisedName
from router.retrieval import linker
from router.retrieval.linker import NameLinker
from router.settings import WalkSettings
from router.stores.mirror import GraphMirror
from router.testing.fakes import InMemoryGraphStore
from router.types import Span
from tests.unit.graphs import TENANT, mirror_of, passage

CORPUS = (
    passage("who", "World Health Organization", "The World Health Organization (WHO) met in Oslo."),
    passage("weld", "Jonas Weld", "Jonas Weld came late. Weld left early."),
    passage("other", "Ida Weld", "Ida Weld came. Weld stayed."),
    passage("when", "When", "A song."),
    passage("foundry", "Aschenbrödel Foundry", "It casts."),
)


def people(text: str, *names: str) -> Recognised:
    return Recognised(tuple(RecognisedName(name, "PERSON", Span(text.index(name), text.index(name) + len(name))) for name in names), ())


SEEN = [
    Recognised((), ()),
    people(CORPUS[1].text, "Jonas Weld", "Weld"),
    people(CORPUS[2].text, "Ida Weld", "Weld"),
    Recognised((), ()),
    Recognised((), ()),
]


@pytest.fixture
async def link(tmp_path):
    mirror, _, _ = await mirror_of(CORPUS, tmp_path, (Triple("Night Ferry", "directed_by", "Mara Holt"),), SEEN)

    async def linked(text: str) -> dict[str, float]:
        return {name.name: name.probability for name in await NameLinker(mirror).link(TENANT, text)}

    return linked


async def test_a_name_is_linked_word_for_word(link) -> None:
    assert await link("Who met Jonas Weld?") == {"Jonas Weld": 1.0}
    assert await link("nothing here") == {}


async def test_an_acronym_means_what_it_stands_for(link) -> None:
    assert await link("Where did WHO meet?") == {"WHO": 1.0, "World Health Organization": 1.0}


async def test_an_ambiguous_name_means_each_of_its_bearers(link) -> None:
    assert await link("Is Weld there?") == {"Weld": 1.0, "Jonas Weld": 0.5, "Ida Weld": 0.5}


async def test_words_that_every_question_has_are_no_names(link) -> None:
    assert await link("When was it?") == {}


async def test_accents_do_not_count_and_a_wrong_letter_costs_little(link) -> None:
    assert await link("Who runs Aschenbrodel Foundry?") == {"Aschenbrödel Foundry": 1.0}
    found = await link("Who runs Aschenbrodel Foundrie?")
    assert list(found) == ["Aschenbrödel Foundry"]
    assert 0.5 < found["Aschenbrödel Foundry"] < 1.0
    assert list(await link("Who directed Nigt Ferry?")) == ["Night Ferry"]


async def test_a_name_that_is_only_somewhat_alike_is_another(link) -> None:
    assert await link("Who is Jonas Wells?") == {}
    assert await link("Who runs Borealis Foundry?") == {}


async def test_big_graphs_are_searched_word_for_word_only(link, monkeypatch) -> None:
    monkeypatch.setattr(linker, "MAX_NAMES", 1)
    assert await link("Who directed Nigt Ferry?") == {}
    assert await link("Who directed Night Ferry?") == {"Night Ferry": 1.0}


async def test_without_a_graph_there_are_no_ids(tmp_path) -> None:
    store = InMemoryGraphStore()
    store.down = True
    down = NameLinker(GraphMirror(store, tmp_path, WalkSettings()))
    assert await down.ids_in(TENANT, "Jonas Weld") == ()
    with pytest.raises(StoreUnavailable):
        await down.link(TENANT, "Jonas Weld")
