"""One Milvus collection per embedding space: its name, its schema, and that what exists fits the settings."""

from __future__ import annotations

import hashlib
import json
import re
from functools import partial
from typing import Any

from bm25s.stopwords import STOPWORDS_EN
from pymilvus import DataType, Function, FunctionType, MilvusClient

from router.errors import ConfigurationError
from router.settings import MilvusSettings
from router.stores.milvus.connection import MilvusConnection
from router.stores.milvus.index import VectorIndex, check_existing

ID_LENGTH = 512
TEXT_LENGTH = 65_535
BUILD_PROPERTY = "router.build"
"""Milvus Lite 3.2.2 does not tell the build parameters of an index, so that they are kept as a property of the collection."""
BM25_SINCE = (2, 5)
ANALYZER: dict[str, Any] = {"type": "english"}
"""Lower case, English stop words, English stems."""
LITE_ANALYZER: dict[str, Any] = {"tokenizer": "standard", "filter": [{"type": "stop", "stop_words": list(STOPWORDS_EN)}]}
"""Milvus Lite 3.2.2 has no stemmer."""


def collection_name(prefix: str, space: str) -> str:
    """Letters, digits and underscores of the space's name; a digest where that loses something, so that no two spaces share a name."""
    slug = re.sub(r"[^A-Za-z0-9_]+", "_", space)[:64]
    digest = "" if slug == space else "_" + hashlib.blake2b(space.encode(), digest_size=4).hexdigest()
    return f"{prefix}_{slug}{digest}"


async def ensure_collection(
    connection: MilvusConnection, name: str, *, settings: MilvusSettings, index: VectorIndex, dimension: int
) -> None:
    """Create the collection with its indexes, or check the one that is there, and load it. A repeat completes what was interrupted.

    Raises:
        ConfigurationError: What is there was made with another dimension, index or metric, or without text for BM25.
    """
    has_text = settings.lexical == "milvus"
    if has_text and not connection.is_lite and connection.version < BM25_SINCE:
        found = ".".join(str(part) for part in connection.version)
        raise ConfigurationError(
            f"milvus.lexical: 'milvus' needs a server of 2.5 or newer, this one is {found}; use 'memory' or 'none'", field="milvus.lexical"
        )
    made_with: dict[str, Any] = {}
    if await connection.call("has_collection", name):
        described = await connection.call("describe_collection", name)
        _check_schema(described, name, dimension, has_text)
        made_with = json.loads(described["properties"].get(BUILD_PROPERTY, "{}"))
    else:
        schema = _schema(dimension, LITE_ANALYZER if connection.is_lite else ANALYZER, has_text)
        properties = {BUILD_PROPERTY: json.dumps(dict(index.build))} if connection.is_lite else {}
        # Session: a client sees its own writes at once, without the wait of Strong.
        await connection.call("create_collection", name, schema=schema, properties=properties, consistency_level="Session")
    indexes = set(await connection.call("list_indexes", name))
    if "vector" in indexes:
        check_existing(index, made_with | await connection.call("describe_index", name, index_name="vector"), name)
    await connection.run(partial(_create_missing_indexes, connection.client, name, index, indexes, has_text))
    await connection.load(name)


def _schema(dimension: int, analyzer: dict[str, Any], has_text: bool) -> Any:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=ID_LENGTH)
    schema.add_field("tenant", DataType.VARCHAR, max_length=ID_LENGTH)
    schema.add_field("collection", DataType.VARCHAR, max_length=ID_LENGTH)
    schema.add_field("document_id", DataType.VARCHAR, max_length=ID_LENGTH)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    if has_text:
        schema.add_field("text", DataType.VARCHAR, max_length=TEXT_LENGTH, enable_analyzer=True, analyzer_params=analyzer)
        schema.add_field("terms", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["terms"])
        )
    return schema


def _create_missing_indexes(client: MilvusClient, name: str, index: VectorIndex, existing: set[str], has_text: bool) -> None:
    wanted = client.prepare_index_params()
    if "vector" not in existing:
        wanted.add_index("vector", index_name="vector", index_type=index.type, metric_type=index.metric, params=dict(index.build))
    if has_text and "terms" not in existing:
        parameters = {"bm25_k1": 1.5, "bm25_b": 0.75}
        wanted.add_index("terms", index_name="terms", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=parameters)
    if len(wanted):
        client.create_index(name, wanted, sync=False)  # load waits for it; the wait here sleeps and asks Lite what it has not got


def _check_schema(described: dict[str, Any], name: str, dimension: int, has_text: bool) -> None:
    fields = {field["name"]: field for field in described["fields"]}
    found = int(fields["vector"]["params"]["dim"]) if "vector" in fields else None
    if found != dimension:
        raise ConfigurationError(
            f"models.embedding.model: its vectors have {dimension} dimensions, the Milvus collection {name!r} holds {found}; choose the "
            "model that the corpus was embedded with, or another milvus.collection_prefix, into which it is indexed again",
            field="models.embedding.model",
        )
    if has_text and "text" not in fields:
        raise ConfigurationError(
            f"milvus.lexical: the collection {name!r} was made without text; use 'memory', or choose another "
            "milvus.collection_prefix, into which the corpus is indexed again",
            field="milvus.lexical",
        )
