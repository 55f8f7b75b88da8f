from __future__ import annotations

import asyncio
import gzip
import ipaddress
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import PermissionDenied, RouterError, WebUnavailable
from router.retrieval.web_page import MAX_REDIRECTS, AddressGuard, PageReader, PinnedTransport, is_public, resolve_host
from tests.unit.retrieval.web_site import HOST, Site, guard, page, redirect, reply, resolve, serve_site

MAX_BYTES = 50_000


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as running:
        yield running


@pytest.fixture
async def reader() -> AsyncIterator[PageReader]:
    opened = await PageReader.open(MAX_BYTES, timeout_s=10.0, guard=guard())
    yield opened
    await opened.aclose()


# --- addresses ------------------------------------------------------------------------------------------------------

PRIVATE_V4 = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.31.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
PRIVATE_V6 = [
    "::",
    "::1",
    "::7f00:1",
    "::ffff:0:127.0.0.1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e"]


def carriers(v4: str) -> list[str]:
    """The IPv6 addresses that lead to an IPv4 address: mapped, NAT64 and 6to4."""
    number = int(ipaddress.IPv4Address(v4))
    return [
        f"::ffff:{v4}",
        str(ipaddress.IPv6Address((0x64FF9B << 96) | number)),
        str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)),
    ]


@pytest.mark.parametrize("address", PRIVATE_V4 + PRIVATE_V6 + [carrier for v4 in PRIVATE_V4 for carrier in carriers(v4)])
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC + carriers("8.8.8.8"))
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses())
def test_no_address_passes_that_python_calls_special(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    special = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    if special and not (address.version == 6 and (address.ipv4_mapped or address.sixtofour)):
        assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
        "https://192.168.0.1/",
        "http://8.8.8.8:6379/",
        "http://user@8.8.8.8/",
        "http://user:word@8.8.8.8/",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "gopher://8.8.8.8/",
        "//8.8.8.8/",
        "http:///",
    ],
)
async def test_guard_refuses(url: str) -> None:
    with pytest.raises(PermissionDenied) as refused:
        await AddressGuard(resolve_host).addresses(httpx.URL(url))
    assert refused.value.reason == "ADDRESS_REFUSED"


@pytest.mark.parametrize("url", ["http://8.8.8.8/", "https://8.8.8.8/a?b=c", "http://8.8.8.8:80/", "https://8.8.8.8:443/"])
async def test_guard_passes_public_addresses(url: str) -> None:
    assert await AddressGuard(resolve_host).addresses(httpx.URL(url)) == ["8.8.8.8"]


async def test_one_private_address_refuses_the_host() -> None:
    async def mixed(_host: str) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(PermissionDenied):
        await AddressGuard(mixed).addresses(httpx.URL("http://mixed.example/"))


async def test_unknown_host_is_unavailable_not_refused() -> None:
    with pytest.raises(WebUnavailable) as failed:
        await AddressGuard(resolve_host).addresses(httpx.URL("http://" + "a" * 70 + ".invalid/"))
    assert failed.value.reason == "HOST_NOT_FOUND"


# --- pinning --------------------------------------------------------------------------------------------------------


async def test_connects_to_the_address_that_was_checked_and_keeps_the_name() -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])  # the second answer is what a rebinding name server would give
    seen: list[httpx.Request] = []

    async def rebinding(_host: str) -> list[str]:
        return next(answers)

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    transport = PinnedTransport(AddressGuard(rebinding), httpx.MockTransport(serve))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get("https://rebind.example/path?q=1")
        with pytest.raises(PermissionDenied):
            await client.get("https://rebind.example/")
    (request,) = seen
    assert str(request.url) == "https://8.8.8.8/path?q=1"
    assert request.headers["host"] == "rebind.example"
    assert request.extensions["sni_hostname"] == "rebind.example"


async def test_tls_greets_by_name() -> None:
    hello = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.set_result(await reader.read(2000))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    reader = await PageReader.open(MAX_BYTES, 10.0, guard())
    async with server:
        with pytest.raises(WebUnavailable):
            await reader.read(f"https://{HOST}:{server.sockets[0].getsockname()[1]}/")
        assert HOST.encode() in await hello
    await reader.aclose()


async def test_next_address_is_tried_when_one_does_not_answer(site: Site) -> None:
    async def two(_host: str) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]  # nothing listens on the first

    site.answers["/"] = reply(page("Second try", "The page came from the second address."))
    reader = await PageReader.open(MAX_BYTES, 10.0, AddressGuard(two, allow={HOST}))
    assert (await reader.read(site.url("/"))).title == "Second try"
    await reader.aclose()


