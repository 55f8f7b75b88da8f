from __future__ import annotations

import re
from pathlib import Path

import pytest

from router.errors import ConfigurationError, QueryRefused
from router.filtering.registry import OUTPUT_GROUP, QUERY_GROUP, open_output_filters, open_query_filters
from router.settings import FilterSettings
from router.testing.fakes import HashEmbedder
from router.types import Caller, Deadline, Query, TextPart

CALLER = Caller("acme", "request", Deadline.after(60.0))


def asked(text: str) -> Query:
    return Query((TextPart(text),))


async def test_without_a_file_nothing_is_filtered() -> None:
    assert await open_query_filters(FilterSettings(), HashEmbedder()) == ()
    assert await open_output_filters(FilterSettings(), HashEmbedder()) == ()


async def test_the_file_of_the_documentation_is_read_and_does_what_stands_there(tmp_path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "filtering.md").read_text()
    path = tmp_path / "policy.yaml"
    path.write_text(re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)[0])
    embedder = HashEmbedder()
    (refusal,) = await open_query_filters(FilterSettings(file=path), embedder)
    (redaction,) = await open_output_filters(FilterSettings(file=path), embedder)
    with pytest.raises(QueryRefused):
        await refusal.check(asked("What is the salary of Mira Lund?"), None, CALLER)
    await refusal.check(asked("Who maintains Atlas?"), None, CALLER)
    assert await redaction.first("Write to ada@example.org.", 0) is not None
    assert await redaction.first("Write to Ada.", 0) is None


async def test_a_filter_of_the_documentation_is_plugged_in(plug_in) -> None:
    page = (Path(__file__).parents[3] / "docs" / "filtering.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    plug_in(QUERY_GROUP, "short", code, "make")
    (short,) = await open_query_filters(FilterSettings(query=("rules", "short")), HashEmbedder())
    with pytest.raises(QueryRefused) as raised:
        await short.check(asked("word " * 400), None, CALLER)
    assert raised.value.rule == "short"
    await short.check(asked("Who maintains Atlas?"), None, CALLER)


async def test_what_is_plugged_in_is_used_only_when_it_is_named(plug_in) -> None:
    plug_in(OUTPUT_GROUP, "all", "async def make(settings, embedder):\n    return 'the filter'\n", "make")
    assert await open_output_filters(FilterSettings(), HashEmbedder()) == ()
    assert await open_output_filters(FilterSettings(output=("all",)), HashEmbedder()) == ("the filter",)


async def test_a_name_that_is_not_there_or_taken_is_named(plug_in) -> None:
    with pytest.raises(ConfigurationError, match="no filter 'tarot'") as raised:
        await open_query_filters(FilterSettings(query=("rules", "tarot")), HashEmbedder())
    assert raised.value.field == "filters.query.1"
    plug_in(OUTPUT_GROUP, "rules", "async def make(settings, embedder):\n    return None\n", "make")
    with pytest.raises(ConfigurationError, match="which is taken"):
        await open_output_filters(FilterSettings(), HashEmbedder())
