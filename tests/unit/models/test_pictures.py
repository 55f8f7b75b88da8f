"""Bytes that callers send: pixels, or an error that says what is wrong."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from router.errors import PictureRejected
from router.models.pictures import centre, load_picture


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_formats_are_told_by_their_content(kind):
    pixels = load_picture(encoded(Image.new("RGB", (30, 20), (250, 10, 10)), kind))
    assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)
    assert np.abs(pixels.astype(int) - (250, 10, 10)).max() < 8


def test_exif_rotation_is_applied():
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to see it upright
    pixels = load_picture(encoded(image, "JPEG", exif=exif))
    assert pixels.shape == (40, 20, 3)
    assert pixels[5].mean() > 200 > 50 > pixels[35].mean()


def test_colours_of_other_modes():
    palette = Image.new("P", (9, 9), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert load_picture(encoded(palette))[0, 0].tolist() == [200, 100, 50]
    assert load_picture(encoded(palette, transparency=1))[0, 0].tolist() == [255, 255, 255]
    assert load_picture(encoded(Image.new("RGBA", (9, 9), (255, 0, 0, 128))))[0, 0].tolist() == [255, 127, 127]
    assert load_picture(encoded(Image.new("LA", (9, 9), (0, 0))))[0, 0].tolist() == [255, 255, 255]
    assert load_picture(encoded(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG"))[0, 0].tolist() == [255, 0, 0]
    assert load_picture(encoded(Image.new("1", (9, 9), 1)))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(kind):
    grey = Image.fromarray(np.full((9, 9), 128 * 256, np.uint16))
    assert load_picture(encoded(grey, kind))[0, 0].tolist() == [128, 128, 128]


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    assert load_picture(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))[0, 0].tolist() == [255, 0, 0]


def test_large_pictures_are_reduced_and_keep_their_shape():
    assert load_picture(encoded(Image.new("RGB", (4000, 3000)), "JPEG")).shape == (750, 1000, 3)
    assert load_picture(encoded(Image.new("RGB", (4000, 3000)), "PNG")).shape == (600, 800, 3)


def test_one_pixel_and_long_strips():
    assert load_picture(encoded(Image.new("RGB", (1, 1), "red"))).tolist() == [[[255, 0, 0]]]
    for size in ((20_000, 1), (1, 20_000), (1, 1)):
        assert centre(load_picture(encoded(Image.new("RGB", size, "red"))), 240, 224).shape == (224, 224, 3)


def test_the_square_is_cut_from_the_middle():
    image = Image.new("RGB", (300, 100), "black")
    image.paste("white", (100, 0, 200, 100))
    assert centre(np.asarray(image), 224, 224)[:, 2:-2].min() > 250  # the resampling looks over the edge


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "PICTURE_FORMAT"),
        (b"GIF89a", "PICTURE_FORMAT"),
        (b"no picture at all", "PICTURE_FORMAT"),
        (b"%PDF-1.7 something", "PICTURE_FORMAT"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "PICTURE_FORMAT"),
        (b'\xef\xbb\xbf <?xml version="1.0"?><svg/>', "PICTURE_FORMAT"),
        (encoded(noise(200, 200))[:20_000], "PICTURE_BROKEN"),
        (encoded(noise(200, 200), "JPEG")[:5_000], "PICTURE_BROKEN"),
        (encoded(Image.new("1", (20_000, 20_000))), "PICTURE_TOO_LARGE"),
        (encoded(Image.new("1", (9_000, 9_000))), "PICTURE_TOO_LARGE"),
    ],
    ids=["empty", "header", "text", "pdf", "svg", "xml", "cut png", "cut jpeg", "bomb", "large"],
)
def test_bad_pictures_are_refused_with_their_field(content, reason):
    with pytest.raises(PictureRejected) as caught:
        load_picture(content, field="parts[2].image")
    assert (caught.value.reason, caught.value.field) == (reason, "parts[2].image")


def test_svg_is_told_by_name():
    with pytest.raises(PictureRejected, match="SVG is not taken"):
        load_picture(b"<svg/>")


def test_a_bomb_takes_no_memory():
    """In a process of its own, whose address space would not hold the 400 million pixels."""
    script = (
        "import io, resource, sys\n"
        "from router.errors import PictureRejected\n"
        "from router.models.pictures import load_picture\n"
        "content = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    load_picture(content)\n"
        "except PictureRejected as error:\n    print(error.reason)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000)\n"
    )
    bomb = encoded(Image.new("L", (20_000, 4_000)))
    done = subprocess.run([sys.executable, "-c", script], input=bomb, capture_output=True, check=True)
    assert done.stdout.split() == [b"PICTURE_TOO_LARGE", b"True"]


@given(st.binary(max_size=400), st.integers(0, 400))
def test_damaged_bytes_give_pixels_or_the_typed_error(damage, place):
    content = encoded(noise(24, 24), "GIF")
    damaged = content[:place] + damage + content[place + len(damage) :]
    try:
        shape = load_picture(damaged, max_pixels=1_000_000).shape
    except PictureRejected as rejected:
        error = rejected
    else:
        error = None
        assert shape[2:] == (3,)
    assert error is None or error.field == "image"