async def test_cookies_are_not_kept(site: Site, reader: PageReader) -> None:
    site.answers["/"] = reply(page("Cookies", "One for you."), set_cookie="id=1; Path=/")
    await reader.read(site.url("/"))
    await reader.read(site.url("/"))
    assert [headers.get("cookie") for _, headers in site.requests] == [None, None]
    assert site.requests[0][1]["host"] == f"{HOST}:{site.port}"


# --- redirects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirects_are_followed(site: Site, reader: PageReader, status: str) -> None:
    site.answers["/old"] = redirect("/new", status)
    site.answers["/new"] = reply(page("New place", "Moved here."))
    assert (await reader.read(site.url("/old"))).title == "New place"
    assert site.paths() == ["/old", "/new"]


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:{port}/secret",
        "//127.0.0.1:{port}/secret",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/secret",
        "http://[::ffff:127.0.0.1]:{port}/secret",
        "http://2130706433/secret",
        "http://0x7f000001/secret",
        "http://127.1/secret",
        "http://inside.test/secret",
        "http://inside.test:{port}/secret",
        "http://me:word@site.test:{port}/secret",
        "file:///etc/passwd",
    ],
)
async def test_redirects_to_private_places_are_refused(site: Site, reader: PageReader, target: str) -> None:
    site.answers["/start"] = redirect("/next")
    site.answers["/next"] = redirect(target.format(port=site.port))
    site.answers["/secret"] = reply(page("Secret", "Not for you."))
    with pytest.raises(PermissionDenied) as refused:
        await reader.read(site.url("/start"))
    assert refused.value.reason == "ADDRESS_REFUSED"
    assert site.paths() == ["/start", "/next"]


async def test_redirect_loop_ends(site: Site, reader: PageReader) -> None:
    site.answers["/a"] = redirect("/b")
    site.answers["/b"] = redirect("/a")
    with pytest.raises(WebUnavailable) as failed:
        await reader.read(site.url("/a"))
    assert failed.value.reason == "PAGE_REDIRECTS"
    assert len(site.requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "location",
    ["http://[::1", "http://[x]/", "http://a b/", "http://exa\x01mple/", "http://host:99999/", "//\\evil", "javascript:alert(1)", ""],
)
async def test_nonsense_redirects_are_the_pages_fault(site: Site, reader: PageReader, location: str) -> None:
    site.answers["/a"] = redirect(location)
    with pytest.raises(RouterError):
        await reader.read(site.url("/a"))


# --- bounds ---------------------------------------------------------------------------------------------------------


async def test_endless_body_is_cut(site: Site, reader: PageReader) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            writer.write(b"word " * 1000)
            sent += 5000
            await writer.drain()

    site.answers["/"] = endless
    found = await reader.read(site.url("/"))
    assert MAX_BYTES - 5 <= len(found.text) <= MAX_BYTES
    assert sent < 20_000_000  # what the sockets buffer, no more


