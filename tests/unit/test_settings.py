"""Settings: where they come from, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.configuration import load_settings, shown
from router.errors import ConfigurationError
from router.settings import Settings, VectorSource, WebSource


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_flags_win_over_variables_and_those_over_the_file(tmp_path, monkeypatch) -> None:
    path = config(tmp_path, "server: {port: 1, host: 0.0.0.0}\nretrieval: {limit: 3}")
    monkeypatch.setenv("ROUTER_SERVER__PORT", "2")
    assert load_settings(path).server.port == 2
    settings = load_settings(path, {"server.port": "3"})
    assert (settings.server.port, settings.server.host, settings.retrieval.limit) == (3, "0.0.0.0", 3)


def test_the_file_may_be_named_by_a_variable(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ROUTER_CONFIG", str(config(tmp_path, "retrieval: {limit: 5}")))
    assert load_settings().retrieval.limit == 5
    monkeypatch.setenv("ROUTER_CONFIG", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings()


@pytest.mark.parametrize(
    ("overrides", "path", "allowed"),
    [
        ({"server.port": "70000"}, "server.port", "65535"),
        ({"server.prot": "1"}, "server.prot", "not permitted"),
        ({"milvus.index.type": "HNWS"}, "milvus.index.type", "'HNSW'"),
        ({"sources.x": "{kind: vectors}"}, "sources.x", "'vector', 'graph', 'web'"),
        ({"sources": "{}"}, "sources", "at least 1"),
        ({"sources.Bad Name": "{kind: vector}"}, "sources.Bad Name", "pattern"),
        ({"models.llm": "{kind: openai}"}, "models.llm.openai.base_url", "required"),
        ({"models.embedding.max_batch_tokens": "100"}, "models.embedding", "raise the first or lower the second"),
        ({"models.pictures": "{model: a/clip, adaptation: own.npz}"}, "models.pictures", "aligned"),
        ({"corpus.chunk_overlap_tokens": "200"}, "corpus", "at most half"),
        ({"routing.policies": "[llm]"}, "", "models.llm is not set"),
        ({"routing.policies": "[fixed]", "routing.fixed_sources": "[nowhere]"}, "", "nowhere"),
        ({"learning": "{log_decisions: false, log_questions: true}"}, "", "turn both on or both off"),
        ({"learning.retention_days": "0"}, "learning.retention_days", "greater than 0"),
        ({"routing.policies": "[knn]"}, "", "learning.log_questions is off"),
        ({"routing.exploration": "0.3"}, "routing.exploration", "less than or equal to 0.2"),
        ({"routing.shadow": "[learned@]"}, "routing.shadow.0", "pattern"),
        ({"routing.experiment": "{name: trial, arms: {rules: 0.5, all: 0.4}}"}, "routing.experiment", "must sum to 1"),
        ({"rerank.method": "cross_encoder"}, "", "models.cross_encoder"),
        ({"fusion.walk.damping": "1"}, "fusion.walk.damping", "less than 1"),
    ],
)
def test_a_wrong_value_names_its_path_and_what_is_allowed(overrides, path: str, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(overrides=overrides)
    assert raised.value.field == path
    assert path in raised.value.message
    assert allowed in raised.value.message


def test_a_variable_that_is_no_setting_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("ROUTER_SERVR__PORT", "1")
    with pytest.raises(ConfigurationError, match="ROUTER_SERVR__PORT"):
        load_settings()


def test_secrets_are_never_shown(tmp_path) -> None:
    settings = load_settings(
        config(tmp_path, "graph: {uri: 'bolt://h:1', password: hunter2}\nserver: {api_keys: [{tenant: a, key: hunter2}]}")
    )
    assert settings.graph.password is not None
    assert settings.graph.password.get_secret_value() == "hunter2"
    assert "hunter2" not in shown(settings) + repr(settings)
    with pytest.raises(ConfigurationError) as raised:
        load_settings(overrides={"server.api_keys": "[{tenant: A B, key: hunter2}]"})
    assert "hunter2" not in raised.value.message


def test_a_second_collection_and_a_private_search_engine_are_a_few_lines(tmp_path) -> None:
    text = """
sources:
  vector: {kind: vector}
  handbook: {kind: vector, collection: handbook}
  intranet: {kind: web, search: {provider: searxng, url: "http://search.internal"}}
"""
    sources = load_settings(config(tmp_path, text)).sources
    assert list(sources) == ["vector", "handbook", "intranet"]
    assert isinstance(sources["handbook"], VectorSource)
    assert isinstance(sources["intranet"], WebSource)


def test_the_chain_follows_the_model() -> None:
    assert load_settings().policy_chain == ("learned", "rules")
    assert load_settings(overrides={"models.llm": "{kind: local}"}).policy_chain == ("llm", "learned")


def test_every_setting_is_documented() -> None:
    def undocumented(schema: dict, path: str) -> list[str]:
        found = []
        for name, field in schema.get("properties", {}).items():
            nested = "$ref" in field or "anyOf" in field or "allOf" in field
            if not nested and "description" not in field and name not in {"kind", "provider"} and "const" not in field:
                found.append(f"{path}.{name}")
        return found

    schema = Settings.model_json_schema()
    assert [*undocumented(schema, "settings"), *(item for name, part in schema["$defs"].items() for item in undocumented(part, name))] == []
