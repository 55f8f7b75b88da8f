"""Relation paths: which chain of relations a question asks for, in graphs of two different kinds."""

from __future__ import annotations

import pytest

from router.corpus.base import Triple
from router.models.embedding import open_embedder
from router.retrieval.linker import NameLinker
from router.retrieval.relation_paths import RelationPaths
from router.retrieval.word_vectors import WordVectors
from router.settings import EmbeddingSettings
from tests.unit.graphs import TENANT, mirror_of, passage

PLANT = """
    Pump P4|manufactured_by|Aster Foundry    Pump P4|installed_at|Kellby Lock     Pump P4|has_color|green
    Pump P7|manufactured_by|Aster Foundry    Pump P7|installed_at|Senn Lock       Pump P7|has_color|grey
    Valve V2|manufactured_by|Bellows Brothers    Valve V2|installed_at|Kellby Lock
    Aster Foundry|located_in|Hamburg         Bellows Brothers|located_in|Leeds
    Aster Foundry|account_held_by|Jonas Weld    Bellows Brothers|account_held_by|Mara Holt
    Jonas Weld|reports_to|Ines Falk          Mara Holt|reports_to|Ines Falk
    Jonas Weld|works_in|Purchasing           Mara Holt|works_in|Purchasing        Ines Falk|works_in|Management
    Kellby Lock|operated_by|Team Delta       Senn Lock|operated_by|Team Omega
    Team Delta|led_by|Peer Lund              Team Omega|led_by|Asta Grün
    Kellby Lock|opened_in|1911               Senn Lock|opened_in|1938
    Hamburg|part_of|Germany                  Leeds|part_of|England
    Peer Lund|born_in|Leeds                  Asta Grün|born_in|Hamburg
"""
FILMS = """
    Night Ferry|directed by|Mara Holt        Night Ferry|release year|1962        Night Ferry|starred actors|Ada Finn
    Stone Harbour|directed by|Mara Holt      Stone Harbour|release year|1971      Stone Harbour|starred actors|Olaf Berg
    Stone Harbour|written by|Ines Falk       Low Water|written by|Ines Falk       Low Water|in language|Danish
    Low Water|directed by|Piet Maas          Low Water|release year|1980          Low Water|has genre|Drama
"""


def facts_of(text: str) -> list[Triple]:
    return [Triple(*fact.split("|")) for line in text.splitlines() for fact in line.strip().split("  ") if fact.strip() and fact.count("|")]


@pytest.fixture
async def embedder(tmp_path):
    opened = await open_embedder(EmbeddingSettings(), tmp_path)
    yield opened
    await opened.aclose()


@pytest.fixture
async def ask(tmp_path, embedder):
    async def best(graph: str, question: str, hops: int = 3) -> list[tuple[tuple[str, ...], float]]:
        mirror, _, _ = await mirror_of((passage("menu", "Canteen Menu", "Soup."),), tmp_path, facts_of(graph))
        snapshot = await mirror.current(TENANT)
        linked = await NameLinker(mirror).link(TENANT, question)
        found = await RelationPaths(WordVectors(embedder), hops).best(snapshot, linked, question, 5)
        return [(tuple(snapshot.entity(end).name for end in path.ends), path.probability) for path in found]

    return best


@pytest.mark.parametrize(
    ("question", "ends"),
    [
        ("Who manufactured Pump P4?", ("Aster Foundry",)),
        ("Where is Pump P7 installed?", ("Senn Lock",)),
        ("What is installed at Kellby Lock?", ("Pump P4", "Valve V2")),
        ("What colour is Pump P4?", ("green",)),
        ("Who does Mara Holt report to?", ("Ines Falk",)),
        ("Who reports to Ines Falk?", ("Jonas Weld", "Mara Holt")),
        ("When was Senn Lock opened?", ("1938",)),
        ("Where is the manufacturer of Pump P4 located?", ("Hamburg",)),
        ("Who holds the account of the manufacturer of Valve V2?", ("Mara Holt",)),
        ("Who leads the team that operates Kellby Lock?", ("Peer Lund",)),
        ("What else is made by the manufacturer of Pump P4?", ("Pump P7",)),
        ("Who works in the same department as Jonas Weld?", ("Mara Holt",)),
        ("Who leads the team operating the lock at which Pump P7 is installed?", ("Asta Grün",)),
        ("Who does the person that holds the account of the manufacturer of Pump P4 report to?", ("Ines Falk",)),
    ],
)
async def test_the_chain_that_the_question_asks_for_comes_first(ask, question: str, ends: tuple[str, ...]) -> None:
    assert (await ask(PLANT, question))[0][0] == ends


@pytest.mark.parametrize(
    ("question", "ends"),
    [
        ("who is the director of the film Low Water?", ("Piet Maas",)),
        ("which films were directed by Mara Holt?", ("Night Ferry", "Stone Harbour")),
        ("what films did the director of Night Ferry also direct?", ("Stone Harbour",)),
        ("when were the films released that were written by the writer of Stone Harbour?", ("1980",)),
        ("who acted in the films directed by Mara Holt?", ("Ada Finn", "Olaf Berg")),
    ],
)
async def test_so_it_does_in_a_graph_with_other_relations(ask, question: str, ends: tuple[str, ...]) -> None:
    assert (await ask(FILMS, question))[0][0] == ends


async def test_probabilities_leave_room_for_asking_for_no_path(ask) -> None:
    asked = await ask(PLANT, "Who manufactured Pump P4?")
    unrelated = await ask(PLANT, "Is the wedding of Jonas Weld next summer?")
    assert sum(probability for _, probability in asked) <= 1.0
    assert asked[0][1] > 0.5
    assert sum(probability for _, probability in unrelated) < asked[0][1]


async def test_a_path_is_no_longer_than_configured(ask) -> None:
    question = "Who leads the team that operates Kellby Lock?"
    assert ("Peer Lund",) not in [ends for ends, _ in await ask(PLANT, question, hops=1)]


async def test_going_back_finds_the_others_and_never_where_it_came_from(ask) -> None:
    for question in ("Who holds the account of the manufacturer of Valve V2?", "What else is made by the manufacturer of Pump P4?"):
        for ends, _ in await ask(PLANT, question):
            assert ends
            assert not {"Valve V2", "Pump P4"} & set(ends)


@pytest.mark.parametrize("question", ["Who manufactured it?", "Pump P4", "What of Pump P4?"])
async def test_a_question_that_names_nothing_or_asks_nothing_has_no_path(ask, question: str) -> None:
    assert await ask(PLANT, question) == []


async def test_relations_of_a_graph_come_the_most_frequent_first(tmp_path):
    mirror, _, _ = await mirror_of((passage("menu", "Canteen Menu", "Soup."),), tmp_path, facts_of(FILMS))
    relations = (await mirror.current(TENANT)).relations()
    assert relations == ["directed by", "release year", "starred actors", "written by", "has genre", "in language"]
