"""What every PictureStore must do. Subclass, override `store`, and pytest runs the suite on your store.

The store may hold other tenants' pictures already, but none of the tenants named here.
"""

from __future__ import annotations

import hashlib

import pytest

from router.errors import NotFound
from router.stores.pictures import PictureStore

SMALL, LARGE = b"a picture", bytes(range(256)) * 60_000
"""The larger has 15 MB."""


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class PictureStoreContract:
    @pytest.fixture
    def store(self) -> PictureStore:
        raise NotImplementedError

    @pytest.mark.parametrize("content", [SMALL, LARGE, b"\x00\r\n\xff"], ids=["small", "large", "bytes"])
    async def test_what_was_put_comes_back(self, store: PictureStore, content: bytes) -> None:
        await store.put("one", sha(content), content, b"thumbnail")
        assert await store.read("one", sha(content)) == content
        assert await store.thumbnail("one", sha(content)) == b"thumbnail"
        assert await store.ids("one") == {sha(content)}
        await store.put("one", sha(content), content, b"thumbnail")
        assert await store.read("one", sha(content)) == content
        await store.delete("one", sha(content))

    async def test_what_is_not_there_is_not_found(self, store: PictureStore) -> None:
        assert await store.ids("one") == set()
        for look in (store.read, store.thumbnail):
            with pytest.raises(NotFound) as caught:
                await look("one", sha(b"nothing"))
            assert caught.value.field == "picture_id"

    async def test_what_is_deleted_is_gone_with_its_thumbnail_and_nothing_else(self, store: PictureStore) -> None:
        for content in (SMALL, b"another"):
            await store.put("one", sha(content), content, b"thumbnail")
        await store.delete("one", sha(SMALL))
        await store.delete("one", sha(SMALL))
        for look in (store.read, store.thumbnail):
            with pytest.raises(NotFound):
                await look("one", sha(SMALL))
        assert await store.ids("one") == {sha(b"another")}
        await store.delete("one", sha(b"another"))
        assert await store.ids("one") == set()

    async def test_tenants_have_their_own(self, store: PictureStore) -> None:
        await store.put("one", sha(SMALL), SMALL, b"thumbnail")
        assert await store.ids("on") == await store.ids("two") == set()
        with pytest.raises(NotFound):
            await store.read("two", sha(SMALL))
        await store.delete("two", sha(SMALL))
        assert await store.read("one", sha(SMALL)) == SMALL
        await store.delete("one", sha(SMALL))

    @pytest.mark.parametrize("picture_id", ["../../journal.db", "..", "", "a/b", "é" * 64])
    async def test_no_id_leads_elsewhere(self, store: PictureStore, picture_id: str) -> None:
        for look in (store.read, store.thumbnail, store.delete):
            with pytest.raises(NotFound):
                await look("one", picture_id)
