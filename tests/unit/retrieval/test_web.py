from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigurationError, InvalidInput, WebUnavailable
from router.retrieval.base import Probe, RetrievalRequest, Retrieved
from router.retrieval.run import run_source
from router.retrieval.web import PASSAGE_WORDS, PASSAGES_PER_PAGE, WebRetriever, best_passages, open_web_source
from router.retrieval.web_page import PageReader
from router.retrieval.web_search import ReplaySearch, WebRecording, WebResult
from router.settings import ReplayProvider, WebSource
from router.types import Caller, Deadline, EvidenceKind, Provenance, Query, SourceCode, TextPart
from tests.unit.retrieval.web_site import Site, guard, page, redirect, reply, serve_site

LONG = " ".join(["filler"] * (PASSAGE_WORDS - 20))


@dataclass
class Listed:
    """A search engine whose list is given."""

    results: list[WebResult]
    asked: list[str] = field(default_factory=list)

    async def search(self, query: str, limit: int) -> list[WebResult]:
        self.asked.append(query)
        return self.results[:limit]

    async def aclose(self) -> None:
        """Nothing is held open."""


class Down:
    async def search(self, query: str, limit: int) -> list[WebResult]:
        raise WebUnavailable("the web search failed")

    async def aclose(self) -> None:
        """Nothing is held open."""


def request(text: str = "Who built the crane?", limit: int = 20, deadline_s: float = 60.0) -> RetrievalRequest:
    return RetrievalRequest(
        query=Query((TextPart(text),)),
        probe=Probe(np.zeros(4, dtype=np.float32), nearest=(), linked=(), is_recent=True),
        caller=Caller("acme", "request-1", Deadline.after(deadline_s)),
        limit=limit,
    )


async def no_names(_tenant: str, _text: str) -> tuple[str, ...]:
    return ()


def result(url: str, snippet: str = "a snippet", title: str = "", published: str = "", text: str = "") -> WebResult:
    return WebResult(url, title, snippet, published, text)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as running:
        yield running


@pytest.fixture
async def pages() -> AsyncIterator[PageReader]:
    reader = await PageReader.open(100_000, 10.0, guard())
    yield reader
    await reader.aclose()


async def test_pages_become_evidence(site: Site, pages: PageReader) -> None:
    site.answers["/a"] = reply(page("Crane", "Lindqvist of Aarhus built the crane.", "It is blue."))
    search = Listed(
        [result(site.url("/a"), published="2024-05-03"), result("https://snippets.example/", title="S", text="Its text is known.")]
    )

    async def link(tenant: str, text: str) -> tuple[str, ...]:
        return (f"{tenant}:lindqvist",) if "Lindqvist" in text else ()

    found = await WebRetriever("web", WebSource(), search, pages, link).search(request("Who\n  built the crane?"))
    first, second = found.evidence
    assert search.asked == ["Who built the crane?"]
    assert first.kind is EvidenceKind.WEB_PAGE
    assert first.id.startswith("web:")
    assert len(first.id) == 4 + 32
    assert (first.title, first.uri, first.metadata, first.recorded) == ("Crane", site.url("/a"), {"published": "2024-05-03"}, False)
    assert "Lindqvist of Aarhus built the crane." in first.text
    assert first.provenance == (Provenance("web", 1, 1.0, "reciprocal_rank"),)
    assert (second.title, second.text, second.metadata) == ("S", "Its text is known.", {})
    assert second.provenance == (Provenance("web", 2, 0.5, "reciprocal_rank"),)
    assert found.links == {first.id: ("acme:lindqvist",)}
    assert found.degraded == ""


async def test_a_page_that_fails_keeps_its_snippet(site: Site, pages: PageReader) -> None:
    site.answers["/good"] = reply(page("Good", "A page that can be read."))
    site.answers["/pdf"] = reply(b"%PDF", "application/pdf")
    site.answers["/inside"] = redirect("http://127.0.0.1/")
    urls = [site.url("/good"), site.url("/pdf"), site.url("/inside"), site.url("/missing")]
    search = Listed([result(url, snippet=f"snippet of {url}") for url in urls])
    found = await WebRetriever("web", WebSource(), search, pages, no_names).search(request())
    assert [item.uri for item in found.evidence] == urls
    assert "A page that can be read." in found.evidence[0].text
    assert [item.text for item in found.evidence[1:]] == [f"snippet of {url}" for url in urls[1:]]
    assert found.degraded == ""


async def test_when_no_page_can_be_read_the_source_says_so(site: Site, pages: PageReader) -> None:
    source = WebRetriever("web", WebSource(), Listed([result(site.url("/missing"))]), pages, no_names)
    retrieved, report = await run_source("web", source, request(), timeout_s=10)
    assert retrieved is not None
    assert [item.text for item in retrieved.evidence] == ["a snippet"]
    assert (report.code, report.count) == (SourceCode.DEGRADED, 1)
    assert "snippets" in report.message


