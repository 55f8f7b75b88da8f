"""Readers, one per format: bytes -> LoadedDocument.

The readers of LlamaIndex stand on the same libraries, but drop what passages and citations need, so those libraries are used directly.
PDFReader tries a broken file three times and then hides the reason, and passes over encryption, title and outline. DocxReader (docx2txt)
loses heading levels. MarkdownReader drops indentation and gives no offsets. HTMLTagReader reads one kind of tag only. FlatReader drops
bytes that are not UTF-8. The splitting is LlamaIndex's (chunk.py).
"""

from __future__ import annotations

import base64
import io
import re
import zipfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import yaml

from router.corpus.base import Triple
from router.corpus.plain_headings import plain_headings
from router.corpus.text import (
    BETWEEN_CELLS,
    CAPTION,
    Block,
    Drawing,
    FoundFigure,
    Heading,
    LoadedDocument,
    check_length,
    decode,
    joined,
    normalise,
    rejected,
)
from router.types import Span

if TYPE_CHECKING:
    from bs4 import Tag
    from pypdf import PdfReader


MAX_TITLE_LINE = 80


def read_plain(content: bytes, max_chars: int) -> LoadedDocument:
    text = normalise(decode(content))
    check_length(text, max_chars)
    return LoadedDocument(text, _first_line_title(text), plain_headings(text))


def _first_line_title(text: str) -> str:
    """The first line, when it stands alone above an empty one and does not read like a sentence."""
    first, _, rest = text.lstrip("\n").partition("\n")
    stands_alone = rest.startswith("\n") and len(first) <= MAX_TITLE_LINE and not first.rstrip().endswith((".", "!", "?", ":", ",", ";"))
    return first.strip() if stands_alone else ""


# --- facts ----------------------------------------------------------------------------------------------------------


def read_facts(content: bytes, max_chars: int) -> LoadedDocument:
    text = normalise(decode(content))
    check_length(text, max_chars)
    return LoadedDocument(text, triples=parse_facts(text))


def parse_facts(text: str) -> tuple[Triple, ...]:
    """The facts of a stored text, one `subject TAB relation TAB object` a line; repeated ones once.

    Raises:
        DocumentRejected: BROKEN, naming the first line that is not of that form.
    """
    triples: dict[Triple, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        fields = [" ".join(field.split()) for field in line.split("\t")]
        if len(fields) != 3 or not all(fields):
            raise rejected("BROKEN", f"line {number} is not 'subject TAB relation TAB object': {line[:80]!r}")
        triples[Triple(*fields)] = None
    return tuple(triples)


# --- Markdown -------------------------------------------------------------------------------------------------------

_FRONT_MATTER = re.compile(r"\A---\n(.*?\n)(?:---|\.\.\.)(?:\n|\Z)", re.DOTALL)


def read_markdown(content: bytes, max_chars: int) -> LoadedDocument:
    """The text stays as it was written (models read Markdown well, and spans stay simple); only front matter is taken off."""
    from markdown_it import MarkdownIt

    text = normalise(decode(content))
    check_length(text, max_chars)
    text, title = _without_front_matter(text)
    line_starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text) + 1]
    tokens = MarkdownIt("commonmark").parse(text)
    headings = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.level == 0 and opening.map and (words := _plain_words(inline.children or ())):
            first, end = opening.map
            headings.append(Heading(int(opening.tag[1:]), words, Span(line_starts[first], line_starts[end] - 1)))
    return LoadedDocument(text, title or (headings[0].text if headings else ""), tuple(headings))


def _without_front_matter(text: str) -> tuple[str, str]:
    match = _FRONT_MATTER.match(text)
    if match is None:
        return text, ""
    try:
        front = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return text, ""  # two rules with words between them are Markdown too
    if not isinstance(front, dict):
        return text, ""
    return text[match.end() :], str(front.get("title") or "")


def _plain_words(tokens: Any) -> str:
    words = "".join(token.content or " " for token in tokens if token.type in ("text", "code_inline", "softbreak"))
    return " ".join(normalise(words).split())  # again, since entities are decoded by now


