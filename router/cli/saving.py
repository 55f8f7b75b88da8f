"""Saving the pictures among the evidence to files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from router.client import RouterClient
from router.types import Evidence

MAX_NAME_CHARS = 80
_ENDINGS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/tiff": ".tiff",
    "audio/wav": ".wav",
}
_UNSAFE = re.compile(r"\W+")


def save_pictures(client: RouterClient, evidence: Sequence[Evidence], folder: Path) -> Iterator[Path]:
    """Save each picture once, under its title and the beginning of its id; the files that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {item.picture.id: item for item in evidence if item.picture is not None}
    for picture_id, item in pictures.items():
        picture, data = client.get_picture(picture_id)
        path = folder / file_name(item.title, picture_id, picture.mime_type)
        path.write_bytes(data)
        yield path


def file_name(title: str, picture_id: str, mime_type: str) -> str:
    """A name without anything that leads out of the folder, hides the file or surprises a shell; titles are not ours."""
    words = _UNSAFE.sub("-", title)[:MAX_NAME_CHARS].strip("-_") or "picture"
    return f"{words}-{picture_id[:8]}{_ENDINGS.get(mime_type, '')}"
