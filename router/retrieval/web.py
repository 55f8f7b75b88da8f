"""The web as a source: search, read the pages found, and take the passages that fit the question."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import math
import re
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from router.errors import ConfigurationError, InvalidInput, RouterError, WebUnavailable
from router.retrieval.base import RetrievalRequest, Retrieved
from router.retrieval.web_page import PageReader
from router.retrieval.web_search import WebRecording, WebResult, WebSearch, open_web_search
from router.settings import ReplayProvider, WebSource
from router.types import Deadline, Evidence, EvidenceKind, Provenance

PASSAGE_WORDS = 220
PASSAGES_PER_PAGE = 2
"""On the recorded results of RealTimeQA (5 pages a question) an answer is in the best passage of a page for 74 of 100 questions, in
the best two for 81; all of what was recorded has 81."""
MAX_QUERY_CHARS = 400
"""Search engines cut or refuse longer questions."""
CHECK_EVERY_S = 300.0
CHECK_QUERY = "weather"
RESERVE_S = 0.25
"""Kept back from the caller's deadline, so that pages still loading then are replaced by their snippets in time."""

LinkNames = Callable[[str, str], Awaitable[tuple[str, ...]]]
"""(tenant, text) -> ids of the tenant's entities that the text names."""

# Control characters but tab and line end, marks that reorder or hide text, and halves of characters that UTF-8 cannot hold.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]")
_WORD = re.compile(r"\w+")

_log = structlog.get_logger(__name__)


class WebRetriever:
    """Evidence from web pages.

    Args:
        name: Name of the source.
        settings: Its settings.
        search: Finds pages.
        pages: Reads them; None leaves the search engine's snippets.
        link: Finds the names of the graph in a passage.
        recording: Where each search and its pages are kept.
    """

    def __init__(
        self,
        name: str,
        settings: WebSource,
        search: WebSearch,
        pages: PageReader | None,
        link: LinkNames,
        *,
        recording: WebRecording | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._search = search
        self._pages = pages
        self._link = link
        self._recording = recording
        self._asked_at = -math.inf
        self._failure: WebUnavailable | None = None

    async def search(self, request: RetrievalRequest) -> Retrieved:
        """Find passages of web pages, best first.

        Raises:
            InvalidInput: The question has no words to search with.
            WebUnavailable: The search failed. A page that cannot be read is no failure: its snippet stays.
        """
        query = " ".join(request.query.text.split())[:MAX_QUERY_CHARS]
        if not query:
            raise InvalidInput(
                "the web is searched with words, and the question has none", reason="QUERY_WITHOUT_TEXT", field="query.parts"
            )
        found = _usable(await self._ask(query, self._settings.candidates))
        results, trouble = await self._read_pages(found, request.caller.deadline.earlier(RESERVE_S))
        if self._recording is not None:
            trouble = await self._record(self._recording, query, results) or trouble
        evidence = self._evidence(query, results)[: request.limit]
        links = {item.id: await self._link(request.caller.tenant, item.text) for item in evidence}
        return Retrieved(tuple(evidence), links={item: entities for item, entities in links.items() if entities}, degraded=trouble)

    async def check(self) -> str:
        """What is searched, if it answers. A search of the last minutes counts, so that looking at the health costs no searches.

        Raises:
            WebUnavailable: The search failed.
        """
        if time.monotonic() - self._asked_at > CHECK_EVERY_S:
            await self._ask(CHECK_QUERY, 1)
        if self._failure is not None:
            raise WebUnavailable(self._failure.message, retry_after_s=self._failure.retry_after_s)
        replayed = isinstance(self._settings.search, ReplayProvider)
        return f"{self._settings.search.provider}{' (recorded results)' if replayed else ''}"

    async def _ask(self, query: str, limit: int) -> Sequence[WebResult]:
        try:
            found = await self._search.search(query, limit)
        except WebUnavailable as error:
            self._asked_at, self._failure = time.monotonic(), error
            raise
        self._asked_at, self._failure = time.monotonic(), None
        return found

    async def _read_pages(self, results: Sequence[WebResult], deadline: Deadline) -> tuple[list[WebResult], str]:
        """The results with their pages' texts, and why there are none where not one could be read."""
        if self._pages is None or not results:
            return list(results), ""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_with_page(result, self._pages, deadline)) for result in results]
        read = [task.result() for task in tasks]
        if any(result.text for result in read):
            return read, ""
        return read, f"none of the {len(read)} pages found could be read; their snippets are used"

    async def _record(self, recording: WebRecording, query: str, results: Sequence[WebResult]) -> str:
        try:
            await recording.append(query, results)
        except OSError as exc:
            return f"the search could not be recorded: {exc}"
        return ""

    def _evidence(self, query: str, results: Sequence[WebResult]) -> list[Evidence]:
        """The best passage of each page in the order of the search, then the second ones."""
        words = set(_words(query))
        passages = [best_passages(words, result.text or result.snippet) for result in results]
        rounds = range(PASSAGES_PER_PAGE)
        ordered = [(result, texts[n]) for n in rounds for result, texts in zip(results, passages, strict=True) if n < len(texts)]
        return [self._item(result, text, rank) for rank, (result, text) in enumerate(ordered, start=1)]

    def _item(self, result: WebResult, text: str, rank: int) -> Evidence:
        return Evidence(
            id="web:" + hashlib.sha256(f"{result.url}\n{text}".encode()).hexdigest()[:32],
            kind=EvidenceKind.WEB_PAGE,
            title=result.title or result.url,
            text=text,
            provenance=(Provenance(self._name, rank, 1 / rank, "reciprocal_rank"),),
            uri=result.url,
            metadata={"published": result.published} if result.published else {},
            recorded=result.recorded,
        )

    async def aclose(self) -> None:
        await self._search.aclose()
        if self._pages is not None:
            await self._pages.aclose()


