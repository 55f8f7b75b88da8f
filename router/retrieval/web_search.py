"""Who searches the web: ddgs, a SearXNG instance, or a recording of earlier searches."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import re
import unicodedata
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from router.errors import ConfigurationError, WebUnavailable
from router.settings import DdgsProvider, ReplayProvider, SearxngProvider, WebSource

RATE_LIMIT_PAUSE_S = 30.0
"""Asked of the caller when a search engine says that we come too often and does not say for how long."""
OUTAGE_PAUSE_S = 5.0
"""Asked of the caller when a search engine cannot be reached."""
REPLAY_THRESHOLD = 0.5
"""Jaccard similarity of the words of two questions from which a recorded one stands for the other. Between 300 questions of other
data sets and the 100 recorded ones of RealTimeQA the highest is 0.29, as it is between two different recorded ones."""
MAX_SEARCHES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class WebResult:
    """One result of a search. `text` is the page's text once it was read; `published` is a date as the engine writes it, or empty."""

    url: str
    title: str
    snippet: str
    published: str
    text: str = ""
    recorded: bool = False


class WebSearch(Protocol):
    async def search(self, query: str, limit: int) -> list[WebResult]:
        """Find pages, best first. An empty list means that the engine answered and found nothing.

        Raises:
            WebUnavailable: The engine cannot be reached, refuses, or did not answer in time.
        """

    async def aclose(self) -> None: ...


async def open_web_search(settings: WebSource, field: str) -> WebSearch:
    """Open the provider that the settings name; `field` is the path of `settings.search`, for errors."""
    match settings.search:
        case DdgsProvider(region=region):
            return DdgsSearch(region, settings.timeout_s)
        case SearxngProvider(url=url):
            return await SearxngSearch.open(url, settings.timeout_s)
        case ReplayProvider(path=path):
            return await ReplaySearch.open(path, f"{field}.path")


class DdgsSearch:
    """Several public search engines at once, through the package ddgs.

    ddgs is synchronous and cannot be interrupted: a search that took too long is given up here, while its thread ends by itself. Such
    threads come from a pool of their own, so that they can starve no one else.
    """

    def __init__(self, region: str, timeout_s: float) -> None:
        self._region = region
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(MAX_SEARCHES_AT_ONCE, thread_name_prefix="ddgs")

    async def search(self, query: str, limit: int) -> list[WebResult]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                rows = await loop.run_in_executor(self._threads, self._search, query, limit)
        except TimeoutError as exc:
            raise WebUnavailable(
                f"the web search took longer than {self._timeout_s:g} s", reason="WEB_SEARCH_TIMEOUT", retry_after_s=OUTAGE_PAUSE_S
            ) from exc
        return [WebResult(row["href"], row.get("title", ""), row.get("body", ""), published="") for row in rows]

    def _search(self, query: str, limit: int) -> list[dict[str, Any]]:
        from ddgs import DDGS
        from ddgs.exceptions import DDGSException

        # ddgs asks its engines in turn, each for at most this long; a third lets one dead engine pass before our own time is over.
        engine_timeout_s = max(1, math.ceil(self._timeout_s / 3))
        try:
            found: list[dict[str, Any]] = DDGS(timeout=engine_timeout_s).text(query, region=self._region, max_results=limit)
        except DDGSException as exc:
            raise ddgs_error(exc) from exc
        return found

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def ddgs_error(exc: Exception) -> WebUnavailable:
    """The error map of ddgs.

    "No results found" is an error here too: ddgs says the same when every engine refused us, so it cannot pass for an empty web.
    """
    from ddgs.exceptions import RatelimitException, TimeoutException

    match exc:
        case RatelimitException():
            return WebUnavailable("the web search is rate limited", reason="WEB_RATE_LIMITED", retry_after_s=RATE_LIMIT_PAUSE_S)
        case TimeoutException():
            return WebUnavailable("the web search timed out", reason="WEB_SEARCH_TIMEOUT", retry_after_s=OUTAGE_PAUSE_S)
        case _:
            cause = str(exc).partition(":")[0]  # the rest repeats the whole request
            return WebUnavailable(f"the web search failed: {cause}", retry_after_s=OUTAGE_PAUSE_S)


