"""Where a model's files are, and whether they are the right ones: a folder, an installed package, then the Hugging Face hub.

Only safetensors and GGUF files are ever loaded: neither can run code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from router.errors import ConfigurationError, ModelUnavailable

HUB_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")


def package_folder(package: str) -> Path | None:
    """Folder of an installed top-level package, which is found but not imported (importing some would load torch)."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def hub_folder(repository: str, patterns: Sequence[str], *, cache_dir: Path, field: str, other_way: str) -> Path:
    """Download (once) the files of a hub repository that match `patterns`.

    Args:
        repository: `owner/name`.
        patterns: File names with `*`.
        cache_dir: Downloads are kept under it.
        field: The setting that named the model.
        other_way: What to do where the hub cannot be reached, for the message.

    Raises:
        ConfigurationError: No such repository.
        ModelUnavailable: The hub cannot be reached.
    """
    # A folder of plain files: the hub's own cache is made of links, which ONNX Runtime does not follow.
    folder = cache_dir / "hub" / repository
    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns), local_dir=folder))
    except (HFValidationError, RepositoryNotFoundError) as exc:
        raise ConfigurationError(
            f"{field}: {repository!r} is neither a folder nor a model of the Hugging Face hub that this machine may read", field=field
        ) from exc
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx.HTTPError, OSError) as exc:
        raise ModelUnavailable(
            f"{field}: the model {repository!r} is not on this machine and could not be downloaded from the Hugging Face hub ({exc}). "
            f"Ways out: {other_way}; or make the hub reachable (HF_ENDPOINT, HTTPS_PROXY) and try again.",
            field=field,
        ) from exc


def safetensors_model(model: str, expected: str | None, *, cache_dir: Path, field: str) -> tuple[Path, Path]:
    """Folder and weights file of a transformers model given as a folder or as a hub name.

    Args:
        model: Folder or `owner/name`.
        expected: sha256 of `model.safetensors`; None: not checked.
        cache_dir: For downloads and known digests.
        field: The settings of the model; `.model` and `.sha256` are added for messages.

    Raises:
        ConfigurationError: No such model, no `model.safetensors` in it (a pickle can run code and is not loaded), or another file.
        ModelUnavailable: The hub cannot be reached.
    """
    folder = Path(model)
    if not folder.is_dir():
        folder = hub_folder(model, HUB_PATTERNS, cache_dir=cache_dir, field=f"{field}.model", other_way=f"set {field}.model to a folder")
    file = folder / "model.safetensors"
    if not file.is_file():
        raise ConfigurationError(
            f"{field}.model: {folder} has no model.safetensors; models in other formats or in several parts are not loaded",
            field=f"{field}.model",
        )
    if expected:
        verify(file, expected, cache_dir=cache_dir, field=f"{field}.sha256")
    return folder, file


def verify(file: Path, expected: str, *, cache_dir: Path, field: str) -> None:
    """Check a file against its sha256.

    Raises:
        ConfigurationError: It is another file.
    """
    found = sha256(file, cache_dir)
    if found != expected:
        raise ConfigurationError(
            f"{field}: {file} is not the expected file: its sha256 is {found}, expected {expected}. "
            "Install or download it again, or change the setting if the file is meant to be another one.",
            field=field,
        )


def sha256(file: Path, cache_dir: Path) -> str:
    """sha256 of a file, hashed once: known digests are kept in the cache folder by path, size and time of change."""
    state = file.stat()
    key = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    memory = cache_dir / "sha256.json"
    try:
        known = json.loads(memory.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        known = {}
    if isinstance(digest := known.get(key), str):
        return digest
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    write_atomically(memory, json.dumps(known | {key: digest}, indent=1).encode())
    return digest


def write_atomically(file: Path, content: bytes) -> None:
    """The file has the old or the new content, never half of it, whoever else writes at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "wb") as scratch:
        scratch.write(content)
    Path(name).replace(file)
