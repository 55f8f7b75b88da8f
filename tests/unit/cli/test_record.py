"""`serve --record`."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.cli.serve import _recording
from router.configuration import load_settings
from router.errors import ConfigurationError


def test_searching_sources_are_recorded_and_replayed_ones_are_not(tmp_path: Path) -> None:
    replay = f"{{kind: web, search: {{provider: replay, path: {tmp_path / 'old.jsonl'}}}}}"
    settings = _recording(load_settings(overrides={"sources.live": "{kind: web}", "sources.old": replay}), tmp_path / "new.jsonl")
    assert settings.sources["live"].record == tmp_path / "new.jsonl"
    assert settings.sources["old"].record is None


def test_without_a_search_there_is_nothing_to_record(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no configured source searches"):
        _recording(load_settings(overrides={"sources": "{vector: {kind: vector}}"}), tmp_path / "new.jsonl")
