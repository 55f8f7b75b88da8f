"""The life of the server: health, reflection, start and stop."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs

from router.api.server import SERVICES, start, until_signal
from router.errors import ConfigurationError, StoreUnavailable
from router.pb import router_service_pb2 as router_pb
from router.pb import types_pb2 as pb
from router.settings import ServerSettings
from router.testing.engine import ListRetriever, StuckRetriever, small_engine
from tests.integration.grpc_service import PASSAGE, Service, SmallApp, SmallComponent, running

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
QUESTION = pb.Query(parts=[pb.Part(text="Who keeps the lantern?")])


class Part:
    """A component that can be taken down."""

    def __init__(self) -> None:
        self.down = False

    async def check(self) -> str:
        if self.down:
            raise StoreUnavailable("it is down: start it")
        return "it is up"


async def _until(service: Service, name: str, status: int) -> None:
    async with asyncio.timeout(10):
        while (await service.health.Check(health_pb2.HealthCheckRequest(service=name))).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _statuses(service: Service) -> dict[str, int]:
    reply = await service.health.List(health_pb2.HealthListRequest())
    return {name: part.status for name, part in reply.statuses.items()}


async def test_health_follows_the_components() -> None:
    journal, graph = Part(), Part()
    engine = small_engine({"vector": ListRetriever(), "graph": ListRetriever()})
    components = [SmallComponent("journal", journal.check), SmallComponent("graph database", graph.check, source="graph")]
    async with running(SmallApp(engine=engine, components=components)) as service:
        await _until(service, "", SERVING)
        assert await _statuses(service) == dict.fromkeys(["", *SERVICES, "source/vector", "source/graph"], SERVING)
        with capture_logs() as lines:
            graph.down = True
            await _until(service, "source/graph", NOT_SERVING)
            statuses = await _statuses(service)
            assert [name for name, status in statuses.items() if status == NOT_SERVING] == ["source/graph"]
            journal.down = True
            await _until(service, "", NOT_SERVING)
            async with asyncio.timeout(10):
                while SERVING in (await _statuses(service)).values():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            journal.down = graph.down = False
            await _until(service, "", SERVING)
            await _until(service, "source/graph", SERVING)
        events = [(line["event"], line["component"]) for line in lines]
        assert events == [
            ("component_down", "graph database"),
            ("component_down", "journal"),
            *sorted([("component_up", "graph database"), ("component_up", "journal")], key=events.index),
        ]


async def test_health_starts_as_not_serving() -> None:
    checked = asyncio.Event()

    async def slow() -> str:
        await checked.wait()
        return ""

    async with running(SmallApp(components=[SmallComponent("slow", slow)])) as service:
        assert set((await _statuses(service)).values()) == {NOT_SERVING}
        checked.set()
        await _until(service, "", SERVING)


async def test_a_check_with_a_bug_counts_as_down_and_stops_no_other() -> None:
    async def buggy() -> str:
        raise KeyError("bug")

    engine = small_engine({"vector": ListRetriever(), "web": ListRetriever()})
    async with running(SmallApp(engine=engine, components=[SmallComponent("web", buggy, source="web")])) as service:
        await _until(service, "", SERVING)
        await _until(service, "source/web", NOT_SERVING)


async def test_health_is_answered_without_credential_and_under_load() -> None:
    stuck = StuckRetriever()
    keys = [{"tenant": "ada", "key": "k"}]
    async with running(SmallApp(engine=small_engine({"vector": stuck})), api_keys=keys, max_concurrent_calls=1) as service:
        call = service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION), metadata=(("authorization", "Bearer k"),))
        await stuck.asked.wait()
        await _until(service, "", SERVING)
        call.cancel()


async def test_a_stop_says_so_first_and_lets_running_calls_finish() -> None:
    class Slow(ListRetriever):
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def search(self, request: Any) -> Any:
            self.asked.set()
            await self.go_on.wait()
            return await super().search(request)

    slow = Slow([PASSAGE])
    async with running(SmallApp(engine=small_engine({"vector": slow}))) as service:
        await _until(service, "", SERVING)
        watch = service.health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        call = service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION))
        await slow.asked.wait()
        stopping = asyncio.create_task(service.server.stop(60))
        assert (await watch.read()).status == NOT_SERVING
        assert not stopping.done()
        slow.go_on.set()
        assert [item.id for item in (await call).evidence] == ["chunk-1"]
        # The open watch must not hold the server for a minute.
        async with asyncio.timeout(30):
            await stopping


async def test_a_stop_cancels_what_does_not_finish_in_time() -> None:
    stuck = StuckRetriever()
    async with running(SmallApp(engine=small_engine({"vector": stuck}))) as service:
        call = service.router.Retrieve(router_pb.RetrieveRequest(query=QUESTION))
        await stuck.asked.wait()
        await service.server.stop(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert stuck.cancelled.is_set()


async def test_a_port_in_use_is_said_clearly() -> None:
    async with running() as service:
        with pytest.raises(ConfigurationError, match=str(service.server.port)) as raised:
            await start(SmallApp(), ServerSettings(port=service.server.port))  # type: ignore[arg-type]
        assert raised.value.field == "server.port"
    with pytest.raises(ConfigurationError):
        await start(SmallApp(), ServerSettings(host="192.0.2.1", port=0))  # type: ignore[arg-type]


async def test_calls_go_on_when_connections_age() -> None:
    async with running(max_connection_age_s=0.1) as service:
        for _ in range(3):
            reply = await service.router.Route(router_pb.RouteRequest(query=QUESTION))
            assert reply.decision.policy == "all"
            async with asyncio.timeout(30):  # until the server has asked this connection to end
                await service.channel.wait_for_state_change(grpc.ChannelConnectivity.READY)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_for_the_stop(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    waiting = asyncio.create_task(until_signal())
    await asyncio.sleep(0)
    try:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(10):
            await waiting
        # A second one takes its usual effect.
        assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}
    finally:
        signal.signal(number, before)


# --- tools of others ------------------------------------------------------------------------------------------------


def _tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=Path.home() / "go/bin")
    if not found:
        pytest.skip(f"{name} is not installed: `go install` it (docs of the project say which version)")
    return found


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_grpcurl_lists_describes_and_calls_by_reflection() -> None:
    grpcurl = _tool("grpcurl")
    async with running() as service:
        code, listed = await _run(grpcurl, "-plaintext", service.target, "list")
        assert code == 0, listed
        assert set(SERVICES) | {"grpc.health.v1.Health"} <= set(listed.split())
        _, described = await _run(grpcurl, "-plaintext", service.target, "describe", "graphrag.router.v1.Query")
        assert "history" in described
        question = json.dumps({"query": {"parts": [{"text": "Who keeps the lantern?"}]}})
        code, answered = await _run(grpcurl, "-plaintext", "-d", question, service.target, "graphrag.router.v1.RouterService/Answer")
        assert code == 0, answered
        assert json.loads(answered)["answer"]["text"] == "Ada keeps the lantern lit. [1]"
        code, refused = await _run(grpcurl, "-plaintext", "-d", "{}", service.target, "graphrag.router.v1.RouterService/Answer")
        assert code != 0
        assert "InvalidArgument" in refused
        assert "query.parts" in refused


async def test_grpc_health_probe_is_answered() -> None:
    probe = _tool("grpc-health-probe")
    async with running() as service:
        await _until(service, "", SERVING)
        for name in ("", "graphrag.router.v1.RouterService", "source/vector"):
            code, output = await _run(probe, f"-addr={service.target}", f"-service={name}")
            assert code == 0, output
