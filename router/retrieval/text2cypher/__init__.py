"""Questions to Cypher: a language model writes one query, the guard parses and rewrites it, the database plans and runs it."""
