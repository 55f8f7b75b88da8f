"""Stored text to passages: exact spans, heading paths, and ids that are hashes of what the passage says.

A document, or a section with everything under it, that fits stays whole; so do neighbouring sections that fit together. What does not
fit is cut at its headings, and below them by LlamaIndex's SentenceSplitter along the layout (layout.py): between paragraphs, rows, items.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from llama_index.core.node_parser import SentenceSplitter

from router.corpus.layout import Layout, blocks, divided, header_of, last_sentences
from router.corpus.text import Heading, LoadedDocument, is_place
from router.names import readable_name
from router.types import Chunk, Metadata, Picture, Span

# What counts as one word: up to 16 characters without white space, or one character of a script that is written without spaces.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,16}}")
_NOWHERE = "\x00"
"""Stands in no stored text."""


@dataclass(frozen=True, slots=True)
class Passage:
    headings: tuple[str, ...]
    """From the highest down; empty for a whole document and for what stands before the first heading. The last one of a passage that
    begins in the middle of a table is the table's header row."""
    span: Span


@dataclass(frozen=True, slots=True)
class _Section:
    path: tuple[str, ...]
    span: Span
    body_start: int
    """Where its heading ends."""
    parts: tuple[_Section, ...]


class Chunker:
    def __init__(self, max_words: int, overlap_words: int) -> None:
        self._max_words = max_words
        self._overlap_words = overlap_words

    def passages(self, document: LoadedDocument) -> list[Passage]:
        """Non-empty passages in the order of the text; together they cover all of it but white space. Blocking for long texts."""
        end = len(document.text)
        whole = _Section((), Span(0, end), 0, _sections(document.headings, end, ()))
        return list(self._split(document.text, whole, 0))

    def _split(self, text: str, section: _Section, begin: int) -> Iterator[Passage]:
        if not section.parts or self._fits(text, Span(begin, section.span.end)):
            yield from self._passages(text, section.path, Span(begin, section.span.end))
            return
        own_end = section.parts[0].span.start
        if text[section.body_start : own_end].strip():
            yield from self._passages(text, section.path, Span(begin, own_end))
            begin = own_end  # otherwise the bare heading goes with the first part
        together: list[_Section] = []
        for part in section.parts:
            if together and not self._fits(text, Span(begin, part.span.end)):
                yield from self._group(text, section.path, together, begin)
                begin, together = part.span.start, []
            together.append(part)
        yield from self._group(text, section.path, together, begin)

    def _group(self, text: str, path: tuple[str, ...], parts: Sequence[_Section], begin: int) -> Iterator[Passage]:
        """Neighbouring sections that fit together are one passage of the section above them; one alone is divided further."""
        if len(parts) == 1:
            yield from self._split(text, parts[0], begin)
        else:
            yield from self._passages(text, path, Span(begin, parts[-1].span.end))

    def _fits(self, text: str, span: Span) -> bool:
        words = _WORD.finditer(text, span.start, span.end)
        return next(islice(words, self._max_words, None), None) is None

    def _passages(self, text: str, path: tuple[str, ...], span: Span) -> Iterator[Passage]:
        pieces = self._pieces(text, span)
        if len(pieces) == 1:
            yield Passage(path, pieces[0])
            return
        tables = _tables(text, span)
        for piece in pieces:
            number = bisect_left(tables, piece.start, key=lambda table: table.start) - 1  # the last one that begins before the piece
            is_inside = number >= 0 and piece.start < tables[number].end
            header = header_of(text[tables[number].start : tables[number].end]) if is_inside else ""
            yield Passage((*path, header) if header else path, piece)

    def _pieces(self, text: str, span: Span) -> list[Span]:
        if self._fits(text, span):
            piece = text[span.start : span.end]
            start = span.start + len(piece) - len(piece.lstrip())
            return [Span(start, start + len(piece.strip()))] if piece.strip() else []
        pieces: list[Span] = []
        end = span.start
        for piece in self._splitter().split_text(text[span.start : span.end]):
            start = text.index(piece, end)  # nothing but white space lies between two pieces
            end = start + len(piece)
            pieces.append(Span(start, end))
        return pieces[:1] + [Span(self._overlap_start(text, before, piece), piece.end) for before, piece in pairwise(pieces)]

    def _splitter(self) -> SentenceSplitter:
        # Its own overlap is off, so that its pieces tile the text and their places are certain even where the text repeats itself.
        # The tokenizer is ours because the default one is fetched from a hub; so is the division, because its own knows no tables, and
        # its default for sentences (punkt) drops white space at the start, and then pieces are no longer parts of the text. A new one
        # each time, because its callback manager remembers every call for ever.
        return SentenceSplitter(
            chunk_size=self._max_words - self._overlap_words,
            chunk_overlap=0,
            tokenizer=_WORD.findall,
            chunking_tokenizer_fn=divided,
            paragraph_separator=_NOWHERE,
        )

    def _overlap_start(self, text: str, before: Span, piece: Span) -> int:
        """Where a piece begins when it repeats the last whole sentences of the one before it; rows and items are not repeated."""
        start = piece.start
        words = 0
        for sentence in reversed(last_sentences(text[before.start : piece.start])):
            words += len(_WORD.findall(sentence))
            if words > self._overlap_words or start - len(sentence) <= before.start:
                break
            start -= len(sentence)
        return start


