"""Pictures as the corpus reads them, good and bad: a correct result or a typed error, never a crash, and nothing large is unpacked."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from router.corpus.picture_file import read_picture, with_regions, words_of_regions
from router.corpus.text import LoadedPicture
from router.errors import DocumentRejected
from router.models.picture_file import MAX_THUMBNAIL_BYTES, thumbnail
from router.models.pictures import MAX_PIXELS
from router.types import MAX_REGIONS, TextRegion
from tests.unit.pictures import SVG, animated, drawn, png_that_says


def read(content: bytes) -> LoadedPicture:
    picture = read_picture(content, MAX_PIXELS).picture
    assert picture is not None
    return picture


def colour_of(picture: LoadedPicture) -> list[int]:
    """Of the middle of the thumbnail."""
    pixels = np.asarray(Image.open(io.BytesIO(picture.thumbnail)))
    return pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].tolist()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_every_format_is_read_and_told(form: str) -> None:
    picture = read(drawn("red", form=form))
    assert (picture.mime_type, picture.width, picture.height) == (f"image/{form.lower()}", 64, 48)
    np.testing.assert_allclose(colour_of(picture), (255, 0, 0), atol=6)


@pytest.mark.parametrize(
    ("content", "size", "colour"),
    [
        (drawn("red", (1, 1)), (1, 1), (255, 0, 0)),
        (drawn("red", (20_000, 10)), (20_000, 10), (255, 0, 0)),
        (drawn((0, 255, 255, 0), mode="CMYK", form="JPEG"), (64, 48), (255, 0, 0)),
        (drawn(32_768, mode="I;16"), (64, 48), (128, 128, 128)),
        (drawn(200, mode="I;16"), (64, 48), (0, 0, 0)),
        (animated("red", "blue"), (20, 10), (255, 0, 0)),
        (drawn((255, 0, 0, 0), mode="RGBA"), (64, 48), (255, 255, 255)),
        (drawn(0, mode="1"), (64, 48), (0, 0, 0)),
    ],
)
def test_unusual_pictures_are_read_as_they_look(content: bytes, size: tuple[int, int], colour: tuple[int, ...]) -> None:
    picture = read(content)
    assert (picture.width, picture.height) == size
    np.testing.assert_allclose(colour_of(picture), colour, atol=6)


def test_a_picture_is_turned_as_its_file_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    picture = read(drawn("red", (40, 10), form="JPEG", exif=exif))
    assert (picture.width, picture.height) == Image.open(io.BytesIO(picture.thumbnail)).size == (10, 40)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (drawn("red", (200, 200))[:100], "BROKEN"),
        (drawn("red", (200, 200), form="JPEG")[:300], "BROKEN"),
        (b"", "UNSUPPORTED_TYPE"),
        (b"no picture at all", "UNSUPPORTED_TYPE"),
        (SVG, "UNSUPPORTED_TYPE"),
        (png_that_says(100_000, 100_000), "TOO_LARGE"),
        (png_that_says(9_000, 9_000), "TOO_LARGE"),
    ],
)
def test_bad_files_are_refused_with_their_reason(content: bytes, reason: str) -> None:
    with pytest.raises(DocumentRejected) as refused:
        read(content)
    assert refused.value.reason == reason
    assert refused.value.field == "content"


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = png_that_says(100_000, 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(DocumentRejected):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_thumbnail_of_noise_keeps_to_its_size() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    assert len(thumbnail(noise)) <= MAX_THUMBNAIL_BYTES


@given(data=st.data(), form=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
def test_no_damage_to_a_file_brings_another_error(data: st.DataObject, form: str) -> None:
    content = bytearray(drawn("red", (16, 16), form=form))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = read(bytes(content[: data.draw(st.integers(0, len(content)))]))
    except DocumentRejected as error:
        assert error.reason in {"BROKEN", "TOO_LARGE", "UNSUPPORTED_TYPE"}  # noqa: PT017 - most examples raise, some do not
    else:
        assert picture.thumbnail


def test_a_picture_full_of_text_keeps_its_first_lines_with_their_places_and_all_of_its_words() -> None:
    lines = [TextRegion(f"line {number} {'x' * (number % 7)}", 0, number / 300, 1, 0.003, 0.9) for number in range(300)]
    assert with_regions(read(drawn("red")), lines).regions == tuple(lines[:MAX_REGIONS])
    assert len(words_of_regions(lines).splitlines()) == 300
