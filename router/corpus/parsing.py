"""Parsing off the event loop: text in a thread; formats whose parsers may hang on a crafted file in a child process, which can be killed.

Between the two processes: a length and JSON, then (to the child) the file; after a document with figures or frames, each of them in the
same way, one by one, and an end. So a figure that kills the child costs itself and those after it, never the document. No pickles, since
the child has read hostile bytes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import signal
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.util import find_spec
from typing import Any, BinaryIO

from router.corpus.figures import MAX_FIGURE_BYTES, taken
from router.corpus.frames import MAX_FRAMES
from router.corpus.load import Format, format_of, load
from router.corpus.picture_file import with_regions, words_of_regions, written_in
from router.corpus.text import Figure, Heading, LoadedDocument, LoadedPicture, rejected
from router.errors import DocumentRejected, MissingExtra
from router.models.pictures import MAX_PIXELS
from router.types import Span, TextRegion

PARSE_TIMEOUT_S = 180
"""A long book as PDF takes a minute on a busy machine."""
MAX_CHILD_BYTES = 4 * 1024**3
"""Address space of the child process: a file that unpacks without end fails alone."""
_LENGTH = struct.Struct(">Q")
_DIED = (asyncio.IncompleteReadError, ConnectionError)


class Parser:
    """Reads files, one at a time in the child. The child starts with the first file that needs it and again after it died."""

    def __init__(
        self,
        max_chars: int,
        timeout_s: float = PARSE_TIMEOUT_S,
        *,
        max_pixels: int = MAX_PIXELS,
        ocr: bool = False,
        max_figures: int = 0,
    ) -> None:
        self._max_chars = max_chars
        self._max_figures = max_figures
        self._max_pixels = max_pixels
        self._ocr = ocr
        self.timeout_s = timeout_s
        """For the text, and again for all figures together."""
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def load(self, content: bytes, form: Format) -> LoadedDocument:
        """The stored text of a file.

        Raises:
            DocumentRejected: UNSUPPORTED_TYPE, EMPTY, TOO_LARGE, ENCRYPTED, BROKEN or BINARY.
            MissingExtra: The format needs one that is not installed.
        """
        if form.needs is not None and find_spec(form.needs[0]) is None:
            raise MissingExtra(form.needs[1], f"reading {form.ending} files")
        if not form.isolated:
            return await asyncio.to_thread(load, content, form, self._max_chars)
        async with self._turn:
            try:
                reply = await self._ask(content, form)
            except TimeoutError as exc:
                raise rejected("BROKEN", f"it could not be read within {self.timeout_s:.0f} s") from exc
            except _DIED as exc:
                raise rejected("BROKEN", f"the parser of {form.ending} files died on it") from exc
            if "reason" in reply:
                raise rejected(reply["reason"], reply["message"])
            most = MAX_FRAMES if form.is_picture else self._max_figures
            figures, left_out = await self._figures(reply["found"], most) if reply["found"] else ((), {})
        headings = tuple(Heading(level, text, Span(*span)) for level, text, span in reply["headings"])
        picture = None if reply["picture"] is None else _picture(reply["picture"])
        if form.is_picture and picture is None and not figures:
            raise rejected("BROKEN", f"none of the {reply['found']} frames could be read")
        return LoadedDocument(reply["text"], reply["title"], headings, picture=picture, figures=figures, left_out=left_out)

    @property
    def child_pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    async def aclose(self) -> None:
        async with self._turn:
            await self._end_child()

    async def _ask(self, content: bytes, form: Format) -> Any:
        is_used = self._child is not None
        try:
            return await asyncio.wait_for(self._ask_child(content, form), self.timeout_s)
        except BaseException as exc:
            await self._end_child()  # dead, or still busy with a file that nobody waits for
            if is_used and isinstance(exc, _DIED):
                return await self._ask(content, form)  # it may have died before this file came
            raise

    async def _figures(self, found: int, most: int) -> tuple[tuple[Figure, ...], dict[str, int]]:
        """The figures of the document that the child has just told of, as far as it comes, and how many are left out for which reason."""
        figures: list[Figure] = []
        try:
            async with asyncio.timeout(self.timeout_s):
                while "end" not in (head := await self._answer()):
                    room = MAX_FIGURE_BYTES - sum(len(figure.content) for figure in figures)
                    if head["size"] > room or len(figures) == most:
                        raise ConnectionError("the child tells of more than it may")
                    content = await self._output().readexactly(head["size"])
                    figures.append(
                        Figure(content, _picture(head["picture"]), Span(*head["place"]), head["words"], head["page"], head["time_s"])
                    )
            return tuple(figures), head["end"]
        except (TimeoutError, *_DIED):
            await self._end_child()
            return tuple(figures), {"UNREAD": found - len(figures)}
        except BaseException:
            await self._end_child()  # what it still sends would be taken for the answer to the next file
            raise

    def _output(self) -> asyncio.StreamReader:
        assert self._child is not None
        assert self._child.stdout is not None
        return self._child.stdout

    async def _answer(self) -> Any:
        (length,) = _LENGTH.unpack(await self._output().readexactly(_LENGTH.size))
        return json.loads(await self._output().readexactly(length))

    async def _ask_child(self, content: bytes, form: Format) -> Any:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "router.corpus.parsing", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        stdin = self._child.stdin
        assert stdin is not None
        request = {
            "mime_type": form.mime_type,
            "limit": self._max_pixels if form.is_picture else self._max_chars,
            "max_pixels": self._max_pixels,
            "max_figures": self._max_figures,
            "ocr": self._ocr,
            "size": len(content),
            "timeout_s": int(self.timeout_s) + 1,
        }
        head = json.dumps(request).encode()
        stdin.writelines((_LENGTH.pack(len(head)), head, content))
        await stdin.drain()
        return await self._answer()

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError):
            child.kill()
        await child.communicate()  # waits for its end and closes the pipes


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """The child's loop: ends when the parent closes the pipe, or with it."""
    while head := requests.read(_LENGTH.size):
        request = json.loads(requests.read(_LENGTH.unpack(head)[0]))
        content = requests.read(request["size"])
        signal.alarm(request["timeout_s"])  # ends this process even when the parent was killed meanwhile
        try:
            document = _document(content, request)
        except DocumentRejected as error:
            _send(replies, {"reason": error.reason, "message": error.message})
        else:
            _send_document(replies, document, request)
        signal.alarm(0)