# --- HTML -----------------------------------------------------------------------------------------------------------

_UNSEEN = frozenset({"script", "style", "noscript", "template", "svg", "nav", "head", "iframe", "form"})
# fmt: off
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "footer", "header", "hr", "html", "li", "main", "ol", "p", "section", "summary", "table", "tbody", "tfoot", "thead", "tr",
    "ul",
})
# fmt: on
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def read_html(content: bytes, max_chars: int) -> LoadedDocument:
    """All words that a reader sees, block by block. Not trafilatura, which keeps a page's main text only: a loss for one's own files."""
    from bs4 import BeautifulSoup

    if b"\x00" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise rejected("BINARY", "it holds zero bytes, so it is not an HTML file")
    soup = BeautifulSoup(content, "lxml")
    text, headings, found = joined(_html_blocks(soup.body or soup))
    check_length(text, max_chars)
    title = normalise(soup.title.get_text(" ", strip=True)) if soup.title else ""
    return LoadedDocument(text, title or (headings[0].text if headings else ""), headings, found=found)


def _html_blocks(tag: Tag) -> Iterator[Block]:
    from bs4 import Tag
    from bs4.element import NavigableString, PreformattedString

    words: list[str] = []
    drawings: list[Drawing] = []
    is_caption = tag.name == "figcaption"
    for child in tag.children:
        if isinstance(child, PreformattedString):
            continue  # comments, declarations
        if isinstance(child, NavigableString):
            words.append(str(child))
        elif isinstance(child, Tag) and child.name not in _UNSEEN:
            whole = _whole_block(child)
            if whole is None and not _holds_blocks(child):
                words.append(child.get_text())
                drawings += _html_drawings(child)
                continue
            yield Block(_squeezed("".join(words)), drawings=tuple(drawings), is_caption=is_caption)
            words, drawings = [], []
            if whole is None:
                yield from _html_blocks(child)
            else:
                yield replace(whole, drawings=tuple(_html_drawings(child)))
    yield Block(_squeezed("".join(words)), drawings=tuple(drawings), is_caption=is_caption)


def _html_drawings(tag: Tag) -> Iterator[Drawing]:
    for image in (tag, *tag.find_all("img")):
        if image.name == "img":
            figure = image.find_parent("figure")
            caption = figure.find("figcaption") if figure is not None else None
            source = str(image.get("src") or "")
            yield Drawing(partial(_inline_data, source), str(image.get("alt") or ""), _squeezed(caption.get_text()) if caption else "")


def _inline_data(source: str, max_pixels: int) -> bytes:
    """The file in a data: address. What lies elsewhere is not fetched: the network is not asked, and an upload has no folder."""
    head, comma, data = source.partition(",")
    if not comma or not head.strip().lower().startswith("data:"):
        raise rejected("ELSEWHERE", "the picture is not inside the document")
    raw = unquote_to_bytes(data)
    return base64.b64decode(raw) if head.rstrip().lower().endswith(";base64") else raw


def _whole_block(tag: Tag) -> Block | None:
    """Headings, preformatted text and table rows are one block each; None for everything else."""
    if tag.name in _HEADINGS:
        return Block(_squeezed(tag.get_text(" ")), _HEADINGS[tag.name])
    if tag.name == "pre":
        return Block(tag.get_text())
    if tag.name == "tr" and tag.find("table") is None:
        return Block(BETWEEN_CELLS.join(_squeezed(cell.get_text(" ")) for cell in tag.find_all(["td", "th"])))
    return None


def _holds_blocks(tag: Tag) -> bool:
    return tag.name in _BLOCKS or tag.find([*_BLOCKS, *_HEADINGS, *_UNSEEN, "pre"]) is not None


def _squeezed(text: str) -> str:
    return " ".join(text.split())


# --- PDF ------------------------------------------------------------------------------------------------------------

_FILE_LIKE_TITLE = re.compile(r"\A(untitled.*|microsoft word - .*|.*\.(docx?|pdf|indd|tex|dvi|odt|rtf|pptx?|xlsx?))\Z", re.IGNORECASE)
_MAX_OUTLINE_LEVEL = 6


