"""Asks a running service, from async code or from blocking code. Results are `router.types`, failures are `router.errors`.

Needs grpc and the contract only: no store, no model.
"""

from router.client.async_client import AsyncRouterClient
from router.client.channel import DEFAULT_TARGET
from router.client.errors import STREAM_BROKEN, UNREACHABLE
from router.client.policies import Policies, Policy
from router.client.sync_client import RouterClient

__all__ = ["DEFAULT_TARGET", "STREAM_BROKEN", "UNREACHABLE", "AsyncRouterClient", "Policies", "Policy", "RouterClient"]