def _tables(text: str, span: Span) -> list[Span]:
    found = [block.span for block in blocks(text[span.start : span.end]) if block.layout is Layout.TABLE]
    empty = [len(words) - len(words.lstrip()) for words in (text[span.start + table.start : span.start + table.end] for table in found)]
    return [Span(span.start + table.start + before, span.start + table.end) for table, before in zip(found, empty, strict=True)]


def _sections(headings: Sequence[Heading], end: int, path: tuple[str, ...]) -> tuple[_Section, ...]:
    sections = []
    position = 0
    while position < len(headings):
        heading = headings[position]
        below = position + 1
        position = next((later for later in range(below, len(headings)) if headings[later].level <= heading.level), len(headings))
        stop = headings[position].span.start if position < len(headings) else end
        inner = (*path, heading.text)
        sections.append(_Section(inner, Span(heading.span.start, stop), heading.span.end, _sections(headings[below:position], stop, inner)))
    return tuple(sections)


def path_at(headings: Sequence[Heading], place: int) -> tuple[str, ...]:
    """The heading path of a place in the stored text."""
    path: list[Heading] = []
    for heading in headings:
        if heading.span.start > place:
            break
        path = [*(above for above in path if above.level < heading.level), heading]
    return tuple(heading.text for heading in path)


def document_id(tenant: str, name: str) -> str:
    return _identity(tenant, name)


def to_chunks(
    text: str, passages: Sequence[Passage], *, document_id: str, document_name: str, collection: str, title: str, metadata: Metadata
) -> tuple[Chunk, ...]:
    """Passages as chunks. The id stays the same as long as document, headings and words do, wherever the passage moves."""
    seen: Counter[tuple[tuple[str, ...], str]] = Counter()
    chunks = []
    for ordinal, passage in enumerate(passages):
        words = text[passage.span.start : passage.span.end]
        occurrence = seen[passage.headings, words]
        seen[passage.headings, words] += 1
        chunks.append(
            Chunk(
                id=_identity(document_id, *passage.headings, words, str(occurrence)),
                document_id=document_id,
                collection=collection,
                ordinal=ordinal,
                title=title,
                headings=passage.headings,
                text=words,
                span=passage.span,
                metadata=metadata,
                document_name=document_name,
            )
        )
    return tuple(chunks)


def picture_chunk(
    words: str,
    picture: Picture,
    *,
    document_id: str,
    document_name: str,
    collection: str,
    title: str,
    metadata: Metadata,
    ordinal: int = 0,
    headings: tuple[str, ...] = (),
    start: int = 0,
) -> Chunk:
    """The passage of a picture, whose text is its words, which begin at `start` of the stored text."""
    return Chunk(
        id=_identity(document_id, picture.id, *headings, words),
        document_id=document_id,
        collection=collection,
        ordinal=ordinal,
        title=title,
        headings=headings,
        text=words,
        span=Span(start, start + len(words)),
        metadata=metadata,
        document_name=document_name,
        picture=picture,
    )


def embedded_text(chunk: Chunk) -> str:
    """What is embedded for a passage: its title (or readable file name) and the headings that its own words do not show, then the words."""
    above = [heading for heading in chunk.headings if heading != chunk.title and heading not in chunk.text and not is_place(heading)]
    return ". ".join(part for part in (chunk.title or readable_name(chunk.document_name), *above, chunk.text) if part)


def _identity(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
