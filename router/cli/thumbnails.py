"""Thumbnails on a terminal: by the graphics protocol of kitty, the inline images of iTerm2, or half blocks in true colour.

Nothing is asked of the terminal, since its reply would come where the user types; its environment says what it takes. Inside tmux and
screen only half blocks get through.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from PIL import Image

MAX_COLUMNS = 24
MAX_ROWS = 10
_KITTY_CHUNK = 4096
"""Characters of base64 in one escape sequence, at most; so says the protocol."""


class Graphics(Enum):
    KITTY = "kitty"
    """https://sw.kovidgoyal.net/kitty/graphics-protocol"""
    ITERM = "iterm"
    """https://iterm2.com/documentation-images.html"""
    BLOCKS = "blocks"


def graphics_of(console: Console, environment: Mapping[str, str], wanted: bool | None) -> Graphics | None:
    """How pictures can be shown; None: not at all. `wanted` is True for half blocks also where true colour is not announced."""
    if wanted is False or not console.file.isatty() or console.no_color or console.is_dumb_terminal:
        return None
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if not (environment.get("TMUX") or term.startswith(("screen", "tmux"))):
        if environment.get("KITTY_WINDOW_ID") or term in {"xterm-kitty", "xterm-ghostty"} or program == "ghostty":
            return Graphics.KITTY
        if program in {"iTerm.app", "WezTerm"} or environment.get("LC_TERMINAL") == "iTerm2":
            return Graphics.ITERM
    return Graphics.BLOCKS if wanted or environment.get("COLORTERM") in {"truecolor", "24bit"} else None


def show_thumbnail(console: Console, jpeg: bytes, graphics: Graphics, indent: int) -> None:
    """Print a small picture under what was printed last; one that cannot be decoded is said to be broken."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as opened:
            image = opened.convert("RGB")
    except OSError:
        console.print(Text(" " * indent + "(the thumbnail is broken)", style="dim"))
        return
    # A cell is about twice as high as wide.
    scale = min(MAX_COLUMNS / image.width, 2 * MAX_ROWS / image.height)
    columns, halves = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    rows = (halves + 1) // 2
    match graphics:
        case Graphics.BLOCKS:
            small = image.resize((columns, 2 * rows))
            for row in range(rows):
                console.print(Text(" " * indent).append_text(_blocks(small, row)))
        case Graphics.KITTY:
            png = io.BytesIO()
            image.save(png, "PNG")
            _write(console, indent, _kitty(base64.b64encode(png.getvalue()).decode(), columns, rows))
        case Graphics.ITERM:
            data = base64.b64encode(jpeg).decode()
            _write(console, indent, f"\x1b]1337;File=inline=1;size={len(jpeg)};width={columns};height={rows}:{data}\a")


def _blocks(image: Image.Image, row: int) -> Text:
    """One row of cells: the upper half in the colour of the sign, the lower in that of the background."""
    rgb, line = image.tobytes(), Text()

    def colour(column: int, height: int) -> Color:
        start = 3 * (height * image.width + column)
        return Color.from_rgb(*rgb[start : start + 3])

    for column in range(image.width):
        line.append("▀", Style(color=colour(column, 2 * row), bgcolor=colour(column, 2 * row + 1)))
    return line


def _kitty(data: str, columns: int, rows: int) -> str:
    pieces = [data[start : start + _KITTY_CHUNK] for start in range(0, len(data), _KITTY_CHUNK)]
    keys = [f"a=T,f=100,q=2,c={columns},r={rows},", *[""] * (len(pieces) - 1)]
    last = len(pieces) - 1
    return "".join(f"\x1b_G{keys[number]}m={int(number < last)};{piece}\x1b\\" for number, piece in enumerate(pieces))


def _write(console: Console, indent: int, sequence: str) -> None:
    # Past rich, which would count the sequence as text.
    console.file.write(" " * indent + sequence + "\n")
    console.file.flush()
