"""Which files of the given paths are to be ingested, under which names, and which are passed over and why. Blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from router.corpus.load import ENDINGS
from router.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class FoundFile:
    name: str
    """Relative to the given folder, with `/`; of a file given by itself, its file name."""
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Skipped:
    name: str
    reason: str
    """UNSUPPORTED_TYPE, UNREADABLE, NOT_A_FILE, SEEN_BEFORE or SAME_NAME."""
    message: str


def discover(paths: Sequence[Path]) -> Iterator[FoundFile | Skipped]:
    """Files in a stable order. Hidden files and folders below a given folder are passed over in silence; links are followed once.

    Raises:
        InvalidInput: A given path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise InvalidInput(f"{path} does not exist", field="path")
    taken: dict[str, Path] = {}
    walked: set[Path] = set()
    for path in paths:
        found = _walk(path, path, walked) if path.is_dir() else iter([_look_at(path, path.name)])
        for item in found:
            if isinstance(item, FoundFile):
                other = taken.setdefault(item.name, item.path)
                if other != item.path:
                    yield Skipped(item.name, "SAME_NAME", f"{item.path} would replace {other}: ingest a folder that holds both")
                    continue
            yield item


def _walk(folder: Path, root: Path, walked: set[Path]) -> Iterator[FoundFile | Skipped]:
    name = folder.relative_to(root).as_posix()
    real = folder.resolve()
    if real in walked:
        yield Skipped(name, "SEEN_BEFORE", f"{folder} is {real}, which was walked before")
        return
    walked.add(real)
    try:
        entries = sorted(entry for entry in os.listdir(folder) if not entry.startswith("."))
    except OSError as exc:
        yield Skipped(name, "UNREADABLE", f"{folder}: {exc.strerror}")
        return
    for entry in entries:
        path = folder / entry
        if path.is_dir():
            yield from _walk(path, root, walked)
        elif path.suffix.lower() not in ENDINGS:
            yield Skipped(path.relative_to(root).as_posix(), "UNSUPPORTED_TYPE", f"the ending is none of {' '.join(sorted(ENDINGS))}")
        else:
            yield _look_at(path, path.relative_to(root).as_posix())


def _look_at(path: Path, name: str) -> FoundFile | Skipped:
    if not path.exists():
        return Skipped(name, "UNREADABLE", f"{path} is a link to nothing")
    if not path.is_file():
        return Skipped(name, "NOT_A_FILE", f"{path} is not a regular file")
    if not os.access(path, os.R_OK):
        return Skipped(name, "UNREADABLE", f"{path} may not be read")
    return FoundFile(name, path, path.stat().st_size)
