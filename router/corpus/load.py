"""A file's bytes to its stored text: chooses the reader by media type or by the name's ending, and names what is wrong with a bad file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from router.corpus.formats import read_docx, read_facts, read_html, read_markdown, read_pdf, read_plain
from router.corpus.openie_import import read_openie
from router.corpus.text import LoadedDocument, rejected
from router.errors import RouterError

LOADER_VERSION = 4
"""Raised when the same bytes would give another text or other passages, so that unchanged files are read again."""


@dataclass(frozen=True, slots=True)
class Format:
    mime_type: str
    ending: str
    read: Callable[[bytes, int], LoadedDocument]
    """Takes the file and what it may hold at most: characters, of a picture pixels."""
    other_mime_types: tuple[str, ...] = ()
    other_endings: tuple[str, ...] = ()
    isolated: bool = False
    """Whether its parser may hang or swell on a crafted file, so that it runs in a process of its own."""
    is_picture: bool = False
    """Or is kept as one, with a thumbnail: a sound."""
    needs: tuple[str, str] | None = None
    """A module that its reader imports, and the extra that installs it."""
    has_figures: bool = False
    """Whether pictures inside it are found; it is `isolated` then."""


def _read_picture(content: bytes, max_pixels: int) -> LoadedDocument:
    from router.corpus.picture_file import read_picture  # numpy and Pillow, which the command has no use for

    return read_picture(content, max_pixels)


def _picture(ending: str, *other_endings: str) -> Format:
    return Format(f"image/{ending[1:]}", ending, _read_picture, (), other_endings, isolated=True, is_picture=True)


def _read_sound(content: bytes, _: int) -> LoadedDocument:
    from router.corpus.sound_file import read_sound

    return read_sound(content)


def _read_video(content: bytes, max_pixels: int) -> LoadedDocument:
    from router.corpus.frames import read_video

    return read_video(content, max_pixels)


def _video(mime_type: str, other_mime_types: tuple[str, ...], ending: str, *other_endings: str) -> Format:
    return Format(mime_type, ending, _read_video, other_mime_types, other_endings, True, True, ("cv2", "video"))


_FORMATS = (
    Format("text/plain", ".txt", read_plain, (), (".text",)),
    Format("text/markdown", ".md", read_markdown, ("text/x-markdown",), (".markdown",)),
    Format("text/html", ".html", read_html, ("application/xhtml+xml",), (".htm", ".xhtml"), isolated=True, has_figures=True),
    Format("application/pdf", ".pdf", read_pdf, ("application/x-pdf",), (), isolated=True, has_figures=True),
    Format("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx", read_docx, isolated=True, has_figures=True),
    Format("text/tab-separated-values", ".tsv", read_facts, (), ()),
    Format("application/x-ndjson", ".jsonl", read_openie, ("application/jsonl",), (".ndjson",)),
    _picture(".png"),
    _picture(".jpeg", ".jpg"),
    _picture(".webp"),
    _picture(".gif"),
    _picture(".bmp"),
    _picture(".tiff", ".tif"),
    Format("audio/wav", ".wav", _read_sound, ("audio/x-wav", "audio/wave", "audio/vnd.wave"), (".wave",), isolated=True, is_picture=True),
    _video("video/mp4", ("video/quicktime", "video/x-m4v"), ".mp4", ".mov", ".m4v"),
    _video("video/webm", ("video/x-matroska",), ".webm", ".mkv"),
)
FACTS_MIME_TYPE = "text/tab-separated-values"
OPENIE_MIME_TYPE = "application/x-ndjson"
_BY_MIME_TYPE = {name: form for form in _FORMATS for name in (form.mime_type, *form.other_mime_types)}
_BY_ENDING = {name: form for form in _FORMATS for name in (form.ending, *form.other_endings)}
_SAYS_NOTHING = ("", "application/octet-stream", "binary/octet-stream")

ENDINGS = frozenset(_BY_ENDING)
"""The endings of file names that can be read."""


def format_of(name: str, mime_type: str) -> Format:
    """The format of a file: by its media type, or by its name's ending when the type says nothing.

    Raises:
        DocumentRejected: UNSUPPORTED_TYPE, naming what is allowed.
    """
    bare = mime_type.partition(";")[0].strip().lower()
    found = _BY_ENDING.get(PurePosixPath(name).suffix.lower()) if bare in _SAYS_NOTHING else _BY_MIME_TYPE.get(bare)
    if found is None:
        endings = " ".join(form.ending for form in _FORMATS)
        what = f"the media type {bare}" if bare not in _SAYS_NOTHING else f"the ending of {PurePosixPath(name).name!r}"
        raise rejected("UNSUPPORTED_TYPE", f"{what} is not one that can be read; allowed are {endings}, or one of their media types")
    return found


def load(content: bytes, form: Format, limit: int) -> LoadedDocument:
    """Read one file. Blocking.

    Raises:
        DocumentRejected: EMPTY, TOO_LARGE, ENCRYPTED, BROKEN or BINARY.
    """
    if not content.strip():
        raise rejected("EMPTY", "the file is empty")
    try:
        document = form.read(content, limit)
    except RouterError:
        raise
    except MemoryError as exc:
        raise rejected("TOO_LARGE", "it needs more memory to be read than one document may take") from exc
    except Exception as exc:  # parsers of foreign formats raise anything on crafted bytes; all of it means that the file is bad
        raise rejected("BROKEN", f"it cannot be read as {form.ending}: {type(exc).__name__}: {exc}") from exc
    if not document.text.strip() and document.picture is None and not document.figures:
        raise rejected("EMPTY", "there is no text in it")
    return document
