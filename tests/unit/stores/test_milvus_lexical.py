"""BM25 inside Milvus Lite."""

import numpy as np
import pytest

from router.errors import InternalError
from router.settings import MilvusSettings
from router.stores.milvus import MilvusLexicalIndex, MilvusVectorStore
from router.testing.lexical_index import LexicalIndexContract


class TestContract(LexicalIndexContract):
    @pytest.fixture
    async def fill(self, tmp_path):
        store = await MilvusVectorStore.open(MilvusSettings(lexical="milvus"), tmp_path, space="lexical", dimension=4)

        async def fill(tenants):
            for tenant, chunks in tenants.items():
                await store.upsert(tenant, chunks, np.tile(np.float32([1, 0, 0, 0]), (len(chunks), 1)))
            return MilvusLexicalIndex(store)

        yield fill
        await store.aclose()


async def test_a_store_without_text_is_refused(tmp_path):
    store = await MilvusVectorStore.open(MilvusSettings(), tmp_path, space="lexical", dimension=4)
    with pytest.raises(InternalError):
        MilvusLexicalIndex(store)
    await store.aclose()
