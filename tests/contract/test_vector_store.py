"""Runs the contract suite of vector stores on Milvus Lite, and on a server where MILVUS_URI names one."""

import os

import pytest

from router.errors import ConfigurationError
from router.settings import MilvusIndexSettings, MilvusSettings
from router.stores.milvus import MilvusVectorStore
from router.testing.vector_store import DIMENSION, VectorStoreContract

SERVER = os.environ.get("MILVUS_URI")


def settings(index: str, metric: str = "COSINE", uri: str | None = None) -> MilvusSettings:
    return MilvusSettings(uri=uri, index=MilvusIndexSettings(type=index, metric=metric), collection_prefix=f"contract_{index}_{metric}")


class OnLite(VectorStoreContract):
    index: str
    metric = "COSINE"

    @pytest.fixture
    async def store(self, tmp_path):
        store = await MilvusVectorStore.open(settings(self.index, self.metric), tmp_path, space="contract", dimension=DIMENSION)
        yield store
        await store.aclose()


class TestAutoindex(OnLite):
    index = "AUTOINDEX"


class TestFlat(OnLite):
    index = "FLAT"


class TestFlatL2(OnLite):
    index = "FLAT"
    metric = "L2"


class TestHnsw(OnLite):
    index = "HNSW"


class TestHnswInnerProduct(OnLite):
    index = "HNSW"
    metric = "IP"


class TestIvfFlat(OnLite):
    index = "IVF_FLAT"


class TestIvfSq8(OnLite):
    index = "IVF_SQ8"
    score_tolerance = 0.02


@pytest.mark.skipif(SERVER is None, reason="MILVUS_URI names no Milvus server")
class TestServer(VectorStoreContract):
    @pytest.fixture(params=["HNSW", "IVF_FLAT", "AUTOINDEX"])
    async def store(self, request, tmp_path):
        store = await MilvusVectorStore.open(settings(request.param, uri=SERVER), tmp_path, space="contract", dimension=DIMENSION)
        yield store
        await store.aclose()


@pytest.mark.skipif(SERVER is None, reason="MILVUS_URI names no Milvus server")
async def test_a_server_that_may_destroy_what_it_reads_is_not_asked(tmp_path):
    for index in ("IVF_SQ8", "IVF_FLAT", "AUTOINDEX"):
        made_with = "IVF_SQ8" if index == "AUTOINDEX" else index  # a collection that is there keeps its index
        collection = settings(made_with, uri=SERVER).model_copy(update={"collection_prefix": f"contract_reading_{made_with}"})
        asked = collection.model_copy(update={"index": MilvusIndexSettings(type=index)})
        store = await MilvusVectorStore.open(asked, tmp_path, space="contract", dimension=DIMENSION)
        if made_with == "IVF_SQ8" and store.connection.version == (2, 3):
            with pytest.raises(ConfigurationError):
                await store.check_reading()
        else:
            await store.check_reading()
        await store.aclose()
