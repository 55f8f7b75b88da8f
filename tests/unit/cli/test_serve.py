"""`serve`, `doctor`, `config` and `eval`: the commands that read the settings."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from router.api.status import CODES
from router.cli.failures import EXIT_CODES, exit_code_of
from router.cli.main import app
from router.errors import ConfigurationError, MissingExtra
from tests.integration.grpc_service import SmallApp, SmallComponent, running
from tests.unit.cli.small_service import replace_backends

SERVE = (sys.executable, "-m", "tests.unit.cli.small_service", "serve", "--set", "log.format=json", "--set", "server.port=0")
ROOT = Path(__file__).parents[3]


def invoke(*arguments: str, env: dict[str, str] | None = None) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "TERM": "dumb", **(env or {})})


@asynccontextmanager
async def served(*more: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[dict[str, Any]]]]:
    """A service in a process of its own, and what it logged until it was ready."""
    process = await asyncio.create_subprocess_exec(*SERVE, *more, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(60):
            while not lines or lines[-1]["event"] != "ready":
                lines.append(json.loads(await process.stderr.readline()))
        yield process, lines
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_says_what_is_there_serves_and_stops(number: signal.Signals) -> None:
    async with served() as (process, lines):
        assert [(line["name"], line["state"], line["says"]) for line in lines if line["event"] == "component"] == [
            ("journal", "up", "12 documents"),
            ("graph database", "down", "nothing answers at bolt://127.0.0.1:1: start the database"),
        ]
        port = lines[-1]["port"]
        answer = await asyncio.to_thread(invoke, "ask", "Who?", "--target", f"127.0.0.1:{port}", "--json")
        assert json.loads(answer.stdout)["found"] is True
        process.send_signal(number)
        _, errors = await process.communicate()
        assert process.returncode == 0
        events = [json.loads(line)["event"] for line in errors.decode().splitlines()]
        assert events[-2:] == ["stopping", "stopped"]


async def test_serve_on_a_taken_port_says_so() -> None:
    async with running() as service:
        port = f"server.port={service.server.port}"
        process = await asyncio.create_subprocess_exec(*SERVE, "--set", port, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert f"error: server.port: cannot listen on 127.0.0.1:{service.server.port}" in errors.decode()


def test_serve_with_a_wrong_setting_does_not_start() -> None:
    result = invoke("serve", "--set", "server.port=99999")
    assert result.exit_code == 2
    assert "server.port: Input should be less than or equal to 65535" in result.stderr


# --- doctor ---------------------------------------------------------------------------------------------------------


async def test_doctor_asks_the_running_service() -> None:
    down = asyncio.Event()

    async def check() -> str:
        if down.is_set():
            raise ConfigurationError("it is down")
        return "fine"

    async with running(SmallApp(components=[SmallComponent("journal", check)])) as service:

        async def doctor() -> Any:
            return await asyncio.to_thread(invoke, "doctor", "--target", service.target, "--json")

        async with asyncio.timeout(30):
            while (healthy := await doctor()).exit_code:  # noqa: ASYNC110 - polled over gRPC
                await asyncio.sleep(0.05)
            document = json.loads(healthy.stdout)
            assert (document["ok"], document["service"]) == (True, {"target": service.target, "running": True})
            assert {"service", "source/vector"} <= {part["name"] for part in document["checks"]}
            down.set()
            while not (ill := await doctor()).exit_code:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert ill.exit_code == 1
    assert json.loads(ill.stdout)["ok"] is False


def test_doctor_opens_the_parts_when_no_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "router.app", replace_backends())
    result = invoke("doctor", "--target", "127.0.0.1:1", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"], document["service"]["running"]) == (0, True, False)
    assert [(part["name"], part["ok"], part["needed"]) for part in document["checks"]] == [
        ("journal", True, True),
        ("graph database", False, False),
    ]
    assert "start the database" in document["checks"][1]["message"]
    said = invoke("doctor", "--target", "127.0.0.1:1")
    assert "No service runs at 127.0.0.1:1" in said.stdout
    assert "start the database" in " ".join(said.stdout.split())


def test_doctor_tells_why_the_service_could_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    backends = replace_backends()

    @asynccontextmanager
    async def open_app(settings: Any) -> AsyncIterator[Any]:
        raise MissingExtra("torch", "this model")
        yield

    backends.open_app = open_app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "router.app", backends)
    result = invoke("doctor", "--target", "127.0.0.1:1", "--json")
    assert result.exit_code == 1
    (check,) = json.loads(result.stdout)["checks"]
    assert (check["name"], check["ok"]) == ("start", False)
    assert "pip install 'graphrag-router[torch]'" in check["message"]


# --- config ---------------------------------------------------------------------------------------------------------


def test_config_show_masks_secrets(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("server: {port: 0, api_keys: [{tenant: ada, key: very-secret}]}\ngraph: {uri: 'bolt://x', password: hush-hush}\n")
    shown = invoke("config", "show", "--config", str(file), "--set", "retrieval.limit=3")
    assert shown.exit_code == 0, shown.output
    tree = yaml.safe_load(shown.stdout)
    assert (tree["server"]["port"], tree["retrieval"]["limit"]) == (0, 3)
    document = invoke("config", "show", "--config", str(file), "--json")
    assert json.loads(document.stdout)["graph"]["uri"] == "bolt://x"
    assert "very-secret" not in shown.output + document.output
    assert "hush-hush" not in shown.output + document.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "server.port=many"], "server.port: Input should be a valid integer"),
        (["--set", "fusion.method=stir"], "fusion.method: Input should be 'walk', 'rrf' or 'weighted'"),
        (["--set", "server.prot=1"], "server.prot: Extra inputs are not permitted"),
        (["--config", "no-such-file.yaml"], "no-such-file.yaml does not exist"),
    ],
)
def test_config_check_names_the_path_and_what_is_allowed(arguments: list[str], said: str) -> None:
    result = invoke("config", "check", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    document = invoke("config", "check", *arguments, "--json")
    assert json.loads(document.stdout)["error"]["reason"] == "CONFIGURATION"


def test_config_check_and_schema() -> None:
    assert invoke("config", "check").stdout == "the settings are valid\n"
    assert json.loads(invoke("config", "check", "--json").stdout) == {"valid": True}
    schema = json.loads(invoke("config", "schema").stdout)
    assert "Port to listen on" in schema["$defs"]["ServerSettings"]["properties"]["port"]["description"]
    assert invoke("config", "check", "--set", "nonsense").exit_code == 2


def test_an_unknown_variable_is_refused() -> None:
    result = invoke("config", "check", env={"ROUTER_SERVR__PORT": "1"})
    assert result.exit_code == 2
    assert "ROUTER_SERVR__PORT" in result.stderr


def test_variables_of_the_command_are_no_settings() -> None:
    result = invoke("config", "check", env={"GRAPHRAG_ROUTER_TARGET": "x:1", "GRAPHRAG_ROUTER_API_KEY": "k"})
    assert result.exit_code == 0, result.output


# --- the rest -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CODES)
def test_every_error_has_an_exit_code(kind: Any) -> None:
    error = kind("torch", "x") if kind is MissingExtra else kind("x")
    assert exit_code_of(error) in set(EXIT_CODES.values())
    assert exit_code_of(error) != 0


def test_the_command_starts_without_any_backend() -> None:
    heavy = ("pymilvus", "neo4j", "spacy", "llama_index", "onnxruntime", "sqlalchemy", "numpy")
    code = f"import sys, router.cli; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"


def test_the_service_starts_without_torch() -> None:
    code = "import sys, router.app; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.strip() == "False"


def test_version() -> None:
    assert invoke("--version").stdout == "0.1.0\n"