def read_pdf(content: bytes, max_chars: int) -> LoadedDocument:
    """The text layer, page after page; the outline's entries are headings where their words stand on their page."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PdfReadError

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise rejected("ENCRYPTED", "it is protected by a password; remove the protection and send it again")
        pages, starts, found = _pdf_pages(reader, max_chars)
        text = "".join(pages)
        if not text.strip():
            raise rejected("EMPTY", "it has no text layer (scanned pages?); run text recognition on it first")
        return LoadedDocument(text, _pdf_title(reader), _pdf_headings(reader, text, starts), found=tuple(found))
    except DependencyError as exc:
        raise rejected("ENCRYPTED", "it is encrypted with AES; remove the protection and send it again") from exc
    except PdfReadError as exc:
        raise rejected("BROKEN", f"it is not a whole PDF file: {exc}") from exc


def _pdf_pages(reader: PdfReader, max_chars: int) -> tuple[list[str], list[int], list[FoundFigure]]:
    from router.corpus.pdf_figures import PageTrace

    pages: list[str] = []
    starts: list[int] = []
    found: list[FoundFigure] = []
    drawn: set[object] = set()
    length = 0
    for number, page in enumerate(reader.pages, start=1):
        trace = PageTrace(page)
        extracted = page.extract_text(visitor_operand_before=trace.before, visitor_operand_after=trace.after, visitor_text=trace.on_text)
        text = normalise(extracted).strip() + "\n\n"
        found += trace.figures(text, length, number, drawn)
        pages.append(text)
        starts.append(length)
        length += len(text)
        if length > max_chars:
            raise rejected("TOO_LARGE", f"its text has more than {max_chars:,} characters; split it into several files")
    return pages, starts, found


def _pdf_title(reader: PdfReader) -> str:
    title = normalise(str(reader.metadata.title or "")).strip() if reader.metadata else ""
    return "" if _FILE_LIKE_TITLE.match(title) else title


def _pdf_headings(reader: PdfReader, text: str, page_starts: list[int]) -> tuple[Heading, ...]:
    headings: list[Heading] = []
    for level, entry in _outline_entries(reader.outline, 1):
        page = reader.get_destination_page_number(entry)
        words = normalise(str(entry.title or "")).split()
        if page is None or not 0 <= page < len(page_starts) or not words:
            continue
        begin = max(page_starts[page], headings[-1].span.end if headings else 0)
        end = page_starts[page + 1] if page + 1 < len(page_starts) else len(text)
        match = re.compile(r"^[ \t]*" + r"\s+".join(map(re.escape, words)) + r"[ \t]*$", re.MULTILINE).search(text, begin, end)
        if match is not None:
            headings.append(Heading(level, " ".join(words), Span(match.start(), match.end())))
    return tuple(headings)


def _outline_entries(outline: Any, level: int) -> Iterator[tuple[int, Any]]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _outline_entries(entry, min(level + 1, _MAX_OUTLINE_LEVEL))
        else:
            yield level, entry


# --- DOCX -----------------------------------------------------------------------------------------------------------

_OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
_HEADING_STYLE = re.compile(r"\Aheading ([1-9])\Z", re.IGNORECASE)
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
"""The parts of a .docx may not unpack to more than this together."""


def read_docx(content: bytes, max_chars: int) -> LoadedDocument:
    """Paragraphs and table rows of the body, in order. Page headers, footers, notes and comments are not read."""
    import docx
    from docx.opc.exceptions import PackageNotFoundError

    if content.startswith(_OLE_MAGIC):
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise rejected("ENCRYPTED", "it is protected by a password; remove the protection and send it again")
        raise rejected("UNSUPPORTED_TYPE", "it is a file of an old Office (.doc); save it as .docx")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise rejected("TOO_LARGE", f"it unpacks to {unpacked:,} bytes; at most {MAX_UNPACKED_BYTES:,} are taken")
        document = docx.Document(io.BytesIO(content))
    except (zipfile.BadZipFile, PackageNotFoundError, KeyError, ValueError) as exc:
        raise rejected("BROKEN", f"it is not a whole .docx file: {exc}") from exc
    style_names = {style.style_id: str(style.name) for style in document.styles}
    text, headings, found = joined(_captioned(list(_docx_blocks(document.element.body, style_names, document.part))))
    check_length(text, max_chars)
    title = normalise(str(document.core_properties.title or "")).strip()
    return LoadedDocument(text, title or (headings[0].text if headings else ""), headings, found=found)


def _docx_blocks(element: Any, style_names: dict[str, str], part: Any) -> Iterator[Block]:
    # On the XML, since python-docx passes over content controls and tracked insertions, whose words a reader sees.
    from docx.oxml.ns import qn

    for child in element:
        if child.tag == qn("w:p"):
            words, style = _docx_words(child), _docx_style(child, style_names)
            is_caption = CAPTION.match(words.strip()) is not None or (style == "caption" and not words.strip().lower().startswith("table"))
            yield Block(words, _docx_level(style), tuple(_docx_drawings(child, part)), is_caption)
        elif child.tag == qn("w:tr"):
            cells = (_squeezed(" ".join(_docx_words(paragraph) for paragraph in cell.iter(qn("w:p")))) for cell in child.iter(qn("w:tc")))
            yield Block(BETWEEN_CELLS.join(cells), drawings=tuple(_docx_drawings(child, part)))
        elif isinstance(child.tag, str):
            yield from _docx_blocks(child, style_names, part)


def _docx_style(paragraph: Any, style_names: dict[str, str]) -> str:
    style_id = paragraph.pPr.pStyle.val if paragraph.pPr is not None and paragraph.pPr.pStyle is not None else ""
    return style_names.get(style_id, "").lower()


def _docx_level(style: str) -> int:
    if style == "title":
        return 1
    match = _HEADING_STYLE.match(style)
    return int(match[1]) if match else 0


def _captioned(blocks: Sequence[Block]) -> Iterator[Block]:
    """Drawings get the caption in their own paragraph, the one below, or the one above that is no other drawing's."""
    taken: set[int] = set()
    worded = [number for number, block in enumerate(blocks) if block.text.strip()]
    for number, block in enumerate(blocks):
        if not block.drawings:
            yield block
            continue
        below = bisect_right(worded, number)
        above = bisect_left(worded, number)
        at_or_below = [number, *worded[below : below + 1]]
        near = [*at_or_below, *(place for place in worded[max(0, above - 1) : above] if place not in taken)]
        place = next((place for place in near if blocks[place].is_caption), None)
        if place in at_or_below:
            taken.add(place)
        caption = _squeezed(blocks[place].text) if place is not None else ""
        yield replace(block, drawings=tuple(replace(drawing, caption=caption) for drawing in block.drawings))


