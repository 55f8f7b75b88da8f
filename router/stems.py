"""Words without their endings (Snowball, English), kept: questions are made of few words."""

from __future__ import annotations

from functools import lru_cache

import Stemmer


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Of a word in small letters."""
    found: str = Stemmer.Stemmer("english").stemWord(word)  # holds a buffer: one per thread
    return found
