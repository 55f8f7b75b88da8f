"""`python -m router.client.healthcheck [HOST:PORT]`: exit status 0 when the service says that it serves, for container health checks."""

from __future__ import annotations

import sys

from router.client.channel import DEFAULT_TARGET
from router.client.sync_client import RouterClient
from router.errors import RouterError

PATIENCE_S = 4.0
WHOLE_SERVICE = ""


def main(target: str) -> int:
    with RouterClient(target, timeout_s=PATIENCE_S) as client:
        try:
            return 0 if client.health().get(WHOLE_SERVICE, False) else 1
        except RouterError as error:
            print(f"{target}: {error.message}", file=sys.stderr)  # noqa: T201 - a program's own words
            return 1


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or [DEFAULT_TARGET])))