def _docx_drawings(element: Any, part: Any) -> Iterator[Drawing]:
    """Pictures by their description; of those that are linked, charts and old programs' fallbacks nothing is read."""
    from docx.oxml.ns import qn

    fallback = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
    for node in element.iter(qn("a:blip"), "{urn:schemas-microsoft-com:vml}imagedata"):
        relation = node.get(qn("r:embed")) or node.get(qn("r:id"))
        if relation and next(node.iterancestors(fallback), None) is None:
            frame = next(node.iterancestors(qn("wp:inline"), qn("wp:anchor")), None)
            said = frame.find(qn("wp:docPr")) if frame is not None else None
            yield Drawing(partial(_docx_part, part, relation), (said.get("descr") or "") if said is not None else "")


def _docx_part(part: Any, relation: str, max_pixels: int) -> bytes:
    content: bytes = part.related_parts[relation].blob
    return content


def _docx_words(paragraph: Any) -> str:
    from docx.oxml.ns import qn

    between = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:p"): "\n"}
    fallback = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
    words = []
    for node in paragraph.iter():
        if node.tag == qn("w:t"):
            # A text box stands twice in the file: as a drawing, and as a fallback for old programs.
            if next(node.iterancestors(fallback), None) is None:
                words.append(node.text or "")
        elif node is not paragraph and node.tag in between and node.getparent().tag != qn("w:tabs"):
            words.append(between[node.tag])
    return "".join(words)
