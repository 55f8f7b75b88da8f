"""Rules that a person can read: from what the probe saw to the sources, the same for every run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.overview import Overview, overview_asked
from router.types import Caller, Query, Route, RouteDecision

CHOSEN = 0.5
"""A source is chosen from this probability on."""
FLOOR = 0.3
"""Cosine of the nearest passage below which the corpus is taken not to hold the subject (the same as generation.min_relevance)."""
NEAR = 0.5
"""Cosine from which a passage is plainly about the question's subject."""
MAX_NAMES_SHOWN = 3

_SMALL_TALK = re.compile(
    r"""(?:\W*\b(?:
        hi | hello | hey | hiya | howdy | greetings | good\ (?:morning|afternoon|evening|night|day)
      | how\ are\ you(?:\ doing)? | how(?:'s|\ is)\ it\ going | what's\ up | nice\ to\ meet\ you
      | thanks? | thank\ you | many\ thanks | cheers | much\ appreciated | (?:very|so)\ much | a\ lot
      | bye | goodbye | see\ you | later | take\ care | have\ a\ (?:nice|good|great)\ (?:day|evening|weekend)
      | ok | okay | yes | no | sure | great | nice | cool | perfect | wow | well\ done | good\ (?:job|bot)
      | that\ (?:was|is)\ (?:very\ )?(?:helpful|great|all|it) | that\ helps | and | so | but | well
      | please | there | again | today | everyone | all | my\ friend
      | who\ are\ you | what\ are\ you | what(?:'s|\ is)\ your\ name | are\ you\ (?:a\ bot|human|real|an\ ai)
      | what\ can\ you\ do | can\ you\ help(?:\ me)? | help(?:\ me)? | tell\ me\ a\ joke
    )\b\W*)++""",
    re.IGNORECASE | re.VERBOSE,
)
_RELATIONAL = re.compile(
    r"""\b(?:
        (?:inter)?connect(?:s|ed|ion|ions)? | related\ to | relations?(?:hips?)?\ (?:between|of|to|with)
      | link(?:s|ed)?\ (?:to|between|with)
      | in\ common | between\ [^?]+\ and | (?:same|shared?s?)\ [^?]+\ (?:as|with) | path\ from | depends?\ on | both
      | whose
      | \w+(?:'s|s')\ (?:[\w-]+\ ){0,4}?[\w-]+(?:'s|s')               # Weld's employer's
      | of\ [^?,]+(?:'s|s')\                                            # the founder of Aster's
      | (?:of|by|from)\ (?:the\ |an?\ )[^?,]+?\ (?:of|by)\ \S           # of the owner of
      | (?:the|an?|those|any)\ (?:[\w-]+\ ){1,2}(?:that|which|who)\ \w   # the engineer who designed
    )""",
    re.IGNORECASE | re.VERBOSE,
)


class RulesPolicy:
    """Decides from the probe alone: no model, no training, under a millisecond.

    * Greetings, thanks and what has no words: no source.
    * An overview of the corpus: the graph, which says what its communities are about. Of a subject: the passages too.
    * Something recent: the web; also the corpus when it holds the subject (a linked name, or a passage nearer than `NEAR`).
    * Two linked names, or one and words of relation, or one that no passage is near: the graph, and the passages.
    * No linked name and no passage nearer than `FLOOR`: the web, and the passages all the same.
    * Else the passages.

    Sources of one kind share one decision. A question with content is always put to at least one source: the likeliest.
    The probabilities are judgements made in advance, not fitted to any questions.
    """

    name = "rules"

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        if not query.has_pictures and is_small_talk(query.text):
            return small_talk_decision(self.name, sources)
        seen = _Seen.of(query, probe)
        judged = [_JUDGES[source.kind](seen) for source in sources]
        likeliest = max(probability for probability, _ in judged)
        routes = tuple(
            Route(source.name, probability >= min(CHOSEN, likeliest), probability, reason, cost=source.cost)
            for source, (probability, reason) in zip(sources, judged, strict=True)
        )
        return RouteDecision(self.name, routes, seen.summary)


def is_small_talk(text: str) -> bool:
    """Whether nothing is asked that a source could answer: greetings and the like only, or no letter and no digit at all."""
    text = " ".join(text.replace("’", "'").split())
    return _SMALL_TALK.fullmatch(text) is not None or not any(character.isalnum() for character in text)


