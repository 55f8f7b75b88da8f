"""graphrag-router: a query is routed, evidence is retrieved from Milvus, a Neo4j graph and the web, fused, reranked and answered."""

__version__ = "0.1.0"
