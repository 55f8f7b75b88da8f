"""The frozen values that travel between the rooms. They know no transport, no store and no model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
    """One embedding: shape (dimension,), float32, unit length."""
    Matrix = NDArray[np.float32]
    """Several embeddings: shape (rows, dimension), float32, rows of unit length."""
    Pixels = NDArray[np.uint8]
    """One decoded picture: shape (height, width, 3), RGB."""
    Waveform = NDArray[np.float32]
    """One channel of sound: shape (samples,), float32, between -1 and 1."""
else:
    # The client needs these types but not numpy.
    Vector = Matrix = Pixels = Waveform = object

Scalar = str | int | float | bool
MetadataValue = Scalar | tuple[str, ...]
Metadata = Mapping[str, MetadataValue]


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """One decoded sound, mono."""

    samples: Waveform
    rate: int
    """Samples in a second."""


# --- the question ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    data: bytes
    mime_type: str


@dataclass(frozen=True, slots=True)
class ImageUriPart:
    uri: str


Part = TextPart | ImagePart | ImageUriPart


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier turn of the conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One test on one metadata field. Exactly one of the tests is set.

    A list-valued field satisfies `equals` or `any_of` when one of its items does. A missing field satisfies only `exists=False`.
    """

    field: str
    equals: Scalar | None = None
    any_of: tuple[Scalar, ...] | None = None
    at_least: int | float | str | None = None
    """Inclusive lower bound; with `at_most` it makes one range test. Text compares by code point (ISO dates sort right)."""
    at_most: int | float | str | None = None
    exists: bool | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Typed conditions over metadata; never a string that is pasted into a store's language.

    All of `must`, at least one of `should` (where there are any), none of `must_not`.
    """

    must: tuple[Condition, ...] = ()
    should: tuple[Condition, ...] = ()
    must_not: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.must or self.should or self.must_not)


NO_FILTER = Filter()


@dataclass(frozen=True, slots=True)
class Query:
    parts: tuple[Part, ...]
    history: tuple[Turn, ...] = ()
    filter: Filter = NO_FILTER
    instruction: str = ""
    """What to look for relative to the parts ("the same from the back"). Names, words to search by, relations and times are those of `text`
    only."""

    @property
    def text(self) -> str:
        """The words of all text parts."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def wording(self) -> str:
        """All that is said: the text, and the instruction below it."""
        return "\n".join(filter(None, (self.text, self.instruction)))

    @property
    def has_pictures(self) -> bool:
        return not all(isinstance(part, TextPart) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock (seconds), so that every room sees the same end."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining_s(self) -> float:
        return max(0.0, self.at - time.monotonic())

    def earlier(self, reserve_s: float) -> Deadline:
        """The same end with `reserve_s` kept back for what comes after, but never more than half of what is left."""
        return Deadline(self.at - min(reserve_s, self.remaining_s() / 2))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks and until when. The tenant comes from the credential, never from the body."""

    tenant: str
    request_id: str
    deadline: Deadline
    max_cost: float | None = None
    """What the sources asked for this call may cost together; None: no limit."""
    max_latency_s: float | None = None
    """How long each source asked for this call may be expected to take; None: no limit."""


# --- the corpus -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of characters (code points) in the stored text of a document."""

    start: int
    end: int


MAX_NEAR_DUPLICATES = 16
"""Told of one picture; a placeholder may have thousands."""


MAX_REGIONS = 256
"""Lines of text that are kept with their place in one picture, the first in reading order. The words of a picture are not cut by it."""


@dataclass(frozen=True, slots=True)
class TextRegion:
    """A line of text that was read in a picture. Its box is in shares (0 to 1) of the picture as it is shown, turned as its file says."""

    text: str
    left: float
    top: float
    width: float
    height: float
    confidence: float
    """Of the reader, 0 to 1."""
    matches: bool = False
    """Whether it shares a content word with the question; only in evidence."""


@dataclass(frozen=True, slots=True)
class PictureLabel:
    """The name of what a picture seems to show, with the probability that it is right."""

    name: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name} ({self.probability:.2f})"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the corpus, by reference; its file lies in the picture store."""

    id: str
    """sha256 of the file."""
    mime_type: str
    width: int
    """As it is shown (turned as its file says), in pixels."""
    height: int
    thumbnail: bytes = field(default=b"", repr=False)
    """A small JPEG; only in what is returned to a caller."""
    near_duplicates: tuple[str, ...] = ()
    """Ids of other pictures of the tenant that show the same in another size, format or light, the likest first, at most
    MAX_NEAR_DUPLICATES; only in what is returned to a caller."""
    labels: tuple[PictureLabel, ...] = ()
    """Likeliest first; empty where the encoder has no names for what it sees, or is not sure enough."""
    regions: tuple[TextRegion, ...] = ()
    """What is written in it, in reading order, at most MAX_REGIONS; only in what goes into the journal and what is returned to a caller."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document, whose `title` is empty when it has none. `span` is exact: `document.text[span.start:span.end] == text`."""

    id: str
    document_id: str
    collection: str
    ordinal: int
    title: str
    headings: tuple[str, ...]
    text: str
    span: Span
    metadata: Metadata = field(default_factory=dict)
    document_name: str = ""
    picture: Picture | None = None
    """What the words are the words of, where they are those of a picture."""

    @property
    def label(self) -> str:
        """What a person calls it: the title of its document, else the name of its file."""
        return self.title or PurePosixPath(self.document_name).stem


