"""Files of every format, good and bad, made on the spot."""

from __future__ import annotations

import io
import zipfile

import docx
import pypdf
from reportlab.pdfgen import canvas


def pdf(*pages: str, title: str = "", outline: bool = False) -> bytes:
    buffer = io.BytesIO()
    sheet = canvas.Canvas(buffer)
    if title:
        sheet.setTitle(title)
    for number, page in enumerate(pages):
        lines = page.split("\n")
        for row, line in enumerate(lines):
            sheet.drawString(72, 760 - 20 * row, line)
        if outline:
            sheet.bookmarkPage(str(number))
            sheet.addOutlineEntry(lines[0], str(number), 0)
        sheet.showPage()
    sheet.save()
    return buffer.getvalue()


def encrypted_pdf(password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("Secret words")))
    writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def word(*paragraphs: tuple[str, str], title: str = "", rows: tuple[tuple[str, ...], ...] = ()) -> bytes:
    """A .docx of (style, text) paragraphs and then a table."""
    document = docx.Document()
    document.core_properties.title = title
    for style, text in paragraphs:
        document.add_paragraph(text, style=style or None)
    if rows:
        table = document.add_table(len(rows), len(rows[0]))
        for row, texts in zip(table.rows, rows, strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def zip_bomb(size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * size)
    return buffer.getvalue()


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
ENCRYPTED_DOCX = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512) + "EncryptedPackage".encode("utf-16-le") + bytes(512)
OLD_DOC = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512) + "WordDocument".encode("utf-16-le") + bytes(512)
