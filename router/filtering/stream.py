"""An answer through the output filters, while it is written.

A match may straddle two pieces of the stream, so the end of what was written is held back until it is decided. What is decided depends on
the text only: however it is cut into pieces, the same text, citations and notices come out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from router.filtering.base import Finding, OutputFilter
from router.generation.base import GeneratorEvent, Written
from router.types import Citation, Notice, Span, Token

LONGEST = 200
"""Characters from its beginning within which a stretch must be recognised; so many are held back."""
STEP = 40
"""Characters that are let go at a time."""
MOST_HELD = 4_000
"""A stretch that goes on is waited for up to here, and then cut."""


async def filtered(events: AsyncIterator[GeneratorEvent], filters: Sequence[OutputFilter]) -> AsyncIterator[GeneratorEvent]:
    """The events of a generator, with what the filters find redacted; `Written` holds the text as it was told.

    A citation keeps its marker, also within a stretch that is redacted, and gets the span that the marker then has. One notice for each
    rule says how often (REDACTED), or that the answer was ended (ANSWER_STOPPED): then what the generator writes on is read and dropped.
    """
    text = _FilteredText(filters)
    async for event in events:
        match event:
            case Token():
                # Not the new piece yet: the citation of a marker comes after the piece that ends with it.
                for told in await text.decided():
                    yield told
                text.add(event.text)
            case Citation():
                text.cite(event)
            case Notice():
                yield event
            case Written():
                for told in await text.decided(is_whole=True):
                    yield told
                notices = text.notices()
                for notice in notices:
                    yield notice
                yield replace(event, text=text.told, citations=tuple(text.citations), notices=(*event.notices, *notices))


@dataclass(slots=True)
class _FilteredText:
    filters: Sequence[OutputFilter]
    citations: list[Citation] = field(default_factory=list)
    """Of what was told, with their spans there."""
    _held: str = ""
    """Written and not decided yet."""
    _before: str = ""
    """The last character that was decided, as it was written; context for what comes next."""
    _read: int = 0
    """Characters that were decided, as they were written."""
    _window: int = LONGEST + STEP
    _pieces: list[str] = field(default_factory=list)
    _length: int = 0
    _marked: list[Citation] = field(default_factory=list)
    """Citations whose markers were not told yet, with their spans as they were written."""
    _events: list[GeneratorEvent] = field(default_factory=list)
    _redacted: Counter[str] = field(default_factory=Counter)
    _stopped_by: str | None = None

    @property
    def told(self) -> str:
        return "".join(self._pieces)

    def add(self, piece: str) -> None:
        if self._stopped_by is None:
            self._held += piece

    def cite(self, citation: Citation) -> None:
        if self._stopped_by is None:
            self._marked.append(citation)

    def notices(self) -> tuple[Notice, ...]:
        notices = [
            Notice("REDACTED", f"{times} place{'s' if times > 1 else ''} of the answer redacted by the rule {rule!r}")
            for rule, times in self._redacted.items()
        ]
        if self._stopped_by is not None:
            notices.append(Notice("ANSWER_STOPPED", f"the answer was ended by the rule {self._stopped_by!r}"))
        return tuple(notices)

    async def decided(self, *, is_whole: bool = False) -> list[GeneratorEvent]:
        """What can be told now; with `is_whole` all the rest."""
        while self._held and (is_whole or len(self._held) >= self._window):
            is_end = is_whole and len(self._held) <= self._window
            await self._decide(self._held[: self._window], is_end=is_end)
        events, self._events = self._events, []
        return events

    async def _decide(self, window: str, *, is_end: bool) -> None:
        finding = await self._first(window)
        # What begins near the end is decided in a later window, which shows more of what follows it.
        if finding is None or (finding.span.start >= STEP and not is_end):
            self._pass_on(len(window) if is_end else STEP)
        elif finding.span.end == len(window) and not is_end and len(window) < MOST_HELD:
            self._window += STEP
            return
        elif finding.stop:
            self._pass_on(finding.span.start)
            self._stopped_by = finding.rule
            self._held = ""
            self._marked.clear()
        else:
            self._pass_on(finding.span.start)
            self._redact(finding)
        self._window = LONGEST + STEP

    async def _first(self, window: str) -> Finding | None:
        """The first finding, with its span in the window, that is not only about the marker of a citation."""
        start = 0
        while start < len(window):
            context = len(self._before)
            found = [await other.first(self._before + window, context + start) for other in self.filters]
            finding = min((one for one in found if one is not None), key=lambda one: one.span.start, default=None)
            if finding is None:
                return None
            clear = self._clear_of_markers(Span(finding.span.start - context, finding.span.end - context))
            if clear.start < clear.end:
                return replace(finding, span=clear)
            start = max(clear.start, start + 1)
        return None

    def _clear_of_markers(self, span: Span) -> Span:
        """The span begun after a marker that it begins in, and ended after one that it ends in; empty where nothing else is in it."""
        start, end = span.start, span.end
        for marker in (Span(item.span.start - self._read, item.span.end - self._read) for item in self._marked):
            if marker.start <= start < marker.end:
                start = marker.end
            if marker.start < end < marker.end:
                end = marker.end
        return Span(start, max(start, end))

    def _redact(self, finding: Finding) -> None:
        length = finding.span.end - finding.span.start
        inside = [item for item in self._marked if item.span.end <= self._read + length]
        markers = [self._held[item.span.start - self._read : item.span.end - self._read] for item in inside]
        self._tell(finding.replacement)
        for item, marker in zip(inside, markers, strict=True):
            self._tell(marker)
            self._mark(item, self._length - len(marker))
        self._marked = self._marked[len(inside) :]
        self._consume(length)
        self._redacted[finding.rule] += 1

    def _pass_on(self, length: int) -> None:
        """Tell the first characters as they are, in pieces that end with the markers, each followed by its citation."""
        end = self._read + length
        while self._marked and self._marked[0].span.end <= end:
            item = self._marked.pop(0)
            upto = item.span.end - self._read
            self._tell(self._held[:upto])
            self._consume(upto)
            self._mark(item, self._length - (item.span.end - item.span.start))
        self._tell(self._held[: end - self._read])
        self._consume(end - self._read)

    def _tell(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self._length += len(text)
            self._events.append(Token(text))

    def _mark(self, item: Citation, start: int) -> None:
        moved = replace(item, span=Span(start, start + item.span.end - item.span.start))
        self.citations.append(moved)
        self._events.append(moved)

    def _consume(self, length: int) -> None:
        if length:
            self._before = self._held[length - 1]
            self._held = self._held[length:]
            self._read += length
