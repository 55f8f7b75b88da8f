"""Retrieve small, read large: what is read is a part of the stored text, and no citation breaks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from router.corpus.chunk import Chunker, to_chunks
from router.corpus.formats import read_markdown
from router.retrieval.passages import passage_evidence
from router.retrieval.reading import Reader, windows
from router.settings import JournalSettings
from router.stores.documents import NewDocument
from router.stores.journal import open_journal
from router.types import Chunk, Evidence, EvidenceKind, Picture, Provenance, Span

TENANT = "acme"
SECTIONS = "# Guide\n\nWhat this is. 東京 and 🚀 are signs.\n\n" + "\n\n".join(
    f"## Part {name}\n\n" + " ".join(f"Sentence {number} of part {name} says what it says." for number in range(30)) for name in "ABC"
)


def cut(text: str, name: str = "guide.md") -> list[Chunk]:
    document = read_markdown(text.encode(), 1_000_000)
    passages = Chunker(40, 8).passages(document)
    about = {"document_id": name, "document_name": name, "collection": "main", "title": document.title}
    return list(to_chunks(document.text, passages, **about, metadata={}))


def hit(chunk: Chunk, rank: int, source: str = "vector") -> Evidence:
    return passage_evidence(chunk, Provenance(source, rank, 1.0 / rank, "hybrid"))


class Documents:
    """A DocumentStore over texts."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts
        self.all = [chunk for name, text in texts.items() for chunk in cut(text, name)]

    async def chunks(self, tenant: str, ids: Collection[str]) -> dict[str, Chunk]:
        return {chunk.id: chunk for chunk in self.all if chunk.id in ids}

    async def chunks_at(self, tenant: str, document_id: str, ordinals: Collection[int]) -> list[Chunk]:
        return [chunk for chunk in self.all if chunk.document_id == document_id and chunk.ordinal in ordinals]

    async def excerpt(self, tenant: str, document_id: str, span: Span) -> str:
        return self.texts[document_id][span.start : span.end]


STORE = Documents({"guide.md": SECTIONS})


@settings(deadline=None)
@given(st.lists(st.integers(0, len(STORE.all) - 1), unique=True, min_size=1, max_size=8), st.integers(1, 300))
async def test_what_is_read_is_exact_and_holds_every_hit_once(places: list[int], words: int) -> None:
    found = [hit(STORE.all[place], rank) for rank, place in enumerate(places, start=1)]
    read = await Reader(STORE, words).widened(TENANT, found)
    assert [item.id for item in read] == [item.id for item in found if item.id in {other.id for other in read}]
    assert sum(len(item.provenance) for item in read) == len(found)
    for item in read:
        assert item.span is not None
        assert SECTIONS[item.span.start : item.span.end] == item.text
    for item in found:
        assert item.span is not None
        holders = [other for other in read if other.span and other.span.start <= item.span.start and item.span.end <= other.span.end]
        assert holders
    own_words = {item.id: len(item.text.split()) for item in found}
    assert all(len(item.text.split()) <= max(words, own_words[item.id]) for item in read)


async def test_the_words_of_a_figure_stay_its_own_and_join_no_others() -> None:
    store = Documents({"guide.md": SECTIONS})
    last = store.all[-1]
    figure = replace(last, id="figure", ordinal=last.ordinal + 1, picture=Picture("a" * 64, "image/png", 80, 60))
    store.all.append(figure)
    beside, widened = await Reader(store, 300).widened(TENANT, [hit(figure, 1), hit(last, 2)])
    assert beside == hit(figure, 1)
    assert widened.text.endswith(last.text)
    assert len(widened.text) > len(last.text)


async def test_neighbouring_hits_of_a_section_become_one_with_all_provenances() -> None:
    section = [chunk for chunk in STORE.all if chunk.headings == ("Guide", "Part B")]
    found = [hit(section[2], 1), hit(section[1], 2, "graph")]
    (item,) = await Reader(STORE, 100).widened(TENANT, found)
    assert item.id == section[2].id
    assert item.sources == ("vector", "graph")
    assert item.headings == ("Guide", "Part B")
    assert section[1].text in item.text
    assert len(item.text.split()) <= 100


async def test_a_passage_grows_within_its_section_first() -> None:
    section = [chunk for chunk in STORE.all if chunk.headings == ("Guide", "Part B")]
    (item,) = await Reader(STORE, 120).widened(TENANT, [hit(section[0], 1)])
    assert item.span is not None
    assert item.span.start == section[0].span.start
    assert "part A" not in item.text


async def test_other_evidence_and_unknown_passages_stay() -> None:
    fact = Evidence("f", EvidenceKind.FACT, "Ada", "Ada employs Bob", ())
    gone = hit(Chunk("gone", "guide.md", "main", 3, "", (), "deleted", Span(0, 7)), 2)
    assert await Reader(STORE, 100).widened(TENANT, [fact, gone]) == (fact, gone)


async def test_a_document_that_was_replaced_meanwhile_is_read_as_it_was_found() -> None:
    store = Documents({"guide.md": SECTIONS})
    store.texts = {"guide.md": "!" + SECTIONS}
    found = [hit(store.all[4], 1), hit(store.all[5], 2)]
    assert await Reader(store, 200).widened(TENANT, found) == tuple(found)


def test_no_passage_is_in_two_windows() -> None:
    grown = windows(STORE.all[3:8], STORE.all, 90)
    inside = [chunk.id for window in grown for chunk in window.chunks]
    assert len(inside) == len(set(inside))


async def test_the_journal_gives_the_same_parts(tmp_path: Path) -> None:
    journal = await open_journal(JournalSettings(), tmp_path)
    chunks = STORE.all
    document = NewDocument("guide.md", "guide.md", "Guide", "main", "text/markdown", {}, "f", 1, SECTIONS, tuple(chunks))
    await journal.put(TENANT, document)
    found = [hit(chunks[2], 1), hit(chunks[-1], 2)]
    assert await Reader(journal, 150).widened(TENANT, found) == await Reader(STORE, 150).widened(TENANT, found)
    assert await journal.excerpt(TENANT, "guide.md", Span(0, 10**6)) == SECTIONS
    assert await journal.excerpt("other", "guide.md", Span(0, 10)) == ""
    assert await journal.chunks_at("other", "guide.md", [0, 1]) == []
    await journal.aclose()
