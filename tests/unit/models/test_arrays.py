"""Files of arrays: read as they were written, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from router.errors import ConfigurationError
from router.models import arrays

ROWS = {"rows": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    arrays.write(ROWS, tmp_path / "own.npz", {"set": "photos"})
    return tmp_path / "own.npz"


def refused(file: Path, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as told:
        arrays.read(file, cache_dir=file.parent, field="models.pictures.adaptation")
    assert told.value.field == "models.pictures.adaptation"


def test_they_come_back_with_the_digest_of_their_note(file: Path) -> None:
    found, digest = arrays.read(file, cache_dir=file.parent, field="x")
    assert found.keys() == ROWS.keys()
    assert np.array_equal(found["rows"], ROWS["rows"])
    note = json.loads(file.with_suffix(".json").read_text())
    assert (note["set"], note["sha256"], note["bytes"]) == ("photos", digest, file.stat().st_size)


def test_the_same_arrays_are_the_same_bytes(file: Path, tmp_path: Path) -> None:
    arrays.write(ROWS, tmp_path / "again.npz", {})
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()


def test_another_file_than_that_of_the_note_is_refused(file: Path, tmp_path: Path) -> None:
    arrays.write({"rows": np.zeros(3)}, tmp_path / "other.npz", {})
    file.write_bytes((tmp_path / "other.npz").read_bytes())
    refused(file, "not the expected file")


@pytest.mark.parametrize("note", ["", "[]", "{}", "no json"])
def test_a_note_that_says_nothing_is_refused(file: Path, note: str) -> None:
    file.with_suffix(".json").write_text(note)
    refused(file, r"own\.json cannot be read")


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_missing_file_is_refused(file: Path, suffix: str) -> None:
    file.with_suffix(suffix).unlink()
    refused(file, "cannot be read")


@pytest.mark.parametrize("content", [b"", b"PK no archive", np.lib.format.magic(1, 0)])
def test_what_is_no_archive_is_refused_though_the_note_names_it(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    digest = arrays.weights.sha256(file, file.parent)
    file.with_suffix(".json").write_text(json.dumps({"sha256": digest}))
    refused(file, "cannot be read")


def test_pickled_objects_are_never_loaded(file: Path) -> None:
    np.savez(file, rows=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    file.with_suffix(".json").write_text(json.dumps({"sha256": arrays.weights.sha256(file, file.parent)}))
    refused(file, "allow_pickle=False")
