"""Fingerprints of the sample's pictures: copies keep them, other pictures have others."""

from __future__ import annotations

import io
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from router.models.fingerprint import BYTES, fingerprint
from router.models.pictures import load_picture
from router.stores.fingerprints import MAX_DISTANCE
from tests.unit.pictures import drawn

SAMPLE = Path(__file__).parents[3] / "examples" / "sample" / "pictures"
NAMES = sorted(path.name for path in SAMPLE.iterdir())


def distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@cache
def picture(name: str) -> Image.Image:
    return Image.fromarray(load_picture((SAMPLE / name).read_bytes()))


def of(image: Image.Image) -> bytes:
    return fingerprint(np.asarray(image))


def recompressed(image: Image.Image, quality: int) -> Image.Image:
    made = io.BytesIO()
    image.save(made, "JPEG", quality=quality)
    return Image.open(made).convert("RGB")


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(NAMES), st.floats(0.3, 2.0), st.integers(30, 95), st.floats(0.8, 1.15))
def test_a_resized_recompressed_brightened_copy_is_near(name: str, factor: float, quality: int, light: float) -> None:
    image = picture(name)
    resized = image.resize((round(image.width * factor), round(image.height * factor)))
    copy = ImageEnhance.Brightness(recompressed(resized, quality)).enhance(light)
    assert distance(of(image), of(copy)) <= MAX_DISTANCE


def test_different_pictures_are_far() -> None:
    prints = {name: of(picture(name)) for name in NAMES}
    assert {len(value) for value in prints.values()} == {BYTES}
    assert min(distance(prints[one], prints[other]) for one, other in combinations(NAMES, 2)) > 3 * MAX_DISTANCE


def test_charts_of_one_look_are_far() -> None:
    """White with dark lines, as most figures are: only the bars differ."""

    def chart(*heights: int) -> Image.Image:
        image = Image.new("RGB", (640, 480), "white")
        pen = ImageDraw.Draw(image)
        pen.line((60, 20, 60, 430, 620, 430), "black", 2)
        for place, height in enumerate(heights):
            pen.rectangle((80 + place * 130, 430 - height, 160 + place * 130, 430), "steelblue")
        return image

    assert distance(of(chart(100, 200, 300, 400)), of(chart(400, 100, 250, 50))) > MAX_DISTANCE


@pytest.mark.parametrize("colour", ["red", "white", (3, 3, 3)])
def test_a_picture_of_one_colour_has_none(colour: object) -> None:
    assert fingerprint(load_picture(drawn(colour))) == b""
    assert fingerprint(load_picture(drawn(colour, (1, 1)))) == b""
