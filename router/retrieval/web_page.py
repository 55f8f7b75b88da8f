"""Reading pages of the public web. The addresses come from search results and redirects, so none of them is trusted."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import ipaddress
import socket
import zlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpx

from router.errors import PermissionDenied, WebUnavailable

MAX_REDIRECTS = 5
MAX_ADDRESSES = 3
"""Addresses of one host that are tried."""
MAX_EXTRACTIONS_AT_ONCE = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "user-agent": "Mozilla/5.0 (compatible; graphrag-router)",
    "accept": "text/html, text/plain;q=0.8",
    "accept-encoding": "gzip",  # the one that read_body undoes within a bound
}

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""Host name -> addresses as text."""

_UNICAST_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# What `is_global` of some Python releases lets pass (IANA special-purpose address registries).
_SPECIAL: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is an ordinary one of the public internet; for IPv6 that carries an IPv4 address, whether that one is."""
    if isinstance(address, IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if carried is not None:
            return is_public(carried)
        if address not in _UNICAST_V6:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _SPECIAL)


async def resolve_host(host: str) -> list[str]:
    """The addresses of a host by the system's resolver, IPv4 first: many containers have no IPv6 route."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class AddressGuard:
    """Decides which addresses a URL may be fetched from.

    Args:
        resolve: How names become addresses.
        allow: Hosts that are taken as they are, so that a test can read from a server on this machine.
    """

    def __init__(self, resolve: Resolver = resolve_host, allow: Collection[str] = ()) -> None:
        self._resolve = resolve
        self._allow = frozenset(allow)

    async def addresses(self, url: httpx.URL) -> list[str]:
        """The checked addresses of the URL's host.

        Raises:
            PermissionDenied: The URL is not one of a public web page.
            WebUnavailable: The host is not known.
        """
        if url.scheme not in {"http", "https"} or not url.host:
            raise _refused("only http and https addresses are read")
        if url.userinfo:
            raise _refused("an address with a user name or password is not read")
        host = url.raw_host.decode("ascii")
        try:
            addresses = await self._resolve(host)
        except (OSError, UnicodeError) as exc:
            raise WebUnavailable(f"the host {host!r} is not known", reason="HOST_NOT_FOUND") from exc
        if host not in self._allow:
            if url.port is not None:  # httpx drops the scheme's own port
                raise _refused(f"port {url.port} is not that of a public web page")
            # Whatever way the host is written (127.1, 0x7f000001, 2130706433), what counts is the address that will be connected to.
            # One private address refuses the whole host: an honest site has none.
            if not all(is_public(ipaddress.ip_address(address)) for address in addresses):
                raise _refused(f"the host {host!r} is not on the public internet")
        return list(addresses)


def _refused(message: str) -> PermissionDenied:
    return PermissionDenied(message, reason="ADDRESS_REFUSED")


