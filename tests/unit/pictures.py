"""Pictures for tests, drawn here."""

from __future__ import annotations

import io
import random
import struct
import zlib
from itertools import product

from PIL import Image, ImageDraw, ImageFont


def drawn(colour: object = "red", size: tuple[int, int] = (64, 48), mode: str = "RGB", form: str = "PNG", **options: object) -> bytes:
    """A picture of one colour, as a file."""
    made = io.BytesIO()
    Image.new(mode, size, colour).save(made, form, **options)  # type: ignore[arg-type]
    return made.getvalue()


def crossword() -> bytes:
    """A crossword puzzle, which EfficientNet-Lite0 knows when it sees one."""
    chance, side, step = random.Random(1), 15, 20
    image = Image.new("RGB", (side * step, side * step), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(9)
    for x, y in product(range(0, side * step, step), repeat=2):
        black = chance.random() < 0.2
        draw.rectangle((x, y, x + step, y + step), fill="black" if black else "white", outline="black")
        if not black and chance.random() < 0.4:
            draw.text((x + 2, y + 1), str(chance.randint(1, 60)), "black", font)
    made = io.BytesIO()
    image.save(made, "PNG")
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
