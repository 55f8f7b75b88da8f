"""The last step of ranking: repetitions go, difference is preferred where it is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from router.call import Options
from router.ranking.diversity import Diversity, without_repetitions
from router.stores.base import GraphBatch
from router.stores.fingerprints import NearDuplicates
from router.stores.vectors import PassageVectors
from router.testing.engine import ListRetriever, small_engine
from router.types import MAX_NEAR_DUPLICATES, Caller, Chunk, Deadline, Evidence, EvidenceKind, Picture, Provenance, Query, Span, TextPart

TENANT = "acme"


def passage(key: str, text: str, document: str = "", span: tuple[int, int] | None = None, source: str = "vector") -> Evidence:
    place = Span(*span) if span else None
    return Evidence(key, EvidenceKind.PASSAGE, key, text, (Provenance(source, 1, 1.0, "hybrid"),), document_id=document or key, span=place)


async def known(directions: dict[str, tuple[float, float]]) -> PassageVectors:
    vectors = PassageVectors(2)
    chunks = [Chunk(key, key, "main", 0, key, (), key, Span(0, len(key))) for key in directions]
    rows = np.array([np.array(row) / np.linalg.norm(row) for row in directions.values()], dtype=np.float32)
    await vectors.on_written(TENANT, chunks, rows, GraphBatch())
    return vectors


def ids(evidence: list[Evidence]) -> list[str]:
    return [item.id for item in evidence]


def test_a_picture_yields_to_no_words_and_words_yield_to_a_picture_of_the_same() -> None:
    picture = Picture("a" * 64, "image/png", 80, 60)
    section = passage("section", "Before. Figure 1: The gate. After.", "d", (0, 34))
    figure = replace(passage("figure", "Figure 1: The gate.", "d", (8, 27)), picture=picture)
    caption = passage("caption", "figure 1: the gate", "e")
    assert ids(without_repetitions([section, figure, caption])) == ["section", "figure"]
    assert ids(without_repetitions([caption, section, figure])) == ["caption", "section", "figure"]
    assert ids(without_repetitions([figure, replace(figure, id="twin")])) == ["figure"]


def test_the_same_words_are_said_once_and_keep_all_provenances() -> None:
    found = [passage("a", "The gate\nis shut."), passage("b", "Other words."), passage("c", "the GATE is  shut", source="graph")]
    kept = without_repetitions(found)
    assert ids(kept) == ["a", "b"]
    assert kept[0].sources == ("vector", "graph")
    assert found[0].sources == ("vector",)


def test_a_passage_that_better_ones_cover_goes() -> None:
    first = passage("a", "x" * 100, "d", (0, 100))
    second = passage("b", "y" * 100, "d", (80, 180))
    tail = passage("c", "z" * 50, "d", (70, 120))
    assert ids(without_repetitions([first, second, tail])) == ["a", "b"]
    assert ids(without_repetitions([first, tail, second])) == ["a", "c", "b"]
    elsewhere = replace(tail, document_id="e")
    assert ids(without_repetitions([first, second, elsewhere])) == ["a", "b", "c"]


def test_items_without_words_are_left_alone() -> None:
    assert ids(without_repetitions([passage("a", "…"), passage("b", "!")])) == ["a", "b"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(1, 10)), max_size=12))
def test_nothing_that_is_dropped_is_lost(places: list[tuple[str, int, int]]) -> None:
    texts = {"a": "abcdefghijklmnopqrstuvwxyzabcdef", "b": "0123456789zyxwvutsrqponmlkjihgfe"}
    found = [passage(str(n), texts[key][at : at + size], key, (at, at + size)) for n, (key, at, size) in enumerate(places)]
    kept = without_repetitions(found)
    assert ids(kept) == [item.id for item in found if item.id in set(ids(kept))]
    for item in found:
        assert item.span is not None
        covered = {place for other in kept if other.document_id == item.document_id and other.span is not None
                   for place in range(other.span.start, other.span.end)}  # fmt: skip
        same = any(other.text == item.text for other in kept)
        assert same or len(covered & set(range(item.span.start, item.span.end))) >= 0.9 * len(item.text)
    assert sum(len(item.provenance) for item in kept) == len(found)


def pictured(key: str, picture_id: str) -> Evidence:
    return replace(passage(key, f"the words of {key}"), picture=Picture(picture_id, "image/png", 1, 1))


def near_duplicates(**groups: str) -> NearDuplicates:
    """Each word of a group is the id of a picture; those of one group show the same."""
    near = NearDuplicates()
    for number, group in enumerate(groups.values()):
        near.put(TENANT, dict.fromkeys(group.split(), bytes([255 * (number == place) for place in range(4)] * 8)))
    return near


async def test_copies_of_a_picture_go_behind_all_else_and_say_what_they_are() -> None:
    diversity = Diversity(PassageVectors(2), 0.0, near_duplicates(gates="gate small bright", pumps="pump"))
    found = [pictured("a", "small"), pictured("b", "gate"), passage("c", "words"), pictured("d", "pump"), pictured("e", "bright"),
             pictured("f", "unknown"), pictured("g", "unknown"), passage("h", "more")]  # fmt: skip
    ordered = diversity.order(TENANT, found)
    assert ids(ordered) == ["a", "c", "d", "f", "h", "b", "e", "g"]
    links = {item.id: item.picture.near_duplicates for item in ordered if item.picture is not None}
    assert links == {"a": ("bright", "gate"), "b": ("bright", "small"), "e": ("gate", "small"), "d": (), "f": (), "g": ()}
    assert ids(diversity.order("another", found)) == ["a", "b", "c", "d", "e", "f", "h", "g"]


async def test_of_thousands_of_copies_some_are_told_and_all_go_last() -> None:
    many = [str(number) for number in range(1000)]
    diversity = Diversity(PassageVectors(2), 0.0, near_duplicates(one=" ".join(many)))
    ordered = diversity.order(TENANT, [*(pictured(f"p{key}", key) for key in many), passage("last", "words")])
    assert ids(ordered)[:3] == ["p0", "last", "p1"]
    assert {len(item.picture.near_duplicates) for item in ordered if item.picture} == {MAX_NEAR_DUPLICATES}


async def test_without_weight_the_order_stays() -> None:
    vectors = await known({"a": (1, 0), "b": (1, 0.01), "c": (0, 1)})
    found = [passage(key, key) for key in "abc"]
    assert ids(Diversity(vectors, 0.0).order(TENANT, found)) == ["a", "b", "c"]


async def test_with_weight_what_differs_comes_before_what_is_alike() -> None:
    vectors = await known({"a": (1, 0), "b": (1, 0.01), "c": (0, 1), "d": (1, 0.02)})
    found = [passage(key, key) for key in "abcd"]
    ordered = Diversity(vectors, 0.5).order(TENANT, found)
    assert ids(ordered) == ["a", "c", "b", "d"]


async def test_what_is_no_passage_keeps_its_place() -> None:
    vectors = await known({"a": (1, 0), "b": (1, 0.01), "c": (0, 1)})
    fact = replace(passage("f", "Ada employs Bob"), kind=EvidenceKind.FACT)
    found = [passage("a", "a"), fact, passage("b", "b"), passage("c", "c")]
    assert ids(Diversity(vectors, 0.5).order(TENANT, found)) == ["a", "f", "c", "b"]


async def test_the_engine_fills_the_place_of_a_repetition() -> None:
    found = [passage("a", "The gate."), passage("b", "the gate"), passage("c", "The pump.")]
    engine = small_engine({"vector": ListRetriever(found)})
    caller = Caller(TENANT, "request", Deadline.after(10))
    retrieval = await engine.retrieve(Query((TextPart("What is there?"),)), Options(limit=2), caller)
    assert [item.id for item in retrieval.evidence] == ["a", "c"]
