"""What every LexicalIndex must do. Subclass, override `indexed`, and pytest runs the suite on your index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from router.errors import InvalidInput
from router.filters import matches
from router.stores.base import LexicalIndex
from router.types import Chunk, Condition, Filter, Metadata, Span

Fill = Callable[[Mapping[str, Sequence[Chunk]]], Awaitable[LexicalIndex]]


def passage(
    id_: str, text: str, *, title: str = "", document: str = "doc", collection: str = "main", metadata: Metadata | None = None
) -> Chunk:
    return Chunk(id_, document, collection, 0, title, (), text, Span(0, len(text)), metadata or {})


ANIMALS = (
    passage("a", "the fox jumps over the dog", title="Foxes", metadata={"year": 2024, "tags": ("wild",)}),
    passage("b", "a dog sleeps all day", title="Pets", collection="home", metadata={"year": 2025}),
    passage("c", "nothing but rain", title="Weather", metadata={"year": 2026, "tags": ("wild", "wet")}),
    passage("d", "a quick fox, a fox in the rain", title="Foxes", document="other"),
)


class LexicalIndexContract:
    """The suite; see the module."""

    @pytest.fixture
    async def fill(self) -> Fill:
        """An index that holds the chunks of each tenant."""
        raise NotImplementedError("override the fixture `fill`")

    async def test_an_empty_index_finds_nothing(self, fill: Fill) -> None:
        assert await (await fill({})).search("t", "fox", 5) == []

    async def test_the_best_come_first_and_scores_are_positive(self, fill: Fill) -> None:
        found = await (await fill({"t": ANIMALS})).search("t", "rain fox", 5)
        assert found[0].chunk_id == "d"
        assert {hit.chunk_id for hit in found} == {"a", "c", "d"}
        assert all(hit.score > 0 for hit in found)
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)

    async def test_titles_are_found(self, fill: Fill) -> None:
        assert [hit.chunk_id for hit in await (await fill({"t": ANIMALS})).search("t", "pets", 5)] == ["b"]

    async def test_the_limit_holds_and_ties_are_ordered_by_id(self, fill: Fill) -> None:
        chunks = [passage(id_, "one same text") for id_ in ("q", "b", "z", "a")] + [passage("other", "something else")]
        index = await fill({"t": chunks})
        assert [hit.chunk_id for hit in await index.search("t", "text", 3)] == ["a", "b", "q"]

    @pytest.mark.parametrize("limit", [0, -3])
    async def test_a_limit_below_one_is_refused(self, fill: Fill, limit: int) -> None:
        index = await fill({"t": ANIMALS})
        with pytest.raises(InvalidInput) as refused:
            await index.search("t", "fox", limit)
        assert refused.value.field == "limit"

    @pytest.mark.parametrize("text", ["", "   ", "?!", "the", "zebra", '" or 1 == 1 or "', "\n\\'%", "漢字"])
    async def test_words_that_nothing_holds_find_nothing(self, fill: Fill, text: str) -> None:
        assert await (await fill({"t": ANIMALS})).search("t", text, 5) == []

    async def test_tenants_never_see_each_other(self, fill: Fill) -> None:
        index = await fill({"t": ANIMALS, 'u" or tenant != "': [passage("a", "a zebra")]})
        assert await index.search("t", "zebra", 5) == []
        assert [hit.chunk_id for hit in await index.search('u" or tenant != "', "zebra fox", 5)] == ["a"]
        assert await index.search("nobody", "fox", 5) == []

    async def test_a_collection_is_searched_alone(self, fill: Fill) -> None:
        index = await fill({"t": ANIMALS})
        assert [hit.chunk_id for hit in await index.search("t", "dog", 5, collection="home")] == ["b"]
        assert await index.search("t", "dog", 5, collection="none") == []

    @pytest.mark.parametrize(
        "where",
        [
            Filter(must=(Condition("year", at_least=2025),)),
            Filter(must=(Condition("tags", equals="wild"),)),
            Filter(must_not=(Condition("tags", equals="wild"),)),
            Filter(should=(Condition("year", equals=2024.0), Condition("year", exists=False))),
        ],
        ids=str,
    )
    async def test_a_filter_means_what_matches_says(self, fill: Fill, where: Filter) -> None:
        found = await (await fill({"t": ANIMALS})).search("t", "fox dog rain", 5, where=where)
        assert {hit.chunk_id for hit in found} == {chunk.id for chunk in ANIMALS if matches(where, chunk.metadata)}
