"""The seam of generation: evidence in, a checked and cited text out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from router.types import Caller, Citation, Notice, Query, Retrieval, Token


@dataclass(frozen=True, slots=True)
class Written:
    """The whole text, after its last token."""

    text: str
    found: bool
    citations: tuple[Citation, ...]
    generator: str
    notices: tuple[Notice, ...] = ()


GeneratorEvent = Token | Citation | Notice | Written


class Generator(Protocol):
    def generate(self, query: Query, retrieval: Retrieval, caller: Caller) -> AsyncIterator[GeneratorEvent]:
        """Write the answer piece by piece; the last event is `Written`, whose notices repeat those already told."""
