"""`python -m router.client.healthcheck [HOST:PORT]`: exit status 0 when the service says SERVING, for container health checks."""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from router.client.channel import DEFAULT_TARGET

PATIENCE_S = 4.0


def main(target: str) -> int:
    with grpc.insecure_channel(target) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        except grpc.RpcError as error:
            print(f"{target}: {error.code().name}", file=sys.stderr)  # noqa: T201 - a program's own words
            return 1
    return 0 if reply.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or [DEFAULT_TARGET])))
