from __future__ import annotations

import asyncio
import gzip
import inspect
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import ddgs
import ddgs.exceptions
import pytest

from router.errors import ConfigurationError, WebUnavailable
from router.retrieval.web_search import (
    DdgsSearch,
    ReplaySearch,
    SearxngSearch,
    WebRecording,
    WebResult,
    ddgs_error,
    open_web_search,
)
from router.settings import DdgsProvider, ReplayProvider, SearxngProvider, WebSource
from tests.unit.retrieval.web_site import Site, reply, serve_site

RECORDED = [
    ("Who won the harbour race in 2023?", [{"url": "https://a.example/", "title": "Race", "published": "2023/08/10", "text": "Mira won."}]),
    ("Which company built the new crane?", [{"url": "https://b.example/", "title": "", "published": "", "text": "Lindqvist built it."}]),
    ("What was not found?", []),
]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as running:
        yield running


def write_recording(path: Path) -> Path:
    lines = "".join(json.dumps({"query": query, "results": results}) + "\n" for query, results in RECORDED).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


# --- ddgs -----------------------------------------------------------------------------------------------------------


async def test_ddgs_without_a_network_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDGS_PROXY", "http://127.0.0.1:9")  # nothing listens: every engine fails at once, wherever the test runs
    search = DdgsSearch("us-en", timeout_s=30.0)
    with pytest.raises(WebUnavailable) as failed:
        await search.search("who is the mayor of Paris", 5)
    assert failed.value.retry_after_s
    assert isinstance(failed.value.__cause__, ddgs.exceptions.DDGSException)
    await search.aclose()


async def test_ddgs_results(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def text(_self: ddgs.DDGS, query: str, **options: object) -> list[dict[str, str]]:
        asked.update(options, query=query)
        return [{"title": "Paris", "href": "https://paris.example/", "body": "The mayor is"}]

    monkeypatch.setattr(ddgs.DDGS, "text", text)
    search = DdgsSearch("fr-fr", timeout_s=30.0)
    assert await search.search("mayor of Paris", 3) == [WebResult("https://paris.example/", "Paris", "The mayor is", "")]
    assert asked == {"query": "mayor of Paris", "region": "fr-fr", "max_results": 3}
    await search.aclose()


async def test_ddgs_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(ddgs.DDGS, "text", lambda *_args, **_options: release.wait(30) and [])
    search = DdgsSearch("us-en", timeout_s=0.1)
    try:
        with pytest.raises(WebUnavailable) as failed:
            await search.search("slow", 5)
        assert failed.value.reason == "WEB_SEARCH_TIMEOUT"
    finally:
        release.set()
        await search.aclose()


def test_every_exception_of_ddgs_is_mapped() -> None:
    kinds = [kind for _, kind in inspect.getmembers(ddgs.exceptions, inspect.isclass) if issubclass(kind, Exception)]
    reasons = {kind.__name__: ddgs_error(kind("why")).reason for kind in kinds}
    assert reasons == {
        "DDGSException": "WEB_UNAVAILABLE",
        "RatelimitException": "WEB_RATE_LIMITED",
        "TimeoutException": "WEB_SEARCH_TIMEOUT",
    }
    assert all(ddgs_error(kind("why")).retry_after_s for kind in kinds)


# --- SearXNG --------------------------------------------------------------------------------------------------------


def json_reply(value: object, status: str = "200 OK", **headers: str) -> bytes:
    return reply(json.dumps(value).encode(), "application/json", status, **headers)


async def test_searxng_on_a_private_address(site: Site) -> None:
    site.answers["/search"] = json_reply(
        {
            "query": "x",
            "number_of_results": 0,
            "results": [
                {"url": "https://a.example/", "title": "A", "content": "About a", "publishedDate": "2024-01-02T00:00:00", "score": 1.0},
                {"url": "https://b.example/", "title": "B", "content": None, "publishedDate": None},
                {"url": "https://c.example/", "title": "C"},
            ],
            "unresponsive_engines": [["brave", "timeout"]],
        }
    )
    search = await SearxngSearch.open(f"http://127.0.0.1:{site.port}/", timeout_s=10.0)
    assert await search.search("a & b?", 2) == [
        WebResult("https://a.example/", "A", "About a", "2024-01-02T00:00:00"),
        WebResult("https://b.example/", "B", "", ""),
    ]
    assert parse_qs(urlsplit(site.paths()[0]).query) == {"q": ["a & b?"], "format": ["json"]}
    await search.aclose()


async def test_searxng_that_found_nothing(site: Site) -> None:
    site.answers["/search"] = json_reply({"results": [], "unresponsive_engines": []})
    search = await SearxngSearch.open(f"http://127.0.0.1:{site.port}", timeout_s=10.0)
    assert await search.search("nothing", 2) == []
    await search.aclose()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (json_reply({"results": [], "unresponsive_engines": [["brave", "timeout"], ["google", "CAPTCHA"]]}), "WEB_UNAVAILABLE"),
        (json_reply({}, "429 Too Many Requests", retry_after="7"), "WEB_RATE_LIMITED"),
        (json_reply({}, "403 Forbidden"), "WEB_REFUSED"),
        (json_reply({}, "500 Oh"), "WEB_UNAVAILABLE"),
        (json_reply({}), "WEB_REPLY_NOT_UNDERSTOOD"),
        (reply(b"<html>a page</html>"), "WEB_REPLY_NOT_UNDERSTOOD"),
        (b"garbage\r\n\r\n", "WEB_UNAVAILABLE"),
    ],
)
async def test_searxng_that_fails(site: Site, answer: bytes, reason: str) -> None:
    site.answers["/search"] = answer
    search = await SearxngSearch.open(f"http://127.0.0.1:{site.port}", timeout_s=10.0)
    with pytest.raises(WebUnavailable) as failed:
        await search.search("anything", 2)
    assert failed.value.reason == reason
    if reason == "WEB_RATE_LIMITED":
        assert failed.value.retry_after_s == 7
    await search.aclose()