class _SearxngResult(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    url: str
    title: str | None = None
    content: str | None = None
    publishedDate: str | None = None  # noqa: N815 - SearXNG's spelling


class _SearxngReply(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    results: list[_SearxngResult]
    unresponsive_engines: list[list[str]] = []


class SearxngSearch:
    """A SearXNG instance with its JSON format enabled (https://docs.searxng.org/dev/search_api.html).

    Its address is the operator's choice, so private and loopback ones are fine here.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, timeout_s: float) -> None:
        self._client = client
        self._url = url.rstrip("/") + "/search"
        self._timeout_s = timeout_s

    @classmethod
    async def open(cls, url: str, timeout_s: float) -> SearxngSearch:
        context = await asyncio.to_thread(httpx.create_ssl_context)  # reads the certificates from disk
        return cls(httpx.AsyncClient(verify=context, timeout=timeout_s, follow_redirects=True), url, timeout_s)

    async def search(self, query: str, limit: int) -> list[WebResult]:
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.get(self._url, params={"q": query, "format": "json"})
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise WebUnavailable(f"SearXNG does not answer: {type(exc).__name__} {exc}", retry_after_s=OUTAGE_PAUSE_S) from exc
        _check_status(response)
        try:
            reply = _SearxngReply.model_validate_json(response.content)
        except ValidationError as exc:
            raise WebUnavailable("SearXNG's reply is not the JSON of its search API", reason="WEB_REPLY_NOT_UNDERSTOOD") from exc
        if not reply.results and reply.unresponsive_engines:
            engines = ", ".join(": ".join(engine) for engine in reply.unresponsive_engines)
            raise WebUnavailable(f"no engine of SearXNG answered ({engines})", retry_after_s=OUTAGE_PAUSE_S)
        return [
            WebResult(result.url, result.title or "", result.content or "", result.publishedDate or "") for result in reply.results[:limit]
        ]

    async def aclose(self) -> None:
        await self._client.aclose()


def _check_status(response: httpx.Response) -> None:
    match response.status_code:
        case 200:
            return
        case 429:
            pause = response.headers.get("retry-after", "")
            raise WebUnavailable(
                "SearXNG refuses: too many requests",
                reason="WEB_RATE_LIMITED",
                retry_after_s=float(pause) if pause.isdecimal() else RATE_LIMIT_PAUSE_S,
            )
        case 403:
            raise WebUnavailable("SearXNG refuses (403): add `json` to `search.formats` in its settings.yml", reason="WEB_REFUSED")
        case status:
            raise WebUnavailable(f"SearXNG answered with status {status}", retry_after_s=OUTAGE_PAUSE_S)


class _RecordedResult(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    url: str
    title: str | None = None
    published: str | None = None
    text: str


class _RecordedSearch(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    query: str
    results: list[_RecordedResult]


class ReplaySearch:
    """Recorded searches: the one with the same words, else the one with the most similar words, else nothing."""

    def __init__(self, searches: Sequence[tuple[str, list[WebResult]]]) -> None:
        self._by_words = {_words(query): results for query, results in searches}  # the latest recording of a question wins
        self._word_sets = [(frozenset(words), results) for words, results in self._by_words.items()]

    @classmethod
    async def open(cls, path: Path, field: str) -> ReplaySearch:
        """Load a recording.

        Args:
            path: JSON lines of {query, results: [{url, title, published, text}]}, compressed when it ends in `.gz`.
            field: The setting that names the path.

        Raises:
            ConfigurationError: The file is missing or a line is not as described.
        """
        return cls(await asyncio.to_thread(_load_recording, path, field))

    async def search(self, query: str, limit: int) -> list[WebResult]:
        words = _words(query)
        exact = self._by_words.get(words)
        results = exact if exact is not None else self._most_similar(frozenset(words))
        return results[:limit]

    def _most_similar(self, words: frozenset[str]) -> list[WebResult]:
        best, best_similarity = list[WebResult](), 0.0
        for recorded, results in self._word_sets:
            similarity = len(words & recorded) / max(1, len(words | recorded))
            if similarity >= REPLAY_THRESHOLD and similarity > best_similarity:
                best, best_similarity = results, similarity
        return best

    async def aclose(self) -> None:
        """Nothing is held open."""


def _words(query: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", query).casefold()))


def _load_recording(path: Path, field: str) -> list[tuple[str, list[WebResult]]]:
    try:
        packed = path.read_bytes()
        lines = (gzip.decompress(packed) if path.suffix == ".gz" else packed).splitlines()
    except (OSError, EOFError, zlib.error) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}", field=field) from exc
    return [_recorded_search(line, f"{path}, line {number}", field) for number, line in enumerate(lines, start=1)]


def _recorded_search(line: bytes, place: str, field: str) -> tuple[str, list[WebResult]]:
    try:
        recorded = _RecordedSearch.model_validate_json(line)
    except ValidationError as exc:
        raise ConfigurationError(f"{place}: not a recorded search ({exc.errors()[0]['msg']})", field=field) from exc
    return recorded.query, [_replayed(result) for result in recorded.results]


def _replayed(result: _RecordedResult) -> WebResult:
    return WebResult(result.url, result.title or "", snippet="", published=result.published or "", text=result.text, recorded=True)


class WebRecording:
    """A file to which searches are appended as they were used, with the texts of their pages; `ReplaySearch` reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def append(self, query: str, results: Sequence[WebResult]) -> None:
        """Add one search as one line.

        Raises:
            OSError: The file cannot be written.
        """
        record = {
            "query": query,
            "results": [
                {"url": result.url, "title": result.title, "published": result.published, "text": result.text or result.snippet}
                for result in results
            ],
        }
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        await asyncio.to_thread(self._write, gzip.compress(line) if self._path.suffix == ".gz" else line)

    def _write(self, line: bytes) -> None:
        # One write on a file opened for appending lands whole at the end, so concurrent searches need no lock. Members of a .gz follow
        # one another in the same way.
        with self._path.open("ab", buffering=0) as file:
            file.write(line)
