"""A file that results of long work go into: whether it can be written is asked before, not after hours."""

from __future__ import annotations

import os
from pathlib import Path

import typer


def writable(path: Path | None) -> Path | None:
    """Callback of an option that names such a file; its folder is made where it is missing.

    Raises:
        typer.BadParameter: Nothing can be written there.
    """
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror or error}") from error
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; name a file in it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise typer.BadParameter(f"{path} cannot be written: permission denied")
    return path
