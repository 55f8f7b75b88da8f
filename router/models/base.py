"""What the rooms ask of models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar, runtime_checkable

from router.types import Matrix, PictureLabel, Pixels, Sound, Span

Thing_contra = TypeVar("Thing_contra", contravariant=True)


class Embedder(Protocol):
    """Texts to vectors of one space. Calls of many callers are batched together."""

    @property
    def name(self) -> str:
        """Name of the space; vectors of different names never meet."""

    @property
    def dimension(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Vectors of unit length, shape (len(texts), dimension), float32.

        Raises:
            Overloaded: The queue is full.
            ModelUnavailable: The model failed.
        """

    async def aclose(self) -> None: ...


class Encoder(Protocol[Thing_contra]):
    """Things of one kind to vectors of the space that a text embedder of the same space fills too. Texts are `Embedder`'s."""

    @property
    def dimension(self) -> int: ...

    async def embed(self, items: Sequence[Thing_contra], /) -> Matrix:
        """Vectors of unit length, shape (len(items), dimension), float32.

        Raises:
            Overloaded: The queue is full.
            ModelUnavailable: The model failed.
        """

    async def aclose(self) -> None: ...


@runtime_checkable
class InstructedEncoder(Encoder[Thing_contra], Protocol):
    """An Embedder or another Encoder whose model can be told what to look for in what it embeds."""

    @property
    def takes_instructions(self) -> bool:
        """Whether the loaded model does."""

    async def embed_instructed(self, items: Sequence[Thing_contra], instruction: str, /) -> Matrix:
        """As `embed`, of queries with an instruction. Raises as `embed`."""


def instructed(encoder: object) -> TypeGuard[InstructedEncoder[Any]]:
    """Whether an encoder can be told what to look for."""
    return isinstance(encoder, InstructedEncoder) and encoder.takes_instructions


PictureEmbedder: TypeAlias = Encoder[Pixels]
"""Of what `load_picture` gives."""
SoundEmbedder: TypeAlias = Encoder[Sound]
"""Of what `load_sound` gives."""


@runtime_checkable
class PictureLabeller(Encoder[Pixels], Protocol):
    """A PictureEmbedder that has names for what it sees."""

    async def embed_and_label(self, pictures: Sequence[Pixels]) -> tuple[Matrix, list[tuple[PictureLabel, ...]]]:
        """As `embed`, with the likeliest names of each picture, likeliest first: both from one look. Raises as `embed`."""


@dataclass(frozen=True, slots=True)
class RecognisedName:
    """A name in a text; `span` counts characters of that text."""

    text: str
    kind: str
    span: Span


@dataclass(frozen=True, slots=True)
class RecognisedRelation:
    """A relation that the grammar of one sentence states; subject and object are names of the same text."""

    subject: RecognisedName
    relation: str
    object: RecognisedName


@dataclass(frozen=True, slots=True)
class RecognisedSubject:
    """A name that a text is probably about, with the probability that it would be its title."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Recognised:
    names: tuple[RecognisedName, ...]
    relations: tuple[RecognisedRelation, ...]
    subjects: tuple[RecognisedSubject, ...] = ()
    """Likeliest first."""


class EntityRecogniser(Protocol):
    async def recognise(self, texts: Sequence[str]) -> list[Recognised]:
        """Names, relations and subjects of each text, in its order."""

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    """`system`, `user` or `assistant`."""
    text: str
    parts: tuple[str | bytes, ...] = ()
    """The same words with pictures (JPEG files) between them, for a model that sees; empty where there are none."""


class LanguageModel(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def context_tokens(self) -> int: ...

    async def complete(self, messages: Sequence[Message], *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> str:
        """One whole reply. With a JSON schema the reply is asked for (and, where the endpoint can, constrained to) that form.

        Raises:
            ModelUnavailable: The endpoint is gone, refuses, or does not answer in time.
        """

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> AsyncIterator[str]:
        """The reply piece by piece. Leaving the iterator stops the model's work.

        Raises:
            ModelUnavailable: As above, also in the middle of a reply.
        """

    async def ping(self) -> None:
        """Raise ModelUnavailable unless the endpoint answers."""

    async def aclose(self) -> None: ...


class CrossEncoder(Protocol):
    async def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """Relevance of each passage between 0 and 1."""

    async def aclose(self) -> None: ...
