"""Who is asking: the credential stands for a tenant; the body of a call never names one."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from router.errors import Unauthenticated
from router.settings import ServerSettings

SCHEME = "bearer"


class Tenants:
    """Keys and their tenants; without any key every caller is the anonymous tenant."""

    def __init__(self, settings: ServerSettings) -> None:
        self._tenants = [(credential.key.get_secret_value().encode(), credential.tenant) for credential in settings.api_keys]
        self._anonymous = settings.anonymous_tenant

    def of(self, metadata: Iterable[tuple[str, str | bytes]]) -> str:
        """The tenant of a call with this metadata.

        Raises:
            Unauthenticated: Keys are configured and this call has none of them.
        """
        if not self._tenants:
            return self._anonymous
        values = [value for name, value in metadata if name == "authorization"]
        if not values:
            raise Unauthenticated("send a credential as metadata `authorization: Bearer <key>`", reason="CREDENTIAL_MISSING")
        scheme, _, key = _text(values[0]).partition(" ")
        if scheme.lower() != SCHEME:
            raise Unauthenticated("the credential must have the form `Bearer <key>`", reason="CREDENTIAL_MALFORMED")
        # Every key is compared in full, so that the time taken tells nothing about any of them.
        matching = [tenant for known, tenant in self._tenants if hmac.compare_digest(known, key.strip().encode())]
        if not matching:
            raise Unauthenticated("the credential is not one of this service's keys", reason="CREDENTIAL_UNKNOWN")
        return matching[0]


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