@dataclass(frozen=True, slots=True)
class Mention:
    """A name that stands in a chunk; `span` is relative to the document's stored text."""

    chunk_id: str
    entity_id: str
    span: Span


@dataclass(frozen=True, slots=True)
class Entity:
    """A named thing. `kind` is `TITLE`, `TERM` (from facts) or the label of the recogniser (`PERSON`, `ORG`, ...)."""

    id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One relation between two entities, with where it came from. `chunk_id` is None for a fact of a structured graph."""

    id: str
    subject_id: str
    relation: str
    object_id: str
    document_id: str
    chunk_id: str | None = None


# --- evidence -------------------------------------------------------------------------------------------------------


class EvidenceKind(Enum):
    PASSAGE = "passage"
    FACT = "fact"
    WEB_PAGE = "web_page"
    SUMMARY = "summary"
    """What a community of the graph is about, in sentences of its passages; its metadata names the documents."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """One edge of the path that explains a piece of graph evidence, in readable form: `Ada` -employs-> `Bob`."""

    subject: str
    relation: str
    object: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """That a source found an item, at which rank (1 is best) and with which score on which scale."""

    source: str
    rank: int
    score: float
    scale: Literal["cosine", "bm25", "hybrid", "walk", "relation_cosine", "reciprocal_rank", "share"]
    path: tuple[PathStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One citable item. Within one answer an id stands for one item, whichever sources found it."""

    id: str
    kind: EvidenceKind
    title: str
    text: str
    provenance: tuple[Provenance, ...]
    document_id: str = ""
    uri: str = ""
    span: Span | None = None
    headings: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    score: float = 0.0
    """After fusion: the mass of the walk (or the fused score of the chosen method). Comparable within one list only; the order of the
    list may be another, since a reranker and the places kept for each source's best item come after."""
    recorded: bool = False
    """True when a web result was replayed from a recording instead of fetched now."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """By source: how much of the fused score came from its seeds, also along the graph; sum 1. Empty unless several sources were walked."""
    picture: Picture | None = None
    """The picture whose words `text` is."""

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(step.source for step in self.provenance))


class SourceCode(Enum):
    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """How a chosen source fared. A source that failed is reported here, beside an answer that is otherwise fine."""

    source: str
    code: SourceCode
    latency_s: float
    count: int
    message: str = ""


# --- decisions and answers ------------------------------------------------------------------------------------------

AS_ASKED = "as asked"
"""The policy's name when the caller names the sources himself."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a policy says about one configured source."""

    source: str
    selected: bool
    probability: float
    """Estimated probability that this source carries (part of) the answer; it is the source's trust in the fusion."""
    reason: str
    expected_quality: float | None = None
    cost: float | None = None
    latency_s: float | None = None
    """Expected: the median of the calls that this service made lately."""
    latency_p90_s: float | None = None
    """Expected: nine calls of ten took at most so long."""


@dataclass(frozen=True, slots=True)
class ShadowDecision:
    """What a policy would have chosen that decided silently beside the live one."""

    policy: str
    """As `routing.shadow` names it, such as `learned@2026-11`."""
    version: str
    """Of its weights; empty when it has none but the release's."""
    chosen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RouteDecision:
    policy: str
    """The policy that decided in the end; after a fallback its reason says which one could not."""
    routes: tuple[Route, ...]
    reason: str
    latency_s: float = 0.0
    version: str = ""
    """Of the policy's weights or parameters; empty when it has none but the release's."""
    propensity: float = 1.0
    """Probability with which the policy takes the sources that it took, in (0, 1]; 1 where chance plays no part. Whoever weighs logged
    decisions (`router/experiments/off_policy.py`) divides by it."""
    features: Mapping[str, float] = field(default_factory=dict)
    """What the policy decided on; finite numbers."""
    expected_latency_s: float | None = None
    """Of the chosen sources, which are asked at once: the greatest of their medians. None when one is not known, or none is chosen."""
    expected_latency_p90_s: float | None = None
    experiment: str = ""
    """The experiment whose arm decided; empty when the ordinary chain did."""
    arm: str = ""
    """The arm, which the caller's key was assigned to. The propensity is that of the arm's policy: no chance is left in the assignment."""
    bucket: int | None = None
    """Of the caller's key (`router/routing/experiment.py`); None outside of an experiment. Inside the service only."""
    shadows: tuple[ShadowDecision, ...] = ()
    """What others would have chosen, once they have decided. Inside the service only; callers never see it."""

    @property
    def as_asked(self) -> bool:
        """Whether the caller named the sources, so that no policy decided."""
        return self.policy == AS_ASKED

    @property
    def cost(self) -> float:
        """Price of asking the chosen sources, in units of answer quality; a source of unknown price counts as free."""
        return sum(route.cost or 0.0 for route in self.routes if route.selected)

    @property
    def selected(self) -> tuple[str, ...]:
        return tuple(route.source for route in self.routes if route.selected)

    @property
    def trust(self) -> dict[str, float]:
        return {route.source: route.probability for route in self.routes if route.selected}


