"""Parsing off the event loop: text in a thread; formats whose parsers may hang on a crafted file in a child process, which can be killed.

Between the two processes: a length and JSON, then (to the child only) the file. No pickles, since the child has read hostile bytes.
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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.util import find_spec
from typing import Any, BinaryIO

from router.corpus.load import Format, format_of, load
from router.corpus.picture_file import written_in
from router.corpus.text import Frame, Heading, LoadedDocument, LoadedPicture, rejected
from router.errors import DocumentRejected, MissingExtra
from router.models.pictures import MAX_PIXELS
from router.types import Span

PARSE_TIMEOUT_S = 180
"""A long book as PDF takes a minute on a busy machine."""
MAX_CHILD_BYTES = 4 * 1024**3
"""Address space of the child process: a file that unpacks without end fails alone."""
_LENGTH = struct.Struct(">Q")
_DIED = (asyncio.IncompleteReadError, ConnectionError)


class Parser:
    """Reads files, one at a time in the child. The child starts with the first file that needs it and again after it died."""

    def __init__(self, max_chars: int, timeout_s: float = PARSE_TIMEOUT_S, *, max_pixels: int = MAX_PIXELS, ocr: bool = False) -> None:
        self._max_chars = max_chars
        self._max_pixels = max_pixels
        self._ocr = ocr
        self.timeout_s = timeout_s
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
        headings = tuple(Heading(level, text, Span(*span)) for level, text, span in reply["headings"])
        return LoadedDocument(reply["text"], reply["title"], headings, picture=_picture(reply["picture"]), frames=_frames(reply["frames"]))

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

    async def _ask_child(self, content: bytes, form: Format) -> Any:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "router.corpus.parsing", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin is not None
        assert stdout is not None
        request = {
            "mime_type": form.mime_type,
            "limit": self._max_pixels if form.is_picture else self._max_chars,
            "ocr": self._ocr,
            "size": len(content),
            "timeout_s": int(self.timeout_s) + 1,
        }
        head = json.dumps(request).encode()
        stdin.writelines((_LENGTH.pack(len(head)), head, content))
        await stdin.drain()
        (length,) = _LENGTH.unpack(await stdout.readexactly(_LENGTH.size))
        return json.loads(await stdout.readexactly(length))

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
        reply = json.dumps(_reply(content, request)).encode()
        signal.alarm(0)
        replies.write(_LENGTH.pack(len(reply)) + reply)
        replies.flush()


def _reply(content: bytes, request: dict[str, Any]) -> dict[str, Any]:
    try:
        document = load(content, format_of("", request["mime_type"]), request["limit"])
        if document.frames and request["ocr"]:
            document = replace(document, frames=tuple(replace(frame, text=written_in(frame.content)) for frame in document.frames))
        elif document.picture is not None and document.picture.mime_type.startswith("image/") and request["ocr"]:
            document = replace(document, text=written_in(content))
    except DocumentRejected as error:
        return {"reason": error.reason, "message": error.message}
    headings = [(heading.level, heading.text, tuple(asdict(heading.span).values())) for heading in document.headings]
    frames = [
        {
            "content": base64.b64encode(frame.content).decode(),
            "picture": _told(frame.picture),
            "time_s": frame.time_s,
            "text": frame.text,
        }
        for frame in document.frames
    ]
    return {"text": document.text, "title": document.title, "headings": headings, "picture": _told(document.picture), "frames": frames}


def _told(picture: LoadedPicture | None) -> dict[str, Any] | None:
    return None if picture is None else {**asdict(picture), "thumbnail": base64.b64encode(picture.thumbnail).decode()}


def _picture(told: dict[str, Any] | None) -> LoadedPicture | None:
    return None if told is None else LoadedPicture(**{**told, "thumbnail": base64.b64decode(told["thumbnail"])})


def _frames(told: Sequence[dict[str, Any]]) -> tuple[Frame, ...]:
    return tuple(
        Frame(base64.b64decode(frame["content"]), picture, frame["time_s"], frame["text"])
        for frame in told
        if (picture := _picture(frame["picture"])) is not None
    )


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
