"""Milvus: Lite in this process, a server or a cloud."""

from router.stores.milvus.lexical import MilvusLexicalIndex
from router.stores.milvus.store import MilvusVectorStore

__all__ = ["MilvusLexicalIndex", "MilvusVectorStore"]
