"""Which relation a word names."""

from __future__ import annotations

import numpy as np
import pytest

from router.models.embedding import open_embedder
from router.retrieval.relation_words import relation_probabilities, spoken, texts_of
from router.settings import EmbeddingSettings

RELATIONS = ("directed_by", "written_by", "starred_actors", "release_year", "has_genre", "in_language")


@pytest.mark.parametrize("relation", ["hasBrand", "has_brand", "HAS_BRAND", "has brand", "has-brand"])
def test_a_relation_is_spoken_however_it_is_written(relation: str) -> None:
    assert spoken(relation) == "has brand"
    assert texts_of(relation) == ("has brand", "brand")


def test_a_relation_of_light_words_only_keeps_them() -> None:
    assert texts_of("is_in") == ("is in", "is in")


async def test_words_name_relations_by_meaning_stem_and_concept(tmp_path) -> None:
    embedder = await open_embedder(EmbeddingSettings(), tmp_path)
    expected = {
        "director": "directed_by",
        "screenwriters": "written_by",
        "author": "written_by",
        "acted": "starred_actors",
        "released": "release_year",
        "sort": "has_genre",
        "languages": "in_language",
        "film": None,
    }
    words = list(expected)
    texts = sorted({*words, *(text for relation in RELATIONS for text in texts_of(relation))})
    vectors = dict(zip(texts, await embedder.embed(texts), strict=True))
    probabilities = relation_probabilities(words, RELATIONS, vectors)
    await embedder.aclose()
    assert probabilities.shape == (len(words), len(RELATIONS) + 1)
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    named = [(*RELATIONS, None)[place] for place in probabilities.argmax(axis=1)]
    assert dict(zip(words, named, strict=True)) == expected
