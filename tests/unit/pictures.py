"""Pictures for tests, drawn here."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def drawn(colour: object = "red", size: tuple[int, int] = (64, 48), mode: str = "RGB", form: str = "PNG", **options: object) -> bytes:
    """A picture of one colour, as a file."""
    made = io.BytesIO()
    Image.new(mode, size, colour).save(made, form, **options)  # type: ignore[arg-type]
    return made.getvalue()


def animated(*colours: str) -> bytes:
    frames = [Image.new("RGB", (20, 10), colour) for colour in colours]
    made = io.BytesIO()
    frames[0].save(made, "GIF", save_all=True, append_images=frames[1:], duration=50)
    return made.getvalue()


def png_that_says(width: int, height: int) -> bytes:
    """A whole PNG whose header promises more than its few bytes hold."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + part(b"IDAT", zlib.compress(bytes(1 << 20))) + part(b"IEND", b"")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
