"""The container files, as far as they can be checked without a daemon."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

from router.configuration import load_settings

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = (DOCKER / "compose.yaml").read_text()
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
TREE = yaml.safe_load(COMPOSE)


def test_compose_is_of_its_specification() -> None:
    compose = PyCompose.from_yaml(COMPOSE)
    compose.validate()
    assert set(compose.service_names()) == {"router", "milvus", "etcd", "minio", "neo4j"}
    with pytest.raises(ValueError, match="imag"):
        PyCompose.from_yaml("services:\n  a:\n    imag: x\n")


def environment(text: str) -> dict[str, str]:
    return dict(re.findall(r"(ROUTER_\w+)[=:] ?([^\s\\]+)", text))


def test_every_variable_is_a_setting(monkeypatch) -> None:
    for name, value in {**environment(DOCKERFILE), **TREE["services"]["router"]["environment"]}.items():
        monkeypatch.setenv(name, re.sub(r"\$\{.*\}", "a-password", value))
    settings = load_settings()
    assert settings.milvus.uri == "http://milvus:19530"
    assert settings.graph.uri == "bolt://neo4j:7687"
    assert settings.server.host == "0.0.0.0"


def test_images_are_pinned_and_only_grpc_is_published_on_loopback() -> None:
    services = TREE["services"]
    for name, service in services.items():
        if name != "router":
            assert re.search(r":[\w.-]*\d[\w.-]*$", service["image"]), f"{name} is not pinned"
            assert "ports" not in service
    assert services["router"]["ports"] == ["127.0.0.1:50051:50051"]
    assert all("healthcheck" in services[name] for name in services["router"]["depends_on"])


def test_no_password_has_a_default() -> None:
    assert re.findall(r"\$\{NEO4J_PASSWORD[^?}]*\}", COMPOSE) == []
    assert COMPOSE.count("${NEO4J_PASSWORD:?") == 2


def test_the_image_runs_as_another_user_than_root_and_is_probed() -> None:
    final = DOCKERFILE.rsplit("FROM ", 1)[1]
    assert "USER 10001" in final
    assert "router.client.healthcheck" in final
    assert "pip" not in final, "no build tool in the last layer"
    for path in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((DOCKER.parent / part).exists() for part in path.split()), path