@dataclass(frozen=True, slots=True)
class Citation:
    """`marker` is the number in the answer's brackets; `span` is where the bracket stands in the answer's text."""

    marker: int
    evidence_id: str
    span: Span


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the caller should know about an answer that is otherwise fine (a fallback, a removed citation)."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent per stage; a stage that did not run is absent."""

    stages_s: Mapping[str, float]
    total_s: float


@dataclass(frozen=True, slots=True)
class CorrectiveTurn:
    """What was looked up besides, because the evidence might not carry the answer."""

    action: str
    """`widen` or `sub-questions`."""
    reason: str
    probability: float
    """That the evidence before carried the answer."""
    questions: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retrieval:
    decision: RouteDecision
    evidence: tuple[Evidence, ...]
    sources: tuple[SourceReport, ...]
    timings: Timings
    notices: tuple[Notice, ...] = ()
    question: str = ""
    """What was looked up: the question, made standalone where it follows others. Inside the service only; callers get a notice."""
    turns: tuple[CorrectiveTurn, ...] = ()
    """Corrective turns, in their order. The decision stays what the policy made; the reports tell of every source that was asked."""
    request_id: str = ""
    """Identity of the call, by which feedback names it. In replies only; inside the service the caller has it."""


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    found: bool
    """False when the evidence does not carry an answer; the text then says so."""
    citations: tuple[Citation, ...]
    retrieval: Retrieval
    generator: str
    """`extractive` or the name of the language model."""
    timings: Timings
    notices: tuple[Notice, ...] = ()

    @property
    def request_id(self) -> str:
        """Identity of the call, by which feedback names it. In replies only."""
        return self.retrieval.request_id


@dataclass(frozen=True, slots=True)
class Token:
    """The next piece of the answer's text, already checked: an invented citation never appears in a token."""

    text: str


AnswerEvent = RouteDecision | Retrieval | Token | Citation | Notice | Answer
"""What a streamed answer consists of, in this order: decision, retrieval, tokens and citations and warnings, answer."""


# --- what is learned from use ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a decision, as far as it is known without a person."""

    evidence_count: int
    sources: Mapping[str, SourceCode]
    """How each chosen source fared."""
    latency_s: float
    """From the call's start to its evidence, or to its whole answer."""
    found: bool | None = None
    """Whether the evidence carried an answer; None when none was asked for, or the call ended before it was whole."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person thought of an answer; an empty value was not said."""

    helpful: bool | None = None
    corrected_answer: str = ""
    clicked_citations: tuple[int, ...] = ()
    """Markers of the citations that were followed."""
    correct_sources: tuple[str, ...] = ()
    """The sources that would have been right."""

    def __bool__(self) -> bool:
        return self != Feedback()


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One routed call: what was decided, on what, what became of it and what a person thought of it."""

    request_id: str
    decided_at: datetime
    """In UTC, exact to the microsecond."""
    policy: str
    version: str
    """Of the policy; of a policy without weights of its own the release of the service."""
    as_asked: bool
    """Whether the caller named the sources, so that no policy decided."""
    chosen: tuple[str, ...]
    probabilities: Mapping[str, float]
    """Of each configured source, also of those that were not chosen."""
    propensity: float
    """Probability with which the policy would choose exactly these sources again."""
    features: Mapping[str, float]
    """What the policy decided on; empty when it does not tell."""
    cost: float
    """Price of asking the chosen sources, in units of answer quality."""
    outcome: Outcome | None = None
    """None when the call ended before there was evidence."""
    question: str = ""
    """Only kept where `learning.log_questions` is on."""
    feedback: Feedback | None = None
    experiment: str = ""
    arm: str = ""
    """Of the experiment: the policy that the caller's key was assigned to. The propensity is given this arm."""
    bucket: int | None = None
    """Of the key; None outside of an experiment and for what a release logged that kept none."""
    shadows: tuple[ShadowDecision, ...] = ()

    @property
    def reward(self) -> float | None:
        """1 for a helpful answer, 0 for one that was not, None when nobody said."""
        return None if self.feedback is None or self.feedback.helpful is None else float(self.feedback.helpful)


@dataclass(frozen=True, slots=True)
class DecisionPage:
    decisions: tuple[LoggedDecision, ...]
    next_page_token: str = ""
    """Empty on the last page."""