async def test_searxng_that_is_not_there_or_silent(site: Site) -> None:
    async def silent(_writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    site.answers["/search"] = silent
    for url in ("http://127.0.0.1:9", f"http://127.0.0.1:{site.port}", "http://["):
        search = await SearxngSearch.open(url, timeout_s=0.3)
        with pytest.raises(WebUnavailable):
            await search.search("anything", 2)
        await search.aclose()


# --- replay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["web.jsonl", "web.jsonl.gz"])
async def test_replay_matches_the_same_question(tmp_path: Path, name: str) -> None:
    search = await ReplaySearch.open(write_recording(tmp_path / name), "sources.web.search.path")
    (result,) = await search.search("  who won THE harbour race in 2023 ", 5)
    assert result == WebResult("https://a.example/", "Race", "", "2023/08/10", "Mira won.", recorded=True)
    assert await search.search("Who won the harbour race in 2023?", 0) == []


@pytest.mark.parametrize(
    ("query", "url"),
    [
        ("Which company built the crane?", "https://b.example/"),
        ("who won the race in the harbour in 2023", "https://a.example/"),
        ("Which company bought a ship?", None),
        ("What was found?", None),  # nearest to a recorded search that found nothing
        ("What was not found?", None),
        ("", None),
    ],
)
async def test_replay_takes_the_nearest_question_above_the_threshold(tmp_path: Path, query: str, url: str | None) -> None:
    search = await ReplaySearch.open(write_recording(tmp_path / "web.jsonl"), "sources.web.search.path")
    assert [result.url for result in await search.search(query, 5)] == ([url] if url else [])


@pytest.mark.parametrize(
    "content", [b"{}\n", b"not json\n", b'{"query": "a", "results": [{"url": "u"}]}\n', b'{"query": "a", "results": []}\n\n', b"\xff\n"]
)
async def test_a_broken_recording_stops_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "web.jsonl"
    path.write_bytes(write_recording(path).read_bytes() + content)
    with pytest.raises(ConfigurationError, match=r"line [45]") as failed:
        await ReplaySearch.open(path, "sources.web.search.path")
    assert failed.value.field == "sources.web.search.path"


@pytest.mark.parametrize(
    "content",
    [None, b"not packed", gzip.compress(b"x" * 1000, mtime=0)[:20], b"\x1f\x8b\x08\x00" + b"\xff" * 30],
    ids=["absent", "not packed", "cut off", "not what its head says"],
)
async def test_an_unreadable_recording_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "web.jsonl.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as failed:
        await ReplaySearch.open(path, "sources.web.search.path")
    assert failed.value.field == "sources.web.search.path"


@pytest.mark.parametrize("name", ["web.jsonl", "web.jsonl.gz"])
async def test_searches_recorded_side_by_side_are_all_kept_whole(tmp_path: Path, name: str) -> None:
    recordings = [WebRecording(tmp_path / name) for _ in range(3)]  # as several processes would
    texts = {f"question number {n}": f"text {n}\nßß\u2028 " * 5000 for n in range(30)}
    await asyncio.gather(
        *(
            recordings[n % 3].append(query, [WebResult("https://a.example/", "A", "snippet", "2024", text)])
            for n, (query, text) in enumerate(texts.items())
        )
    )
    search = await ReplaySearch.open(tmp_path / name, "sources.web.search.path")
    for query, text in texts.items():
        assert [result.text for result in await search.search(query, 5)] == [text]


async def test_providers_by_settings(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "web.jsonl")
    kinds = []
    for provider in (
        DdgsProvider(),
        SearxngProvider(provider="searxng", url="http://10.0.0.1"),
        ReplayProvider(provider="replay", path=path),
    ):
        search = await open_web_search(WebSource(search=provider), "sources.web.search")
        kinds.append(type(search))
        await search.aclose()
    assert kinds == [DdgsSearch, SearxngSearch, ReplaySearch]
