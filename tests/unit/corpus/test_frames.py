"""Which frames of a moving picture are kept, and that each is what is shown at its time."""

from __future__ import annotations

import io
import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from router.corpus import frames, load
from router.corpus.frames import MAX_FRAMES, frames_of_animation, read_video, sampled
from router.corpus.load import format_of
from router.corpus.parsing import Parser
from router.corpus.picture_file import read_picture
from router.corpus.text import Figure
from router.errors import DocumentRejected, MissingExtra
from router.models.pictures import MAX_PIXELS
from tests.unit.moving import SIZE, film, slides
from tests.unit.pictures import animated, drawn

SHOWN = [("red", 1.5), ("lime", 3.0), ("blue", 2.5)]
AT = [(0.0, (255, 0, 0)), (1.5, (0, 255, 0)), (4.5, (0, 0, 255))]


def seen(kept: tuple[Figure, ...]) -> list[tuple[float, tuple[int, ...]]]:
    """Times, and colours rounded to what JPEG and video codecs leave of them."""
    pixels = [np.asarray(Image.open(io.BytesIO(frame.content)))[5, 5] for frame in kept]
    return [(frame.time_s, tuple(255 if value > 127 else 0 for value in colour)) for frame, colour in zip(kept, pixels, strict=True)]


def plain(value: int) -> np.ndarray:
    return np.full((8, 8, 3), value, np.uint8)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_frames_with_their_times(form: str) -> None:
    loaded = read_picture(slides(SHOWN, form), MAX_PIXELS)
    assert seen(loaded.figures) == AT
    assert loaded.picture is not None
    assert loaded.picture.mime_type == f"image/{form.lower()}"
    first = loaded.figures[0].picture
    assert (first.mime_type, first.width, first.height) == ("image/jpeg", *SIZE)
    assert first.thumbnail.startswith(b"\xff\xd8")


def test_what_does_not_move_or_is_over_in_a_moment_is_one_picture() -> None:
    for content in (drawn("red"), animated("red", "blue"), slides([("red", 0.9), ("blue", 0.9)]), slides([("red", 3), ("#fe0101", 3)])):
        assert read_picture(content, MAX_PIXELS).figures == ()


def test_the_pages_of_a_tiff_have_no_times() -> None:
    made = io.BytesIO()
    pages = [Image.new("RGB", SIZE, colour) for colour in ("red", "lime", "blue") * 10]
    pages[0].save(made, "TIFF", save_all=True, append_images=pages[1:])
    assert read_picture(made.getvalue(), MAX_PIXELS).figures == ()


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.mkv"])
def test_a_video_is_frames_with_their_times(tmp_path: Path, name: str) -> None:
    pytest.importorskip("cv2")
    loaded = read_video(film(tmp_path, SHOWN, name), MAX_PIXELS)
    # The green begins between two looks: it is found at the second of them.
    assert seen(loaded.figures) == [(0.0, (255, 0, 0)), (2.0, (0, 255, 0)), (5.0, (0, 0, 255))]
    assert loaded.picture is None


def test_what_is_no_video_or_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    content = film(tmp_path, SHOWN)
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(content)
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode()
    for bad, reason in ((playlist, "UNSUPPORTED_TYPE"), (b"no video", "UNSUPPORTED_TYPE"), (content[:400], "BROKEN")):
        with pytest.raises(DocumentRejected) as caught:
            read_video(bad, MAX_PIXELS)
        assert caught.value.reason == reason
    with pytest.raises(DocumentRejected, match="more than 100 pixels"):
        read_video(content, 100)
    monkeypatch.setattr(frames, "MAX_SHOWN_PIXELS", 10 * 64 * 48)
    with pytest.raises(DocumentRejected, match="too many pixels together"):
        read_video(content, MAX_PIXELS)
    with pytest.raises(DocumentRejected, match="too many pixels together"):
        frames_of_animation(slides([(f"#{number:02x}0000", 0.1) for number in range(0, 240, 16)]))


async def test_the_child_gives_the_same_frames(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    parser = Parser(1000)
    try:
        for name, content in (("a.gif", slides(SHOWN)), ("a.mp4", film(tmp_path, SHOWN))):
            form = format_of(name, "")
            assert await parser.load(content, form) == load.load(content, form, MAX_PIXELS)
        assert parser.child_pid is not None
    finally:
        await parser.aclose()


async def test_a_video_of_which_no_frame_comes_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    told = json.dumps({"text": "", "title": "", "headings": [], "picture": None, "found": 2}).encode()
    (tmp_path / "told").write_bytes(struct.pack(">Q", len(told)) + told)
    child = tmp_path / "python"
    child.write_text(f"#!/bin/sh\nhead -c 8 >{tmp_path}/asked\ncat {tmp_path}/told\n")
    child.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(child))
    with pytest.raises(DocumentRejected, match="none of the 2 frames") as caught:
        await Parser(1000).load(b"a video", format_of("a.mp4", ""))
    assert caught.value.reason == "BROKEN"


async def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    form = format_of("a.webm", "")
    monkeypatch.setattr("router.corpus.parsing.find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match=r"pip install 'graphrag-router\[video\]'"):
        await Parser(1000).load(b"\x1aE\xdf\xa3", form)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0.05, 3), st.integers(0, 255)), max_size=120))
def test_frames_are_few_in_order_and_each_differs_from_the_one_before(parts: list[tuple[float, int]]) -> None:
    begins = np.cumsum([0.0, *(seconds for seconds, _ in parts)])
    values = [value for _, value in parts]
    shown = [(float(begin), lambda value=value: plain(value)) for begin, value in zip(begins, values, strict=False)]
    kept = sampled(shown)
    assert len(kept) <= MAX_FRAMES
    times = [frame.time_s for frame in kept]
    assert times == sorted(set(times))
    assert len({int(time + 0.0005) for time in times}) >= len(times) - 1  # at most one in a second, but for rounding
    told = [int(np.asarray(Image.open(io.BytesIO(frame.content)))[4, 4, 0]) for frame in kept]
    by_time = {round(float(begin), 3): value for begin, value in zip(begins, values, strict=False)}
    assert all(abs(by_time[time] - value) <= 2 for time, value in zip(times, told, strict=True))
    if parts:
        assert times[0] == 0
        if len(kept) < MAX_FRAMES:
            assert all(abs(one - other) > 1 for one, other in pairwise(told))


def test_of_too_many_frames_the_least_different_go() -> None:
    values = [0, *(10 * number for number in range(1, 24)), 235, 5, 240]
    kept = sampled([(float(number), lambda value=value: plain(value)) for number, value in enumerate(values)])
    told = [int(np.asarray(Image.open(io.BytesIO(frame.content)))[4, 4, 0]) for frame in kept]
    assert len(kept) == MAX_FRAMES
    assert told[0] == 0
    assert told[-2:] == [5, 240]