async def open_web_source(name: str, settings: WebSource, link: LinkNames) -> WebRetriever:
    """Open a web source as its settings describe it.

    Raises:
        ConfigurationError: A recording cannot be replayed or written.
    """
    field = f"sources.{name}"
    if settings.record is not None:
        if isinstance(settings.search, ReplayProvider):
            raise ConfigurationError("what is replayed cannot be recorded again", field=f"{field}.record")
        if not await asyncio.to_thread(settings.record.parent.is_dir):
            raise ConfigurationError(f"the folder {settings.record.parent} does not exist", field=f"{field}.record")
    search = await open_web_search(settings, f"{field}.search")
    pages = await PageReader.open(settings.max_page_bytes, settings.timeout_s) if settings.fetch_pages else None
    recording = WebRecording(settings.record) if settings.record is not None else None
    return WebRetriever(name, settings, search, pages, link, recording=recording)


def _usable(results: Sequence[WebResult]) -> list[WebResult]:
    """Results with a web address, each once, without what cannot be seen."""
    usable = dict[str, WebResult]()
    for result in results:
        url = _visible(result.url)
        if url.startswith(("http://", "https://")) and url not in usable:
            usable[url] = WebResult(
                url, _line(result.title), _visible(result.snippet), _line(result.published), _visible(result.text), result.recorded
            )
    return list(usable.values())


async def _with_page(result: WebResult, pages: PageReader, deadline: Deadline) -> WebResult:
    if result.text or result.recorded:
        return result
    try:
        async with asyncio.timeout(deadline.remaining_s()):
            page = await pages.read(result.url)
    except (RouterError, TimeoutError) as exc:
        _log.debug("page_not_read", url=result.url, cause=str(exc) or "no time left")
        return result
    return dataclasses.replace(
        result, title=result.title or _line(page.title), text=_visible(page.text), published=result.published or _line(page.published)
    )


def best_passages(words: set[str], text: str) -> list[str]:
    """The passages of a text that share most words with the question, at most `PASSAGES_PER_PAGE`, best first.

    Args:
        words: The question's words, in lower case.
        text: Lines are paragraphs; a passage is a run of them, cut only where one paragraph is longer than `PASSAGE_WORDS`.
    """
    passages = _passages(text)
    shared = [len(words.intersection(_words(passage))) for passage in passages]
    best = sorted(range(len(passages)), key=lambda place: (-shared[place], place))[:PASSAGES_PER_PAGE]
    return [passages[place] for rank, place in enumerate(best) if rank == 0 or shared[place]]


def _passages(text: str) -> list[str]:
    passages = list[str]()
    lines = list[str]()
    length = 0
    for paragraph in text.splitlines():
        words = paragraph.split()
        for start in range(0, len(words), PASSAGE_WORDS):
            piece = words[start : start + PASSAGE_WORDS]
            if lines and length + len(piece) > PASSAGE_WORDS:
                passages.append("\n".join(lines))
                lines, length = [], 0
            lines.append(" ".join(piece))
            length += len(piece)
    if lines:
        passages.append("\n".join(lines))
    return passages


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _visible(text: str) -> str:
    return _INVISIBLE.sub("", text).strip()


def _line(text: str) -> str:
    return " ".join(_visible(text).split())
