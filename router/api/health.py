"""grpc.health.v1: what of the service can serve, followed by asking its components again and again."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: what is there, or what is wrong and what to do."""

    component: Component
    ok: bool
    message: str


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
        findings = await examine_all(self._components)
        down = {finding.component.name: finding.message for finding in findings if not finding.ok}
        self._log_changes(down)
        broken = {finding.component.source for finding in findings if not finding.ok}
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


async def examine_all(components: Sequence[Component]) -> list[Finding]:
    """Check all components at the same time; findings in their order."""
    return await asyncio.gather(*map(examine, components))


async def examine(component: Component) -> Finding:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return Finding(component, True, await component.check())
    except RouterError as error:
        return Finding(component, False, error.message)
    except TimeoutError:
        return Finding(component, False, f"no answer for {CHECK_TIMEOUT_S:g} s")
    except Exception as exc:  # noqa: BLE001 - a check with a bug must not stop the others; the log has its traceback
        _log.exception("component_check_failed", component=component.name)
        return Finding(component, False, f"the check itself failed with {type(exc).__name__}; the log has more")