async def test_pages_that_still_load_near_the_deadline_are_replaced_by_their_snippets(site: Site, pages: PageReader) -> None:
    async def never(_writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    site.answers["/never"] = never
    source = WebRetriever("web", WebSource(), Listed([result(site.url("/never"))]), pages, no_names)
    retrieved, report = await run_source("web", source, request(), timeout_s=1.0)
    assert retrieved is not None
    assert [item.text for item in retrieved.evidence] == ["a snippet"]
    assert report.code is SourceCode.DEGRADED


async def test_a_failed_search_is_unavailable_and_not_empty(pages: PageReader) -> None:
    source = WebRetriever("web", WebSource(), Down(), pages, no_names)
    with pytest.raises(WebUnavailable):
        await source.search(request())
    retrieved, report = await run_source("web", source, request(), timeout_s=10)
    assert (retrieved, report.code, report.message) == (None, SourceCode.UNAVAILABLE, "the web search failed")


async def test_nothing_found_is_an_empty_result(pages: PageReader) -> None:
    assert await WebRetriever("web", WebSource(), Listed([]), pages, no_names).search(request()) == Retrieved(())


async def test_a_question_without_words_is_refused() -> None:
    search = Listed([])
    with pytest.raises(InvalidInput):
        await WebRetriever("web", WebSource(), search, None, no_names).search(request(" \n "))
    assert search.asked == []


async def test_snippets_alone_when_pages_are_not_wanted() -> None:
    found = await WebRetriever("web", WebSource(fetch_pages=False), Listed([result("https://a.example/")]), None, no_names).search(
        request()
    )
    assert [item.text for item in found.evidence] == ["a snippet"]
    assert found.degraded == ""


async def test_candidates_and_limit() -> None:
    listed = [result(f"https://a.example/{n}", snippet=f"snippet {n}") for n in range(10)]
    source = WebRetriever("web", WebSource(candidates=4), Listed(listed), None, no_names)
    assert [item.text for item in (await source.search(request())).evidence] == [f"snippet {n}" for n in range(4)]
    assert [item.text for item in (await source.search(request(limit=2))).evidence] == ["snippet 0", "snippet 1"]


async def test_best_passages_of_all_pages_come_before_second_ones() -> None:
    def text(name: str) -> str:
        return f"{LONG} nothing\n{LONG} the crane by {name}\n{LONG} who built the crane: {name}"

    listed = [result(f"https://{name}.example/", text=text(name)) for name in ("one", "two")]
    found = await WebRetriever("web", WebSource(), Listed(listed), None, no_names).search(request())
    assert [item.text.removeprefix(LONG + " ") for item in found.evidence] == [
        "who built the crane: one",
        "who built the crane: two",
        "the crane by one",
        "the crane by two",
    ]
    assert [item.provenance[0].score for item in found.evidence] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert len({item.id for item in found.evidence}) == 4


async def test_untrusted_text_is_cleaned_and_odd_addresses_are_left_out() -> None:
    listed = [
        result("javascript:alert(1)"),
        result(
            "https://a.example/", title="A\x1b[31m\nB\u202e", snippet="one\x00two\u200b\ud800 three\r\nfour\U000e0041", published="20\x0724"
        ),
        result("https://a.example/", snippet="the same address again"),
        result("ftp://a.example/"),
        result("https://b.example/", snippet="\x07"),
        result("https://c.example/"),
    ]
    found = await WebRetriever("web", WebSource(candidates=10), Listed(listed), None, no_names).search(request())
    first, second = found.evidence
    assert (first.title, first.text, first.metadata) == ("A[31m B", "onetwo three\nfour", {"published": "2024"})
    assert (first.uri, second.uri) == ("https://a.example/", "https://c.example/")
    assert second.title == "https://c.example/"


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_whatever_a_page_holds_can_be_sent_on(title: str, snippet: str) -> None:
    source = WebRetriever("web", WebSource(), Listed([result("https://a.example/", title=title, snippet=snippet)]), None, no_names)
    for item in asyncio.run(source.search(request())).evidence:
        (item.title + item.text).encode()  # a lone surrogate cannot be
        assert not any(ord(char) < 32 and char not in "\n\t" for char in item.title + item.text)


@pytest.mark.parametrize("name", ["web.jsonl", "web.jsonl.gz"])
async def test_what_was_recorded_gives_the_same_evidence_again(site: Site, pages: PageReader, tmp_path: Path, name: str) -> None:
    site.answers["/long"] = reply(page("Crane", *(f"{LONG} crane {n}." for n in range(4))))
    listed = [
        result(site.url("/long"), published="2024-05-03"),
        result(site.url("/missing"), title="M", snippet="only a\tsnippet\ud800 \u2028 here"),
        result("https://empty.example/", snippet=""),
    ]

    async def link(tenant: str, text: str) -> tuple[str, ...]:
        return (tenant,) if "crane" in text else ()

    live = WebRetriever("web", WebSource(), Listed(listed), pages, link, recording=WebRecording(tmp_path / name))
    first = await live.search(request())
    again = WebRetriever("web", WebSource(), await ReplaySearch.open(tmp_path / name, "field"), pages, link)
    requests_before = len(site.requests)
    replayed = await again.search(request("who built the CRANE"))
    assert len(first.evidence) == 3
    assert replayed.evidence == tuple(replace(item, recorded=True) for item in first.evidence)
    assert replayed.links == first.links
    assert len(site.requests) == requests_before


async def test_a_replayed_result_is_never_fetched(site: Site, pages: PageReader) -> None:
    site.answers["/"] = reply(page("Live", "Not what was recorded."))
    recorded = replace(result(site.url("/"), snippet=""), recorded=True)
    assert (await WebRetriever("web", WebSource(), Listed([recorded]), pages, no_names).search(request())).evidence == ()
    assert site.requests == []


async def test_a_recording_that_cannot_be_written_does_not_cost_the_answer(tmp_path: Path) -> None:
    recording = WebRecording(tmp_path / "gone" / "web.jsonl")
    source = WebRetriever("web", WebSource(), Listed([result("https://a.example/")]), None, no_names, recording=recording)
    found = await source.search(request())
    assert len(found.evidence) == 1
    assert "could not be recorded" in found.degraded


async def test_opening_from_settings(tmp_path: Path) -> None:
    path = tmp_path / "web.jsonl"
    await WebRecording(path).append("Who built the crane?", [result("https://a.example/", text="Lindqvist built it.")])
    provider = ReplayProvider(provider="replay", path=path)
    source = await open_web_source("web", WebSource(search=provider), no_names)
    (item,) = (await source.search(request())).evidence
    assert (item.text, item.recorded) == ("Lindqvist built it.", True)
    await source.aclose()
    for settings, field_at_fault in (
        (WebSource(search=provider, record=tmp_path / "b.jsonl"), "sources.news.record"),
        (WebSource(record=tmp_path / "gone" / "b.jsonl"), "sources.news.record"),
        (WebSource(search=ReplayProvider(provider="replay", path=tmp_path / "gone.jsonl")), "sources.news.search.path"),
    ):
        with pytest.raises(ConfigurationError) as failed:
            await open_web_source("news", settings, no_names)
        assert failed.value.field == field_at_fault


async def test_the_default_source_reads_no_page_of_this_machine(site: Site) -> None:
    site.answers["/"] = reply(page("Inside", "Not for the web."))
    reader = await PageReader.open(100_000, 10.0)
    found = await WebRetriever("web", WebSource(), Listed([result(f"http://127.0.0.1:{site.port}/")]), reader, no_names).search(request())
    assert [item.text for item in found.evidence] == ["a snippet"]
    assert site.requests == []
    await reader.aclose()


@given(st.text(), st.lists(st.integers(1, 3 * PASSAGE_WORDS), max_size=6))
def test_passages_are_bounded_and_stand_in_the_text(question: str, lengths: list[int]) -> None:
    text = "\n".join(" ".join(f"w{line}_{n}" for n in range(length)) for line, length in enumerate(lengths))
    passages = best_passages(set(question.casefold().split()), text)
    assert len(passages) <= PASSAGES_PER_PAGE
    assert bool(passages) == bool(lengths)
    for passage in passages:
        assert 0 < len(passage.split()) <= PASSAGE_WORDS
        assert " ".join(passage.split()) in " ".join(text.split())


class Failing(Listed):
    """A search that fails, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked = 0

    async def search(self, query: str, limit: int) -> list[WebResult]:
        self.asked += 1
        raise WebUnavailable("no way out", retry_after_s=3.0)


async def test_looking_at_the_health_costs_one_search_in_minutes() -> None:
    search = Failing()
    web = WebRetriever("web", WebSource(), search, None, no_names)
    for _ in range(3):
        with pytest.raises(WebUnavailable, match="no way out"):
            await web.check()
    assert search.asked == 1


async def test_a_search_that_works_again_is_healthy() -> None:
    web = WebRetriever("web", WebSource(), Listed([result("https://a.example/")]), None, no_names)
    assert await web.check() == "ddgs"
