"""The gRPC server: our three services, health and reflection on one port."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from router.api.admission import Admission
from router.api.corpus_service import CorpusServicer
from router.api.credentials import Tenants
from router.api.health import HealthWatch
from router.api.interceptors import CallInterceptor
from router.api.policy_service import PolicyServicer
from router.api.router_service import RouterServicer
from router.errors import ConfigurationError
from router.pb import (
    corpus_service_pb2,
    corpus_service_pb2_grpc,
    policy_service_pb2,
    policy_service_pb2_grpc,
    router_service_pb2,
    router_service_pb2_grpc,
)
from router.settings import ServerSettings

if TYPE_CHECKING:
    from router.app import App

SERVICES = tuple(
    service.full_name
    for file in (router_service_pb2, corpus_service_pb2, policy_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
HEALTH_INTERVAL_S = 5.0
KEEPALIVE_S = 30.0
"""How often a silent connection is asked whether its other end still lives, in seconds."""
FLUSH_S = 0.5
"""A call ends a little before its last bytes are sent; so long they may take after the last call ended."""

_log = structlog.get_logger(__name__)


class Server:
    """A running server. Made by `start`; stop it with `stop`."""

    def __init__(self, server: grpc.aio.Server, port: int, watch: HealthWatch, admission: Admission) -> None:
        self.port = port
        self._server = server
        self._health = watch.servicer
        self._admission = admission
        self._following = asyncio.create_task(watch.follow())

    async def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING, take no new call, let running ones finish for at most `grace_s` seconds, then cancel them."""
        self._following.cancel()
        await asyncio.wait({self._following})
        await self._health.enter_graceful_shutdown()
        draining = asyncio.create_task(self._server.stop(grace_s))
        idle = asyncio.create_task(self._admission.wait_idle())
        await asyncio.wait({draining, idle}, return_when=asyncio.FIRST_COMPLETED)
        # An open health watch would hold the server for the whole grace period; nobody waits for its end.
        await self._server.stop(min(FLUSH_S, grace_s))
        await draining
        idle.cancel()


async def start(app: App, settings: ServerSettings, *, health_interval_s: float = HEALTH_INTERVAL_S) -> Server:
    """Serve `app` on the configured port; `Server.port` is the one taken.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    admission = Admission(settings.max_concurrent_calls)
    interceptor = CallInterceptor(Tenants(settings), admission, settings.default_deadline_s)
    server = grpc.aio.server(interceptors=(interceptor,), options=_options(settings))
    router_service_pb2_grpc.add_RouterServiceServicer_to_server(RouterServicer(app.engine), server)
    corpus_service_pb2_grpc.add_CorpusServiceServicer_to_server(CorpusServicer(app.corpus), server)
    policies = PolicyServicer(app.policy_descriptions, app.settings.policy_chain, app.engine.sources, app.decisions)
    policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(policies, server)
    watch = HealthWatch(app.components, SERVICES, app.engine.sources, health_interval_s)
    health_pb2_grpc.add_HealthServicer_to_server(watch.servicer, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = _listen(server, settings)
    await server.start()
    return Server(server, port, watch, admission)


@asynccontextmanager
async def serving(app: App, settings: ServerSettings, *, health_interval_s: float = HEALTH_INTERVAL_S) -> AsyncIterator[Server]:
    """`start` and, at the end, `stop`."""
    server = await start(app, settings, health_interval_s=health_interval_s)
    try:
        yield server
    finally:
        await server.stop(settings.graceful_stop_s)


async def until_signal() -> None:
    """Until SIGTERM or SIGINT asks for a stop. A second one takes its usual effect, for those who cannot wait."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _listen(server: grpc.aio.Server, settings: ServerSettings) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        return server.add_insecure_port(f"{host}:{settings.port}")
    except RuntimeError as exc:
        message = f"cannot listen on {host}:{settings.port}: another process has this port, or the address is not of this machine"
        raise ConfigurationError(f"{message}; stop the other one or set server.port (0 takes a free one)", field="server.port") from exc


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    options = [
        # By default Linux lets two servers share a port, and each gets some of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", round(KEEPALIVE_S * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Clients may ask in the same way, also between calls.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]
    if settings.max_connection_age_s is not None:
        options += [
            ("grpc.max_connection_age_ms", round(settings.max_connection_age_s * 1000)),
            ("grpc.max_connection_age_grace_ms", round(settings.graceful_stop_s * 1000)),
        ]
    return options