def small_talk_decision(policy: str, sources: Sequence[SourceProfile]) -> RouteDecision:
    """No source, for what `is_small_talk`."""
    routes = tuple(Route(source.name, False, 0.02, "small talk needs no source", cost=source.cost) for source in sources)
    return RouteDecision(policy, routes, "the question is small talk or has no words: no source is needed")


def asks_relations(text: str) -> bool:
    """Whether words in the question speak of how things are related (English)."""
    return _RELATIONAL.search(" ".join(text.replace("’", "'").split())) is not None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rules look at."""

    names: tuple[str, ...] | None
    """None: the graph could not be read."""
    cosine: float | None
    """Of the nearest passage; -1 where there is none, None where the vector store did not answer."""
    is_recent: bool
    is_relational: bool
    overview: Overview | None
    """What an overview is asked of."""

    @classmethod
    def of(cls, query: Query, probe: Probe) -> _Seen:
        names = None if probe.linked is None else tuple({link.entity_id: link.name for link in probe.linked}.values())
        nearest = probe.nearest
        cosine = None if nearest is None else max((hit.cosine for hit in nearest), default=-1.0)
        return cls(names, cosine, probe.is_recent, asks_relations(query.text), overview_asked(query))

    @property
    def is_about_all(self) -> bool:
        return self.overview is not None and self.overview.is_of_all

    @property
    def is_covered(self) -> bool:
        """Whether the corpus plainly holds the subject."""
        return bool(self.names) or (self.cosine is not None and self.cosine >= NEAR)

    @property
    def named(self) -> str:
        if self.names is None:
            return "the names of the graph could not be read"
        if not self.names:
            return "the question names nothing that the graph knows"
        shown = [f'"{name}"' for name in self.names[:MAX_NAMES_SHOWN]]
        if len(self.names) > MAX_NAMES_SHOWN:
            shown.append(f"{len(self.names) - MAX_NAMES_SHOWN} more")
        return "the question names " + (" and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0])

    @property
    def nearness(self) -> str:
        if self.cosine is None:
            return "the vector store did not answer when the question was looked at"
        return "there are no passages" if self.cosine == -1.0 else f"the nearest passage has cosine {self.cosine:.2f}"

    @property
    def summary(self) -> str:
        asks = [
            words
            for words, seen in (
                ("it asks for an overview", self.overview is not None),
                ("it asks for something recent", self.is_recent),
                ("it asks how things relate", self.is_relational),
            )
            if seen
        ]
        return "; ".join([self.named, *asks, self.nearness])


def _judge_vector(seen: _Seen) -> tuple[float, str]:
    if seen.is_about_all:
        return 0.2, "no single passage says what the corpus is about"
    if seen.cosine is None:
        return 0.5, seen.nearness
    if seen.cosine == -1.0:
        return 0.05, seen.nearness
    if seen.cosine < FLOOR and not seen.is_recent:
        # One sentence of a passage about other things can be the answer, and then the passage is not near. Asking costs little.
        return 0.5, f"{seen.nearness}: the documents may hold this in passing"
    if seen.is_recent and not seen.is_covered:
        return 0.35, f"the question asks for something recent and {seen.nearness}"
    return (0.8 if seen.cosine >= NEAR else 0.6), seen.nearness


def _judge_graph(seen: _Seen) -> tuple[float, str]:
    if seen.overview is not None:
        return (0.9 if seen.is_about_all else 0.7), "the question asks for an overview"
    if seen.names is None:
        return (0.5 if seen.is_relational else 0.2), seen.named
    if not seen.names:
        return (0.15 if seen.is_relational else 0.05), seen.named
    if len(seen.names) > 1:
        return 0.8, seen.named
    if seen.is_relational:
        return 0.7, f"{seen.named} and asks how things relate"
    if seen.cosine is not None and seen.cosine < FLOOR:
        return 0.7, f"{seen.named}, and no passage is near"
    return 0.4, f"{seen.named} only, without words of relation"


def _judge_web(seen: _Seen) -> tuple[float, str]:
    if seen.is_recent:
        return 0.9, "the question asks for something recent"
    if not seen.names and not seen.is_about_all and seen.cosine is not None and seen.cosine < FLOOR:
        return 0.7, f"neither documents nor graph seem to hold this ({seen.nearness})"
    return 0.1, "nothing recent is asked for, and the corpus seems to hold the subject"


_JUDGES: Mapping[str, Callable[[_Seen], tuple[float, str]]] = {"vector": _judge_vector, "graph": _judge_graph, "web": _judge_web}
