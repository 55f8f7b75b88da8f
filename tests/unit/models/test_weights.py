from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from router.errors import ConfigurationError
from router.models import weights


def test_a_package_is_found_without_importing_it():
    assert weights.package_folder("no_such_package_at_all") is None
    assert weights.package_folder("this") is None  # a module, not a package
    folder = weights.package_folder("wsgiref")
    assert folder is not None
    assert (folder / "simple_server.py").is_file()
    assert "this" not in sys.modules


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path):
    file, cache = tmp_path / "weights", tmp_path / "cache"
    file.write_bytes(b"one")
    assert weights.sha256(file, cache) == hashlib.sha256(b"one").hexdigest()
    (memory,) = json.loads((cache / "sha256.json").read_text())
    (cache / "sha256.json").write_text(json.dumps({memory: "remembered"}))
    assert weights.sha256(file, cache) == "remembered"
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert weights.sha256(file, cache) == hashlib.sha256(b"two").hexdigest()


def test_a_damaged_memory_is_made_anew(tmp_path: Path):
    file, cache = tmp_path / "weights", tmp_path / "cache"
    file.write_bytes(b"one")
    cache.mkdir()
    (cache / "sha256.json").write_text("{")
    assert weights.sha256(file, cache) == hashlib.sha256(b"one").hexdigest()
    assert [entry.name for entry in cache.iterdir()] == ["sha256.json"]


def test_a_folder_of_pickles_is_refused(tmp_path: Path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"no model\.safetensors") as refusal:
        weights.safetensors_model(str(tmp_path), None, cache_dir=tmp_path, field="models.cross_encoder")
    assert refusal.value.field == "models.cross_encoder.model"


def test_a_name_that_no_hub_could_have_is_a_wrong_setting(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="neither a folder nor a model"):
        weights.safetensors_model("/no/such/folder", None, cache_dir=tmp_path, field="models.cross_encoder")
