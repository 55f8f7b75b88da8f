"""grpc.health.v1: what of the service can serve, followed by asking its components again and again."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from router.api.interceptors import Context
from router.errors import RouterError

if TYPE_CHECKING:
    from router.app import Component

SOURCE_PREFIX = "source/"
CHECK_TIMEOUT_S = 5.0
"""A component that does not answer a check for so long counts as down."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

_log = structlog.get_logger(__name__)


class Health(HealthServicer):
    """Check and Watch of the library, and List, which it leaves out."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._server_status: dict[str, int] = dict.fromkeys(names, NOT_SERVING)

    async def List(self, request: Any, context: Context) -> Any:
        # The type stubs do not know this newer call.
        statuses = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self._server_status.items()}
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined]


class HealthWatch:
    """Keeps `Health` true: the whole service and each RPC service follow the components that everything needs; a source follows its own.

    Args:
        components: What can be up or down.
        services: Full names of the RPC services; the empty name stands for the whole.
        sources: Names of the configured sources, shown as `source/<name>`.
        interval_s: Pause between two rounds of checks, in seconds.
    """

    def __init__(self, components: Sequence[Component], services: Iterable[str], sources: Iterable[str], interval_s: float) -> None:
        self._components = tuple(components)
        self._services = ("", *services)
        self._sources = tuple(sources)
        self._interval_s = interval_s
        self._down: dict[str, str] = {}
        self.servicer = Health([*self._services, *(SOURCE_PREFIX + source for source in self._sources)])

    async def follow(self) -> None:
        """Check for ever."""
        while True:
            await self.check()
            await asyncio.sleep(self._interval_s)

    async def check(self) -> None:
        """One round."""
        async with asyncio.TaskGroup() as group:
            checks = {component.name: group.create_task(trouble_of(component)) for component in self._components}
        down = {name: trouble for name, check in checks.items() if (trouble := check.result())}
        self._log_changes(down)
        broken = {component.source for component in self._components if component.name in down}
        for service in self._services:
            await self.servicer.set(service, NOT_SERVING if "" in broken else SERVING)
        for source in self._sources:
            await self.servicer.set(SOURCE_PREFIX + source, NOT_SERVING if broken & {"", source} else SERVING)

    def _log_changes(self, down: dict[str, str]) -> None:
        for name in down.keys() - self._down.keys():
            _log.warning("component_down", component=name, message=down[name])
        for name in self._down.keys() - down.keys():
            _log.info("component_up", component=name)
        self._down = down


async def trouble_of(component: Component) -> str:
    """What is wrong with a component and what to do; empty when all is well."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await component.check()
    except RouterError as error:
        return error.message
    except TimeoutError:
        return f"{component.name} did not answer for {CHECK_TIMEOUT_S:g} s"
    except Exception as exc:  # noqa: BLE001 - a check with a bug must not stop the others; the log has its traceback
        _log.exception("component_check_failed", component=component.name)
        return f"the check of {component.name} failed with {type(exc).__name__}; the log has more"
    return ""