class PinnedTransport(httpx.AsyncBaseTransport):
    """Connects to the very addresses that the guard has checked.

    Were the name resolved again to connect, it could point elsewhere by then (DNS rebinding). Host header, TLS server name and
    certificate check keep the name.
    """

    def __init__(self, guard: AddressGuard, transport: httpx.AsyncBaseTransport) -> None:
        self._guard = guard
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        failure = httpx.ConnectError("the host has no address")
        for address in (await self._guard.addresses(request.url))[:MAX_ADDRESSES]:
            try:
                return await self._transport.handle_async_request(_pinned(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
                failure = httpx.ConnectError(str(exc))
        raise failure

    async def aclose(self) -> None:
        await self._transport.aclose()


def _pinned(request: httpx.Request, address: str) -> httpx.Request:
    name = request.url.raw_host.decode("ascii")
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,  # has the Host already
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": name},
    )


@dataclass(frozen=True, slots=True)
class Page:
    """What is left of a page without navigation and decoration; title and published are empty when the page does not say."""

    title: str
    text: str
    published: str


@dataclass(frozen=True, slots=True)
class _Document:
    content_type: str
    charset: str | None
    body: bytes


class PageReader:
    """Reads the main text of public web pages, each bounded in size, time and redirects."""

    def __init__(self, client: httpx.AsyncClient, max_bytes: int, timeout_s: float) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        # Extraction cannot be interrupted; in a pool of its own a page made to be slow delays other pages only.
        self._threads = ThreadPoolExecutor(MAX_EXTRACTIONS_AT_ONCE, thread_name_prefix="page")

    @classmethod
    async def open(cls, max_bytes: int, timeout_s: float, guard: AddressGuard | None = None) -> PageReader:
        """Open a reader.

        Args:
            max_bytes: A page is cut here, before and after it is unpacked.
            timeout_s: Longest time for one page, with its redirects and the extraction, in seconds.
            guard: Which addresses may be read; the default takes the public internet only.
        """
        return cls(await guarded_client(guard or AddressGuard(), timeout_s), max_bytes, timeout_s)

    async def read(self, url: str) -> Page:
        """Read one page.

        Raises:
            PermissionDenied: The address, or one that it redirects to, is not on the public web.
            WebUnavailable: The page cannot be had, is neither HTML nor plain text, or has no text.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                document = await self._fetch(url)
                page = await asyncio.get_running_loop().run_in_executor(self._threads, _extract, document)
        except TimeoutError as exc:
            raise WebUnavailable(f"{url} took longer than {self._timeout_s:g} s", reason="PAGE_TIMEOUT") from exc
        except (httpx.HTTPError, httpx.InvalidURL, zlib.error) as exc:
            raise WebUnavailable(f"{url} cannot be read: {type(exc).__name__} {exc}", reason="PAGE_UNREADABLE") from exc
        if not page.text:
            raise WebUnavailable(f"{url} has no text", reason="PAGE_HAS_NO_TEXT")
        return page

    async def _fetch(self, url: str) -> _Document:
        target = httpx.URL(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._client.stream("GET", target) as response:
                if response.status_code not in _REDIRECTS:
                    return await _read_document(response, self._max_bytes)
                target = _join(target, response.headers.get("location", ""))
        raise WebUnavailable(f"{url} redirects more than {MAX_REDIRECTS} times", reason="PAGE_REDIRECTS")

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()


async def guarded_client(guard: AddressGuard, timeout_s: float) -> httpx.AsyncClient:
    """A client that reads only from addresses that the guard lets through, follows no redirect and keeps no cookie."""
    context = await asyncio.to_thread(httpx.create_ssl_context)  # reads the certificates from disk
    # No connection is kept: the pool knows a connection by its address, and two names may share one.
    transport = httpx.AsyncHTTPTransport(verify=context, limits=httpx.Limits(max_connections=50, max_keepalive_connections=0))
    return httpx.AsyncClient(
        transport=PinnedTransport(guard, transport),
        headers=_HEADERS,
        timeout=httpx.Timeout(timeout_s, connect=timeout_s / MAX_ADDRESSES),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # a cookie would tie one tenant's questions to another's
        trust_env=False,  # behind a proxy the address that is connected to would be out of our hands
    )


def _join(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return url.join(location)
    except ValueError as exc:  # from urllib, which does not know httpx's own error
        raise httpx.InvalidURL(f"redirect to {location!r}") from exc


async def _read_document(response: httpx.Response, max_bytes: int) -> _Document:
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code != 200:
        raise WebUnavailable(f"{response.url} answered with status {response.status_code}", reason="PAGE_STATUS")
    if content_type not in {"text/html", "text/plain"}:
        raise WebUnavailable(f"{response.url} is {content_type or 'of no stated type'}, not HTML or plain text", reason="PAGE_TYPE")
    return _Document(content_type, response.charset_encoding, await read_body(response, max_bytes))


async def read_body(response: httpx.Response, max_bytes: int) -> bytes:
    """The body, cut at `max_bytes` both as it came and unpacked; httpx's own decoder would unpack a chunk of a gzip bomb whole."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise WebUnavailable(f"{response.url} is packed with {encoding!r}, which was not asked for", reason="PAGE_UNREADABLE")
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    body = bytearray()
    received = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        body += chunk if gzip is None else gzip.decompress(chunk, max_bytes - len(body))
        if received >= max_bytes or len(body) >= max_bytes or (gzip is not None and gzip.eof):
            break
    return bytes(body[:max_bytes])


def _extract(document: _Document) -> Page:
    content = _decode(document)
    if document.content_type == "text/plain":
        text = content if isinstance(content, str) else content.decode("utf-8", errors="replace")
        return Page(title="", text=text.strip(), published="")
    return _extract_html(content)


def _decode(document: _Document) -> str | bytes:
    """The text by its stated character set, else UTF-8; bytes when it is neither, and the extractor has to guess.

    The incremental decoder forgives a last character that was cut.
    """
    if document.charset is not None:
        with contextlib.suppress(LookupError, ValueError):  # unknown, or no encoding of texts (`hex`, `idna`)
            return document.body.decode(document.charset, errors="replace")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(document.body)
    except UnicodeDecodeError:
        return document.body


def _extract_html(content: str | bytes) -> Page:
    import trafilatura

    try:
        found = trafilatura.bare_extraction(
            content, with_metadata=True, include_comments=False, date_extraction_params={"extensive_search": False, "original_date": True}
        )
    except Exception as exc:
        # Anything may come out of a parser that is fed with what a stranger wrote; it is the page that is at fault.
        raise WebUnavailable("the page's text could not be extracted", reason="PAGE_UNREADABLE") from exc
    if found is None:
        return Page(title="", text="", published="")
    return Page(found.title or "", (found.text or "").strip(), found.date or "")
