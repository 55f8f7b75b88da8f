"""Opening, reopening, being refused, and a server that dies and comes back."""

import asyncio
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from router.errors import ConfigurationError, Conflict, DeadlineExceeded, StoreUnavailable
from router.settings import MilvusIndexSettings, MilvusSettings
from router.stores.milvus import MilvusVectorStore
from router.testing.vector_store import AXIS, DIMENSION, chunk, rows, unit_vectors
from tests.unit.faults import halt


async def opened(folder, *, space="space", dimension=DIMENSION, **settings):
    return await MilvusVectorStore.open(MilvusSettings(**settings), folder, space=space, dimension=dimension)


def ids(found):
    return [hit.chunk_id for hit in found]


async def test_what_was_written_is_there_after_a_reopening(tmp_path):
    store = await opened(tmp_path)
    await store.upsert("t", [chunk("a", metadata={"year": 1}), chunk("b")], rows([0.9, 0.5]))
    await store.aclose()
    store = await opened(tmp_path)
    assert ids(await store.search("t", AXIS, 5)) == ["a", "b"]
    assert await store.count("t") == 2
    await store.aclose()


async def test_two_spaces_share_the_file_and_nothing_else(tmp_path):
    first, second = await opened(tmp_path, space="one"), await opened(tmp_path, space="two", dimension=4)
    await first.upsert("t", [chunk("a")], rows([0.9]))
    assert await second.count("t") == 0
    await first.aclose()
    await second.upsert("t", [chunk("b")], np.float32([[1, 0, 0, 0]]))
    assert await second.count("t") == 1
    await second.aclose()


async def test_many_writers_at_once_lose_nothing(tmp_path):
    """Milvus Lite takes one writer at a time; rows are flushed as they come."""
    store = await opened(tmp_path)

    async def write(part):
        for start in range(0, 200, 50):
            chunks = [chunk(f"{part}-{number}", document=f"{part}-{start}") for number in range(start, start + 50)]
            await store.upsert("t", chunks, unit_vectors(50, part))
        await store.delete_document("t", f"{part}-50")
        await store.search("t", AXIS, 5)

    await asyncio.gather(*(write(part) for part in range(6)))
    assert await store.count("t") == 900
    await store.aclose()
    store = await opened(tmp_path)
    assert await store.count("t") == 900
    await store.aclose()


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ({}, {"dimension": 8}, "models.embedding.model"),
        ({}, {"lexical": "milvus"}, "milvus.lexical"),
        ({}, {"index": MilvusIndexSettings(metric="L2")}, "milvus.index.metric"),
        ({}, {"index": MilvusIndexSettings(type="HNSW")}, "milvus.index.type"),
        ({"index": {"type": "HNSW"}}, {"index": {"type": "HNSW", "build": {"M": 32}}}, "milvus.index.build.M"),
    ],
    ids=str,
)
async def test_a_collection_made_otherwise_is_refused_with_a_way_out(tmp_path, before, after, field):
    await (await opened(tmp_path, **before)).aclose()
    with pytest.raises(ConfigurationError) as refused:
        await opened(tmp_path, **after)
    assert refused.value.field == field
    assert "milvus.collection_prefix" in refused.value.message
    await (await opened(tmp_path, **before)).aclose()


async def test_autoindex_takes_what_is_there(tmp_path):
    await (await opened(tmp_path, index={"type": "HNSW"})).aclose()
    await (await opened(tmp_path)).aclose()


async def test_a_start_that_was_cut_off_is_completed(tmp_path):
    """Between the collection and its index."""
    store = await opened(tmp_path)
    client = store.connection.client
    client.release_collection(store.collection)
    client.drop_index(store.collection, "vector")
    await store.aclose()
    store = await opened(tmp_path)
    await store.upsert("t", [chunk("a")], rows([0.9]))
    assert ids(await store.search("t", AXIS, 5)) == ["a"]
    await store.aclose()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"uri": "milvus.db"}, "milvus.uri"),
        ({"uri": "http://127.0.0.1:1/milvus.db"}, "milvus.uri"),
        ({"index": MilvusIndexSettings(type="IVF_PQ")}, "milvus.index.type"),
        ({"database": "other"}, "milvus.database"),
    ],
    ids=str,
)
async def test_a_wrong_setting_is_refused_by_name_and_leaves_the_file_free(tmp_path, settings, field):
    with pytest.raises(ConfigurationError) as refused:
        await opened(tmp_path, **settings)
    assert refused.value.field == field
    await (await opened(tmp_path)).aclose()


async def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError) as refused:
        await opened(tmp_path / "file")
    assert refused.value.field == "data_dir"


async def test_a_file_that_another_process_holds_is_a_conflict(tmp_path, lite_server):
    server = lite_server(tmp_path / "milvus.db")
    with pytest.raises(Conflict) as refused:
        await opened(tmp_path)
    assert refused.value.reason == "STORE_LOCKED"
    assert "milvus-lite server" in refused.value.message
    server.kill()
    await (await opened(tmp_path)).aclose()


async def test_nothing_at_the_address_is_unavailable(tmp_path):
    with pytest.raises(StoreUnavailable):
        await opened(tmp_path, uri=f"http://127.0.0.1:{free_port()}", timeout_s=1)


async def test_a_server_that_is_killed_and_comes_back(tmp_path, lite_server):
    server = lite_server(tmp_path / "served")
    store = await opened(tmp_path, uri=server.uri, timeout_s=5, index={"type": "HNSW"})
    assert store.connection.is_lite
    await store.upsert("t", [chunk("a", metadata={"year": 1}), chunk("b")], rows([0.9, 0.5]))
    server.kill()
    for call in (
        store.search("t", AXIS, 5),
        store.upsert("t", [chunk("c")], rows([0.1])),
        store.delete_document("t", "doc"),
        store.count("t"),
        store.ping(),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    server.start()
    await until_it_answers(store)
    assert ids(await store.search("t", AXIS, 5)) == ["a", "b"]
    await store.upsert("t", [chunk("c")], rows([0.1]))
    assert await store.count("t") == 3
    await store.aclose()


async def test_a_server_that_hangs_is_a_deadline(tmp_path, lite_server):
    server = lite_server(tmp_path / "served")
    store = await opened(tmp_path, uri=server.uri, timeout_s=0.5)
    await store.upsert("t", [chunk("a")], rows([0.9]))
    halt(server.process.pid)
    with pytest.raises(DeadlineExceeded):
        await store.search("t", AXIS, 5)
    with pytest.raises(StoreUnavailable):
        await store.ping()
    server.process.send_signal(signal.SIGCONT)
    await until_it_answers(store)
    assert ids(await store.search("t", AXIS, 5)) == ["a"]
    await store.aclose()


async def test_a_collection_that_was_dropped_is_a_conflict(tmp_path):
    store = await opened(tmp_path)
    store.connection.client.drop_collection(store.collection)
    with pytest.raises(Conflict):
        await store.search("t", AXIS, 5)
    await store.aclose()


async def test_a_caller_that_leaves_does_not_hold_the_store(tmp_path):
    store = await opened(tmp_path)
    await store.upsert("t", [chunk("a")], rows([0.9]))
    search = asyncio.create_task(store.search("t", AXIS, 5))
    await asyncio.sleep(0)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    assert ids(await store.search("t", AXIS, 5)) == ["a"]
    await store.aclose()


class LiteServer:
    """`milvus-lite server` as a child process on a loopback port."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        arguments = ["server", "--data-dir", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "milvus_lite", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the Milvus Lite server did not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def lite_server():
    servers = []

    def start(folder):
        servers.append(LiteServer(folder))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until_it_answers(store):
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.1)
