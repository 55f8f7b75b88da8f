"""Thumbnails: on which terminals, as which bytes, and from a whole command on a pseudo terminal."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import pty
import re
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image
from rich.console import Console

from router.cli.thumbnails import MAX_COLUMNS, MAX_ROWS, Graphics, graphics_of, show_thumbnail
from router.testing.engine import ListRetriever, small_engine
from router.types import Picture
from tests.integration.grpc_service import PASSAGE, SmallApp, running
from tests.unit.pictures import drawn

JPEG = drawn("red", (256, 192), form="JPEG", quality=95)
COLOUR = {"COLORTERM": "truecolor", "TERM": "xterm-256color"}
KITTY = re.compile(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.TextIOBase]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as file:
        yield file
    os.close(ours)


@pytest.mark.parametrize(
    ("environment", "graphics"),
    [
        ({"KITTY_WINDOW_ID": "1", **COLOUR}, Graphics.KITTY),
        ({"TERM": "xterm-kitty"}, Graphics.KITTY),
        ({"TERM_PROGRAM": "ghostty", **COLOUR}, Graphics.KITTY),
        ({"TERM_PROGRAM": "iTerm.app", **COLOUR}, Graphics.ITERM),
        ({"TERM_PROGRAM": "WezTerm"}, Graphics.ITERM),
        ({"LC_TERMINAL": "iTerm2"}, Graphics.ITERM),
        (COLOUR, Graphics.BLOCKS),
        ({"COLORTERM": "24bit"}, Graphics.BLOCKS),
        ({"KITTY_WINDOW_ID": "1", "TMUX": "/tmp/tmux", **COLOUR}, Graphics.BLOCKS),
        ({"TERM_PROGRAM": "iTerm.app", "TERM": "screen-256color"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_the_environment_says_how_pictures_can_be_shown(terminal, environment: dict[str, str], graphics: Graphics | None) -> None:
    console = Console(file=terminal)
    assert graphics_of(console, environment, None) is graphics
    assert graphics_of(console, environment, True) is (graphics or Graphics.BLOCKS)
    assert graphics_of(console, environment, False) is None


@pytest.mark.parametrize("wanted", [None, True])
def test_never_off_a_terminal_without_colour_or_on_a_dumb_one(terminal, monkeypatch: pytest.MonkeyPatch, wanted: bool | None) -> None:
    environment = {"KITTY_WINDOW_ID": "1", **COLOUR}
    assert graphics_of(Console(file=terminal), environment, wanted) is Graphics.KITTY
    assert graphics_of(Console(file=io.StringIO(), force_terminal=True), environment, wanted) is None
    monkeypatch.setenv("TERM", "dumb")
    assert graphics_of(Console(file=terminal), environment, wanted) is None
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert graphics_of(Console(file=terminal), environment, wanted) is None


def shown(jpeg: bytes, graphics: Graphics) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="truecolor", width=80, no_color=False)
    show_thumbnail(console, jpeg, graphics, 4)
    return file.getvalue()


def test_half_blocks_have_the_colours_of_both_halves() -> None:
    image = Image.new("RGB", (256, 192), "white")
    image.paste((0, 0, 255), (0, 96, 256, 192))
    made = io.BytesIO()
    image.save(made, "JPEG", quality=95)
    lines = shown(made.getvalue(), Graphics.BLOCKS).splitlines()
    assert len(lines) == 9  # 24 x 18 half cells
    assert all(line.startswith("    ") and line.count("▀") == MAX_COLUMNS for line in lines)
    white, blue = r"255;255;25\d", r"0;0;25\d"
    assert re.search(rf"\x1b\[38;2;{white};48;2;{white}m▀", lines[0])
    assert re.search(rf"\x1b\[38;2;{blue};48;2;{blue}m▀", lines[-1])


def test_kitty_gets_a_png_in_pieces() -> None:
    noise = Image.effect_noise((256, 200), 90)
    made = io.BytesIO()
    noise.save(made, "JPEG")
    written = shown(made.getvalue(), Graphics.KITTY)
    pieces = KITTY.findall(written)
    assert KITTY.sub("", written) == "    \n"
    assert len(pieces) > 2
    assert [keys.rpartition("m=")[2] for keys, _ in pieces] == ["1"] * (len(pieces) - 1) + ["0"]
    assert set(pieces[0][0].split(",")[:-1]) == {"a=T", "f=100", "q=2", f"c={MAX_COLUMNS}", "r=10"}
    assert all(len(data) <= 4096 for _, data in pieces)
    png = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in pieces), validate=True)))
    assert (png.format, png.size) == ("PNG", (256, 200))


def test_iterm_gets_the_file_inline() -> None:
    found = re.fullmatch(
        r"    \x1b\]1337;File=inline=1;size=(\d+);width=(\d+);height=(\d+):([A-Za-z0-9+/=]+)\x07\n", shown(JPEG, Graphics.ITERM)
    )
    assert found
    assert base64.b64decode(found[4]) == JPEG
    assert (int(found[1]), int(found[2]), int(found[3])) == (len(JPEG), MAX_COLUMNS, 9)


@pytest.mark.parametrize("graphics", list(Graphics))
def test_a_broken_thumbnail_is_said_to_be_broken(graphics: Graphics) -> None:
    assert "the thumbnail is broken" in shown(JPEG[:100], graphics)
    assert "the thumbnail is broken" in shown(b"a small JPEG", graphics)


@pytest.mark.parametrize("size", [(256, 1), (1, 256), (1, 1)])
def test_narrow_pictures_are_shown_in_whole_cells(size: tuple[int, int]) -> None:
    lines = shown(drawn("red", size, form="JPEG"), Graphics.BLOCKS).splitlines()
    assert 1 <= len(lines) <= MAX_ROWS
    assert all(1 <= line.count("▀") <= MAX_COLUMNS for line in lines)


async def on_a_terminal(*arguments: str, env: dict[str, str]) -> str:
    """What a command writes to a pseudo terminal."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM"}}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from router.cli import main; main()", *arguments, stdout=theirs, env={**clean, "COLUMNS": "80", **env}
    )
    os.close(theirs)
    written = await asyncio.to_thread(_read_all, ours)
    assert await process.wait() == 0
    return written.decode()


def _read_all(terminal: int) -> bytes:
    pieces = []
    with os.fdopen(terminal, "rb", buffering=0) as file:
        try:
            while piece := file.read(65536):
                pieces.append(piece)
        except OSError:  # Linux's end of a pseudo terminal
            pass
    return b"".join(pieces)


@pytest.mark.timeout(600)  # five interpreters start one after the other, each with all that a command imports
async def test_the_commands_show_thumbnails_where_they_may() -> None:
    pictured = replace(PASSAGE, picture=Picture("ab", "image/png", 4, 3, JPEG))
    async with running(SmallApp(engine=small_engine({"vector": ListRetriever([pictured])}))) as service:
        retrieve = ("retrieve", "Who keeps the lantern?", "--target", service.target)
        blocks = await on_a_terminal(*retrieve, env=COLOUR)
        assert blocks.count("▀") == MAX_COLUMNS * 9
        asked = await on_a_terminal("ask", *retrieve[1:], env={**COLOUR, "TERM_PROGRAM": "iTerm.app"})
        assert asked.index("Sources") < asked.index("\x1b]1337;File=inline=1")
        for more, env in ((["--no-thumbnails"], COLOUR), (["--json"], COLOUR), ([], {**COLOUR, "NO_COLOR": "1"})):
            written = await on_a_terminal(*retrieve, *more, env=env)
            assert "▀" not in written
            assert "lantern" in written
