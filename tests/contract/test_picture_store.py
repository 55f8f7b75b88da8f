"""Runs the contract suite of picture stores on a folder, on S3's protocol, and on a real store where S3_TEST_URL names a bucket."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.errors import ConfigurationError, NotFound, StoreUnavailable
from router.stores.pictures import FolderPictureStore
from router.stores.s3_pictures import Bucket, S3PictureStore, bucket_of
from router.testing.picture_store import SMALL, PictureStoreContract, sha
from tests.contract.object_server import CREDENTIALS, ObjectServer, serving

REAL = os.environ.get("S3_TEST_URL")
"""As `pictures.store`; with the credentials that AWS's tools take."""


def url(server: ObjectServer, bucket: str = "bucket/some/prefix") -> str:
    return f"s3://{bucket}?endpoint={server.endpoint}&region=eu-central-1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serving() as server:
        yield server


class TestFolder(PictureStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderPictureStore:
        return FolderPictureStore(tmp_path / "pictures")


class TestS3Protocol(PictureStoreContract):
    @pytest.fixture
    async def store(self, server: ObjectServer) -> S3PictureStore:
        return await S3PictureStore.open(url(server))


@pytest.mark.skipif(REAL is None, reason="S3_TEST_URL names no bucket")
class TestRealS3(PictureStoreContract):
    @pytest.fixture
    async def store(self) -> S3PictureStore:
        return await S3PictureStore.open(f"{REAL}")


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_objects_lie_as_files_do_in_the_folder(server: ObjectServer, tmp_path: Path) -> None:
    for store in (await S3PictureStore.open(url(server)), FolderPictureStore(tmp_path)):
        await store.put("t", sha(SMALL), SMALL, b"thumbnail")
    assert server.objects == {f"bucket/some/prefix/{name}": content for name, content in files_in(tmp_path).items()}


async def test_all_pages_of_a_list_are_read(server: ObjectServer) -> None:
    store = await S3PictureStore.open(url(server))
    contents = [bytes([number]) for number in range(5)]
    for content in contents:
        await store.put("t", sha(content), content, b"thumbnail")
    assert await store.ids("t") == set(map(sha, contents))


async def test_credentials_come_from_the_environment(server: ObjectServer) -> None:
    await S3PictureStore.open(url(server))
    assert all("from-the-environment" in given for given in server.authorizations)
    assert server.authorizations


@pytest.mark.parametrize("refusal", [403, 500, 0], ids=["refused", "broken", "gone"])
async def test_a_store_that_fails_is_unavailable_and_never_empty(server: ObjectServer, refusal: int) -> None:
    store = await S3PictureStore.open(url(server))
    await store.put("t", sha(SMALL), SMALL, b"thumbnail")
    server.refusal = refusal
    for call in (
        lambda: store.read("t", sha(SMALL)),
        lambda: store.thumbnail("t", sha(SMALL)),
        lambda: store.put("t", sha(SMALL), SMALL, b""),
        lambda: store.delete("t", sha(SMALL)),
        lambda: store.ids("t"),
        store.ping,
        lambda: S3PictureStore.open(url(server)),
    ):
        with pytest.raises(StoreUnavailable, match=re.escape("s3://bucket/some/prefix at 127.0.0.1")):
            await call()
    server.refusal = None
    assert await store.ids("t") == {sha(SMALL)}


async def test_where_nothing_listens_the_start_says_so(server: ObjectServer) -> None:
    with pytest.raises(StoreUnavailable, match=re.escape("127.0.0.1:9 fails")):
        await S3PictureStore.open("s3://bucket?endpoint=http://127.0.0.1:9&region=eu-central-1")


async def test_a_store_that_does_not_answer_is_unavailable(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await S3PictureStore.open(url(server))
    monkeypatch.setattr("router.stores.s3_pictures.ANSWER_S", 0.05)
    monkeypatch.setattr(store, "_content", lambda path: time.sleep(0.5))
    with pytest.raises(StoreUnavailable, match="does not answer in time"):
        await store.read("t", sha(SMALL))


async def test_a_bucket_that_is_not_there_stops_the_start(server: ObjectServer) -> None:
    with pytest.raises(ConfigurationError, match="no bucket 'other'") as caught:
        await S3PictureStore.open(url(server, "other"))
    assert caught.value.field == "pictures.store"


async def test_a_picture_that_somebody_removed_is_not_found(server: ObjectServer) -> None:
    store = await S3PictureStore.open(url(server))
    await store.put("t", sha(SMALL), SMALL, b"thumbnail")
    server.objects.clear()
    with pytest.raises(NotFound):
        await store.read("t", sha(SMALL))


def test_an_address_is_read() -> None:
    assert bucket_of("s3://pictures") == Bucket("pictures")
    assert bucket_of("s3://pictures/a/b/?region=eu-west-1") == Bucket("pictures", "a/b", region="eu-west-1")
    assert bucket_of("s3://p?endpoint=http://minio:9000") == Bucket("p", endpoint="minio:9000", scheme="http")


@pytest.mark.parametrize(
    "wrong",
    [
        "s3://key:hunter2@bucket/prefix",
        "s3://hunter2@bucket",
        "s3://bucket?endpoint=http://key:hunter2@host:9000",
        "s3://bucket?secret_key=hunter2",
        "s3://bucket?hunter2",
        "s3:///hunter2",
        "https://bucket/hunter2",
        "hunter2",
        "s3://bucket:hunter2/a",
        "s3://bucket?endpoint=hunter2",
        "s3://bucket?endpoint=http://host:9000/hunter2",
    ],
)
async def test_a_wrong_address_is_refused_without_being_repeated(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"pictures\.store: .*allowed: s3://") as caught:
        await S3PictureStore.open(wrong)
    assert caught.value.field == "pictures.store"
    assert "hunter2" not in caught.value.message