def _document(content: bytes, request: dict[str, Any]) -> LoadedDocument:
    document = load(content, format_of("", request["mime_type"]), request["limit"])
    picture = document.picture
    if picture is None or not picture.mime_type.startswith("image/") or document.figures or not request["ocr"]:
        return document
    regions = written_in(content)
    return replace(document, text=words_of_regions(regions), picture=with_regions(picture, regions))


def _send_document(replies: BinaryIO, document: LoadedDocument, request: dict[str, Any]) -> None:
    headings = [(heading.level, heading.text, _ends(heading.span)) for heading in document.headings]
    picture = None if document.picture is None else _told(document.picture)
    found = len(document.figures or (document.found if request["max_figures"] else ()))
    _send(replies, {"text": document.text, "title": document.title, "headings": headings, "picture": picture, "found": found})
    if found:
        signal.alarm(request["timeout_s"])
        left_out: Counter[str] = Counter()
        for figure in _figures(document, request, left_out):
            where = {"place": _ends(figure.place), "page": figure.page, "time_s": figure.time_s}
            _send(replies, {"size": len(figure.content), "picture": _told(figure.picture), "words": figure.words, **where}, figure.content)
        _send(replies, {"end": left_out})


def _figures(document: LoadedDocument, request: dict[str, Any], left_out: Counter[str]) -> Iterator[Figure]:
    """What was found is decoded only now; frames are already, but what is written in them is not read."""
    if not document.figures:
        yield from taken(document.found, request["max_figures"], request["max_pixels"], left_out, ocr=request["ocr"])
    for frame in document.figures:
        regions = written_in(frame.content) if request["ocr"] else ()
        yield replace(frame, words=words_of_regions(regions), picture=with_regions(frame.picture, regions))


def _send(replies: BinaryIO, head: dict[str, Any], content: bytes = b"") -> None:
    encoded = json.dumps(head).encode()
    replies.write(_LENGTH.pack(len(encoded)) + encoded)
    replies.write(content)
    replies.flush()


def _ends(span: Span) -> tuple[int, int]:
    return span.start, span.end


def _told(picture: LoadedPicture) -> dict[str, Any]:
    return {**asdict(picture), "thumbnail": base64.b64encode(picture.thumbnail).decode()}


def _picture(told: dict[str, Any]) -> LoadedPicture:
    regions = tuple(TextRegion(**region) for region in told["regions"])
    return LoadedPicture(**{**told, "thumbnail": base64.b64decode(told["thumbnail"]), "regions": regions})


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the parent's to handle
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_CHILD_BYTES if hard == resource.RLIM_INFINITY else min(MAX_CHILD_BYTES, hard)
    if soft == resource.RLIM_INFINITY or soft > limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a parser that prints must not write among the replies
    serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
