"""Trained arrays in a file (.npz), with a note beside it (.json) of what they were made from; the note has the file's sha256."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigurationError
from router.models import weights


def read(file: Path, *, cache_dir: Path, field: str) -> tuple[dict[str, NDArray[Any]], str]:
    """The arrays and the file's sha256.

    Args:
        file: The .npz.
        cache_dir: For known digests.
        field: The setting that names it, for messages.

    Raises:
        ConfigurationError: There is no such file or note, it is no file of arrays, or not the one of its note.
    """
    note = file.with_suffix(".json")
    try:
        sha256 = str(json.loads(note.read_text(encoding="utf-8"))["sha256"])
        weights.verify(file, sha256, cache_dir=cache_dir, field=field)
        with np.load(file, allow_pickle=False) as stored:
            return dict(stored), sha256
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as exc:
        raise ConfigurationError(f"{field}: {file} and its note {note.name} cannot be read ({exc})", field=field) from exc


def write(arrays: Mapping[str, NDArray[Any]], file: Path, about: Mapping[str, Any]) -> None:
    """The arrays, and beside them a note of what they were made from.

    The note comes first: a file that it does not fit yet is refused, never taken for the other.
    """
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    stored = content.getvalue()
    note = {**about, "sha256": hashlib.sha256(stored).hexdigest(), "bytes": len(stored)}
    for path, written in ((file.with_suffix(".json"), json.dumps(note, indent=2).encode() + b"\n"), (file, stored)):
        weights.write_atomically(path, written)
        path.chmod(0o644)  # the service may run as another user than who trained
