"""spaCy, without torch where its pipelines have no layers made with it.

thinc, which spaCy is built on, imports torch whenever it is installed. That is 440 MB of every process and two of the six seconds of
processor time that a start takes; the pipelines that this project needs compute with NumPy.
"""

# ruff: noqa: E402 -- spaCy is imported after what keeps torch away
from __future__ import annotations

import importlib.util
import sys

MADE_WITH_TORCH = ("spacy_transformers", "spacy_curated_transformers")
"""Packages of pipelines that have such layers, `en_core_web_trf` for one."""


def _import_thinc() -> None:
    if "torch" in sys.modules or any(map(importlib.util.find_spec, MADE_WITH_TORCH)):
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # An import of it is refused, as if it were not installed.
    try:
        import thinc.compat  # noqa: F401
    finally:
        del sys.modules["torch"]


_import_thinc()

from spacy import blank, load
from spacy.lang.en.stop_words import STOP_WORDS
from spacy.language import Language

__all__ = ["STOP_WORDS", "Language", "blank", "load"]
