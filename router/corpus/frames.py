"""Moving pictures as still ones: what is shown at even times, without what hardly differs from the one before. All of it blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from router.corpus.text import Figure, LoadedDocument, LoadedPicture, rejected
from router.models.picture_file import as_jpeg, thumbnail
from router.models.pictures import moving
from router.types import Pixels

if TYPE_CHECKING:
    import cv2

EVERY_S = 1.0
"""A frame is looked at once in so many seconds."""
MOMENT_S = 2.0
"""An animated picture that is over sooner is one picture, its first frame."""
MAX_FRAMES = 24
"""Of one document; beyond that the one that differs least from the one before it goes."""
MAX_SIDE = 1280
"""Frames are reduced to this, in pixels."""
MAX_SHOWN_PIXELS = 20_000_000_000
"""Of all frames of a file together, those that are passed over too: some five minutes of 1920 x 1080."""
HARDLY = 4.0
"""Mean difference of two frames made small, of 255, below which the later one is not kept. A noisy still scene came out of H.264, H.265,
VP8 and VP9 at 0.6 to 1.6."""
_SMALL = (32, 32)
_BEGINS = {b"ftyp": 4, b"\x1aE\xdf\xa3": 0}
"""Of MP4 and MOV, of WebM and Matroska; and where in the file. FFmpeg knows other kinds, some of which name further files to be read."""

Shown = tuple[float, Callable[[], Pixels]]


def frames_of_animation(content: bytes) -> tuple[Figure, ...]:
    """Of a picture that `load_picture` takes; empty where it does not move, hardly moves, or is over in a moment.

    Raises:
        DocumentRejected: TOO_LARGE. And whatever a decoder raises.
    """
    length_s = 0.0

    def shown() -> Iterator[Shown]:
        nonlocal length_s
        pixel_count = 0
        for frame in moving(content):
            pixel_count += frame.pixel_count
            _check(pixel_count)
            length_s = frame.end_s
            yield frame.begin_s, frame.pixels

    frames = sampled(shown())
    return frames if length_s >= MOMENT_S and len(frames) > 1 else ()


def read_video(content: bytes, max_pixels: int) -> LoadedDocument:
    """The frames of an MP4, MOV, WebM or Matroska file, by OpenCV (extra `video`).

    Raises:
        DocumentRejected: UNSUPPORTED_TYPE, BROKEN or TOO_LARGE.
    """
    if not any(content[place:].startswith(mark) for mark, place in _BEGINS.items()):
        raise rejected("UNSUPPORTED_TYPE", "this is no MP4, MOV, WebM or Matroska file")
    frames = sampled(_shown_in_video(content, max_pixels))
    if not frames:
        raise rejected("BROKEN", "no frame of the video can be decoded (of AV1 none can): send H.264, H.265, VP8 or VP9")
    return LoadedDocument("", figures=frames)


def sampled(shown: Iterable[Shown]) -> tuple[Figure, ...]:
    """The first frame, then the first of each further `EVERY_S` that differs from the one kept before it; each with its own time.

    Args:
        shown: Begin in seconds, rising, and how to get the pixels while the iterator stands there.
    """
    kept: list[tuple[Figure, Pixels]] = []
    due_s = 0.0
    for begin_s, pixels in shown:
        if kept and begin_s < due_s:
            continue
        due_s = (begin_s // EVERY_S + 1) * EVERY_S
        frame = pixels()
        small = np.asarray(Image.fromarray(frame).resize(_SMALL, Image.Resampling.BOX))
        if kept and _difference(kept[-1][1], small) < HARDLY:
            continue
        kept.append((_frame(frame, begin_s), small))
        if len(kept) > MAX_FRAMES:
            differences = [_difference(before[1], after[1]) for before, after in pairwise(kept)]
            del kept[1 + int(np.argmin(differences))]
    return tuple(frame for frame, _ in kept)


def _shown_in_video(content: bytes, max_pixels: int) -> Iterator[Shown]:
    import cv2

    # OpenCV reads files by name only. This one lies in memory, so that nothing is left over when the process is killed.
    descriptor = os.memfd_create("video")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        video = cv2.VideoCapture(f"/proc/self/fd/{descriptor}", cv2.CAP_FFMPEG)
        if not video.isOpened():
            raise rejected("BROKEN", "the video cannot be opened")
        size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)) * int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if size > max_pixels:
            raise rejected("TOO_LARGE", f"its frames have more than {max_pixels:,} pixels")
        pixel_count = 0
        while video.grab():
            pixel_count += size
            _check(pixel_count)
            yield max(0.0, video.get(cv2.CAP_PROP_POS_MSEC) / 1000), lambda: _pixels(video)
        video.release()
    finally:
        os.close(descriptor)


def _pixels(video: cv2.VideoCapture) -> Pixels:
    is_there, picture = video.retrieve()
    if not is_there:
        raise rejected("BROKEN", "a frame of the video cannot be decoded")
    return np.ascontiguousarray(picture[:, :, ::-1])  # OpenCV's order is blue, green, red


def _frame(pixels: Pixels, time_s: float) -> Figure:
    content, width, height = as_jpeg(pixels, MAX_SIDE)
    return Figure(content, LoadedPicture("image/jpeg", width, height, thumbnail(pixels)), time_s=round(time_s, 3))


def _difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def _check(pixel_count: int) -> None:
    if pixel_count > MAX_SHOWN_PIXELS:
        raise rejected("TOO_LARGE", "its frames have too many pixels together: cut it into several files, or make the picture smaller")