@pytest.mark.parametrize("piece", [b"H", b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nslow"])
async def test_slow_server_ends_by_the_timeout(site: Site, piece: bytes) -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(piece)
        while True:
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(b".")

    site.answers["/"] = slow
    reader = await PageReader.open(MAX_BYTES, 0.3, guard())
    with pytest.raises(WebUnavailable) as failed:
        await reader.read(site.url("/"))
    assert failed.value.reason == "PAGE_TIMEOUT"
    await reader.aclose()


async def test_gzip_is_unpacked(site: Site, reader: PageReader) -> None:
    site.answers["/"] = reply(gzip.compress(page("Packed", "Small on the way.")), content_encoding="gzip")
    assert "Small on the way." in (await reader.read(site.url("/"))).text


async def test_gzip_bomb_is_bounded(site: Site, reader: PageReader) -> None:
    bomb = gzip.compress(b"boom " * 6_000_000)  # 30 MB in some 44 kB
    assert len(bomb) < MAX_BYTES
    site.answers["/"] = reply(bomb, "text/plain", content_encoding="gzip")
    tracemalloc.start()
    try:
        found = await reader.read(site.url("/"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert MAX_BYTES - 5 <= len(found.text) <= MAX_BYTES
    assert peak < 10_000_000


async def test_gzip_that_unpacks_to_nothing_is_bounded(site: Site, reader: PageReader) -> None:
    async def hollow(writer: asyncio.StreamWriter) -> None:
        packer = zlib.compressobj(wbits=31)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\n\r\n" + packer.compress(b""))
        while True:
            writer.write(b"\x00\x00\x00\xff\xff" * 1000)  # stored blocks of length 0
            await writer.drain()

    site.answers["/"] = hollow
    with pytest.raises(WebUnavailable) as failed:
        await reader.read(site.url("/"))
    assert failed.value.reason in {"PAGE_HAS_NO_TEXT", "PAGE_UNREADABLE"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(b"%PDF-1.7", "application/pdf"), "PAGE_TYPE"),
        (reply(b"{}", "application/json"), "PAGE_TYPE"),
        (reply(b"words", ""), "PAGE_TYPE"),
        (reply(b"no", status="403 Forbidden"), "PAGE_STATUS"),
        (reply(b"no", status="500 Oh"), "PAGE_STATUS"),
        (reply(b"not packed", content_encoding="gzip"), "PAGE_UNREADABLE"),
        (reply(b"xx", content_encoding="br"), "PAGE_UNREADABLE"),
        (reply(b"<html><body></body></html>"), "PAGE_HAS_NO_TEXT"),
        (reply(b""), "PAGE_HAS_NO_TEXT"),
        (b"not http at all\r\n\r\n", "PAGE_UNREADABLE"),
        (b"", "PAGE_UNREADABLE"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\ncontent-type: text/html\r\n\r\nshort", "PAGE_UNREADABLE"),
    ],
)
async def test_what_is_not_a_readable_page(site: Site, reader: PageReader, answer: bytes, reason: str) -> None:
    site.answers["/"] = answer
    with pytest.raises(WebUnavailable) as failed:
        await reader.read(site.url("/"))
    assert failed.value.reason == reason


@pytest.mark.parametrize("url", ["", "site.test", "http://[", "http://a\x00b/", "http://" + "x" * 70_000])
async def test_nonsense_addresses_are_typed_errors(reader: PageReader, url: str) -> None:
    with pytest.raises((WebUnavailable, PermissionDenied)):
        await reader.read(url)


# --- text -----------------------------------------------------------------------------------------------------------


async def test_text_title_and_date(site: Site, reader: PageReader) -> None:
    crane = "The port of Tallinn bought a crane that lifts forty tonnes, and it will stand on the eastern quay from May."
    yard = "It was built in a yard in Finland, by the people who had repaired the old one through eleven winters."
    html = (
        "<html><head><title>Harbour</title><meta property='article:published_time' content='2024-05-03T10:00:00Z'></head>"
        "<body><nav><a href='/'>Home</a> <a href='/x'>Subscribe now</a></nav>"
        f"<article><h1>Harbour</h1><p>{crane}</p><p>{yard}</p><p>{crane}</p></article><script>steal()</script></body></html>"
    )
    site.answers["/"] = reply(html.encode())
    found = await reader.read(site.url("/"))
    assert f"{crane}\n{yard}" in found.text
    assert found.title == "Harbour"
    assert found.published == "2024-05-03"
    assert "steal" not in found.text
    assert "Subscribe" not in found.text


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/html; charset=iso-8859-1", "latin-1"),
        ("text/html", "utf-8"),
        ("text/html; charset=hex", "utf-8"),
        ("text/html; charset=idna", "utf-8"),
        ("text/html; charset=no-such-thing", "utf-8"),
        ("text/plain; charset=utf-16", "utf-16"),
        ("text/plain", "utf-8"),
    ],
)
async def test_character_sets(site: Site, reader: PageReader, content_type: str, encoding: str) -> None:
    text = "Tromsø é a cidade do norte."
    body = text if content_type.startswith("text/plain") else page("Tromsø", text).decode()
    site.answers["/"] = reply(body.encode(encoding), content_type)
    assert text in (await reader.read(site.url("/"))).text


async def test_a_character_cut_at_the_cap_does_no_harm(site: Site) -> None:
    site.answers["/"] = reply("aé".encode() * 1000, "text/plain")
    for cap in (1024, 1025, 1026):
        reader = await PageReader.open(cap, 10.0, guard())
        text = (await reader.read(site.url("/"))).text
        assert set(text) == {"a", "é"}
        await reader.aclose()


async def test_pages_are_read_side_by_side(site: Site, reader: PageReader) -> None:
    arrived = asyncio.Event()
    waiting = 0

    async def together(writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 5:
            arrived.set()
        await arrived.wait()  # no answer until all five are here
        writer.write(reply(page("Together", "All at once.")))
        await writer.drain()

    site.answers["/"] = together
    found = await asyncio.gather(*(reader.read(site.url(f"/?{n}")) for n in range(5)))
    assert {item.title for item in found} == {"Together"}


async def test_the_guard_of_the_tests_knows_the_site_only() -> None:
    assert await resolve(HOST) == ["127.0.0.1"]
    with pytest.raises(PermissionDenied):
        await guard().addresses(httpx.URL("http://other.test/"))
