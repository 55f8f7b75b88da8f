"""The index of words: what it names is enough to find what a scan of everything finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.corpus.word_index import WordIndex
from router.names import NameFinder
from tests.unit.graphs import passage

WORDS = st.sampled_from(["Aster", "aster", "Foundry", "new", "New", "York", "C++", "-", "ERP", "O'Neil", "İz", "'", "\n"])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)


@given(st.lists(st.lists(TEXTS, max_size=4), max_size=6), st.lists(st.lists(WORDS, min_size=1, max_size=3).map(" ".join), max_size=4))
def test_the_passages_named_are_all_that_a_full_scan_finds(batches: list[list[str]], names: list[str]) -> None:
    index, texts = WordIndex(), {}
    for number, batch in enumerate(batches):
        chunks = [passage(f"{number}-{place}", "", text) for place, text in enumerate(batch)]
        index.add(chunks)
        texts |= {chunk.id: chunk.text for chunk in chunks}
    finder = NameFinder(names)
    assert {key for key, text in texts.items() if finder.find(text)} <= set(index.having(names))


def test_only_passages_with_all_words_of_one_name_are_named() -> None:
    index = WordIndex()
    index.add([passage("a", "", "Aster went to the Foundry"), passage("b", "", "The aster blooms"), passage("c", "", "New Foundry")])
    index.add([passage("a", "", "Aster went to the Foundry"), passage("d", "", "ASTER foundry")])
    assert len(index) == 4
    assert index.having(["Aster Foundry"]) == ["a", "d"]
    assert index.having(["aster", "new foundry"]) == ["a", "b", "c", "d"]
    assert index.having(["Aster York"]) == []
    assert index.having([]) == []


def test_parts_are_merged_and_nothing_is_lost() -> None:
    index = WordIndex()
    for number in range(300):
        index.add([passage(f"{number:03}", "", f"word{number} shared word{number % 7}")])
    assert index.having(["shared"]) == [f"{number:03}" for number in range(300)]
    assert index.having(["word6 shared"]) == [f"{number:03}" for number in range(6, 300, 7)]
    assert index.nbytes == 8 * sum(2 if number < 7 else 3 for number in range(300))
