"""Pictures of a question that are given by address: of the own corpus, in the address itself, or from hosts that the operator allows."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Protocol
from urllib.parse import unquote_to_bytes

import httpx

from router.errors import InvalidInput, NotFound, PermissionDenied, RouterError, WebUnavailable
from router.retrieval.web_page import AddressGuard, guarded_client, read_body
from router.settings import PictureAddressSettings
from router.stores.pictures import PictureStore

OWN = "picture:"
"""Before the id of a picture of the corpus, as evidence tells it."""


class PictureIndex(Protocol):
    """Which pictures a tenant has (the journal)."""

    async def picture(self, tenant: str, picture_id: str) -> object | None: ...


class PictureAddresses:
    """Reads pictures by address. Close it.

    Args:
        settings: Allowed hosts and limits.
        index: Which pictures are whose.
        store: Their files.
        client: Reads from the allowed hosts.
    """

    def __init__(self, settings: PictureAddressSettings, index: PictureIndex, store: PictureStore, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._index = index
        self._store = store
        self._client = client

    @classmethod
    async def open(
        cls, settings: PictureAddressSettings, index: PictureIndex, store: PictureStore, guard: AddressGuard | None = None
    ) -> PictureAddresses:
        """Open a reader; the default guard lets through the public internet only."""
        return cls(settings, index, store, await guarded_client(guard or AddressGuard(), settings.timeout_s))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def read(self, tenant: str, uri: str, field: str) -> bytes:
        """The file at an address.

        Raises:
            InvalidInput: The address is of no kind that is read, or its picture is too large; names `field`.
            NotFound: The tenant has no such picture.
            PermissionDenied: The host is not an allowed one, or not on the public internet.
            WebUnavailable: The host does not give it.
        """
        try:
            return await self._read(tenant, uri)
        except RouterError as error:
            error.field = field
            raise

    async def _read(self, tenant: str, uri: str) -> bytes:
        if uri.startswith(OWN):
            picture_id = uri.removeprefix(OWN)
            if await self._index.picture(tenant, picture_id) is None:
                raise NotFound(f"there is no picture {picture_id!r}")
            return await self._store.read(tenant, picture_id)
        if uri.startswith("data:"):
            return self._checked(_data_of(uri))
        if uri.startswith(("http://", "https://")):
            return self._checked(await self._fetched(uri))
        raise InvalidInput(f"an address of a picture begins with {OWN}, data:, http:// or https://")

    async def _fetched(self, uri: str) -> bytes:
        try:
            url = httpx.URL(uri)
            if url.host not in self._settings.allowed_hosts:
                message = f"pictures are not read from {url.host!r}: send the picture itself, or have pictures.allowed_hosts name it"
                raise PermissionDenied(message, reason="ADDRESS_REFUSED")
            async with asyncio.timeout(self._settings.timeout_s), self._client.stream("GET", url) as response:
                if response.status_code != 200:  # a redirect too: it would lead away from the allowed host
                    raise WebUnavailable(f"{url.host} answered with status {response.status_code}", reason="PICTURE_STATUS")
                return await read_body(response, self._settings.max_bytes + 1)
        except TimeoutError as exc:
            raise WebUnavailable(f"the picture took longer than {self._settings.timeout_s:g} s", reason="PICTURE_TIMEOUT") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise WebUnavailable(f"the picture cannot be had: {type(exc).__name__} {exc}", reason="PICTURE_UNREADABLE") from exc

    def _checked(self, content: bytes) -> bytes:
        if len(content) > self._settings.max_bytes:
            raise InvalidInput(f"the picture has more than the {self._settings.max_bytes:,} bytes that are taken", reason="TOO_LARGE")
        return content


def _data_of(uri: str) -> bytes:
    head, comma, data = uri.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidInput("a data: address is data:TYPE;base64,BYTES")
    raw = unquote_to_bytes(data)
    if not head.endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error as exc:
        raise InvalidInput("the bytes of the data: address are no base64") from exc
