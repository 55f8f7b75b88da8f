"""How the clients connect."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S = 60.0

OPTIONS: Sequence[tuple[str, int | str]] = (
    # The service bounds what it takes; its replies may be long (the text of a document).
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Spread calls over all addresses of a name, such as the replicas behind a headless service.
    ("grpc.lb_policy_name", "round_robin"),
)


def credential(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata sent with every call."""
    return (("authorization", f"Bearer {api_key}"),) if api_key else ()
