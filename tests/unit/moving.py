"""Moving pictures for tests, made here."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 48)


def slides(shown: Sequence[tuple[str, float]], form: str = "GIF") -> bytes:
    """An animation of plain colours, each with the seconds that it stands."""
    frames = [Image.new("RGB", SIZE, colour) for colour, _ in shown]
    made = io.BytesIO()
    options = {"lossless": True} if form == "WEBP" else {}
    durations = [round(1000 * seconds) for _, seconds in shown]
    frames[0].save(made, form, save_all=True, append_images=frames[1:], duration=durations, **options)
    return made.getvalue()


def film(folder: Path, shown: Sequence[tuple[str, float]], name: str = "film.mp4", per_second: int = 10) -> bytes:
    """A video of the same, by OpenCV."""
    import cv2

    writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*"mp4v"), per_second, SIZE)
    for colour, seconds in shown:
        picture = np.asarray(Image.new("RGB", SIZE, colour))[:, :, ::-1]
        for _ in range(round(seconds * per_second)):
            writer.write(np.ascontiguousarray(picture))
    writer.release()
    return (folder / name).read_bytes()
