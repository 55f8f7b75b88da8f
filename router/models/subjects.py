"""What is a passage about? Candidates from the grammar of its sentences, each with the probability that it would be the title.

The probability is a logistic regression over readable features; `scripts/train_subjects` fits it on passages whose titles are known,
and its weights stand in subjects.json. A passage without a title gets its subjects here, and they play the title's part in the graph.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from router.models.base import RecognisedName, RecognisedSubject
from router.names import bare_name, name_key

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token
    from spacy.tokens import Span as Tokens

WEIGHTS = "subjects.json"
LEAST_CONFIDENCE = 0.02
LEAST_CONFIDENCE_OF_A_COMMON_NOUN = 0.4
MAX_SUBJECTS = 6
MAX_SENTENCES = 12
MAX_WORDS = 10
MAX_CHARS = 100
PLACES = frozenset({"GPE", "LOC", "FAC"})
PRONOUNS = frozenset(
    word
    for words in ("he him his she her it its they them their", "this that these those there", "i my we our you your", "one who which what")
    for word in words.split()
)
NOT_A_BEGINNING = frozenset({"prep", "advmod", "mark", "cc", "npadvmod", "agent", "intj"})
"""A sentence that begins with one of these does not begin with its subject."""
NOT_IN_A_NAME = frozenset({"relcl", "acl", "appos", "advcl"})
PUNCTUATION_AFTER_A_NAME = frozenset({",", "(", "[", "–", "-", "—", ";", ":"})
_SMALL = r"(?:of|the|and|de|la|for|in|on|to|a|an|at|by|from|with|van|von|der|du|or|vs\.?)"
_LEAD = re.compile(
    r"^(.{2,80}?)\s*(?:\(|\[|,|;|:|\b(?:is|was|are|were|has|have|had|refers|refer|means|may|can|became|served)\b)", re.DOTALL
)
_CAPITALS = re.compile(rf"^[\"“'‘]?([A-Z0-9][\w.'’&!-]*(?:[ ,]+(?:{_SMALL}\s+)*[A-Z0-9][\w.'’&!-]*)*)")
_ALSO = re.compile(
    r"(?:also|commonly|formerly|better|originally|previously|sometimes|often|usually|officially|popularly|widely)\s+(?:\w+\s+)?"
    r"(?:known|called|named|referred to|spelled|written|titled)\s+(?:simply\s+)?(?:as\s+)?[\"“'‘]?(?:the\s+)?"
    rf"([A-Z][\w.'’-]*(?:\s+(?:{_SMALL}\s+)*[A-Z0-9][\w.'’-]*)*)"
)
_ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)
_OR = re.compile(r"\s+or\s+")
_ALSO_WITHIN = 600


@dataclass(slots=True)
class Candidate:
    name: str
    features: dict[str, float] = field(default_factory=lambda: defaultdict(float))


def subjects(doc: Doc, names: Sequence[tuple[RecognisedName, Tokens]]) -> tuple[RecognisedSubject, ...]:
    """The likeliest subjects of a parsed passage, best first, ties by name.

    Args:
        doc: The passage, with parse and entities.
        names: Its names as they are recognised, with their tokens.
    """
    weights = _weights()
    found = []
    for candidate in candidates(doc, names).values():
        score = weights["bias"] + sum(weights.get(name, 0.0) * value for name, value in candidate.features.items())
        confidence = 1.0 / (1.0 + math.exp(-score))
        least = LEAST_CONFIDENCE if _is_proper(candidate.name) else LEAST_CONFIDENCE_OF_A_COMMON_NOUN
        if confidence >= least:
            found.append(RecognisedSubject(candidate.name, round(confidence, 3)))
    return tuple(sorted(found, key=lambda subject: (-subject.confidence, subject.text))[:MAX_SUBJECTS])


def candidates(doc: Doc, names: Sequence[tuple[RecognisedName, Tokens]]) -> dict[str, Candidate]:
    """Everything that might be the subject, by name key, with its features."""
    sentences = list(doc.sents)[:MAX_SENTENCES]
    if not sentences:
        return {}
    found = _Candidates()
    first = sentences[0]
    for name, tokens in names:
        at_start = float(tokens.start - first.start <= 1)
        features = {f"kind_{name.kind}": 1.0, "in_first": float(tokens.start < first.end), "at_start": at_start}
        found.add(name.text, features | {"person_at_start": at_start * (name.kind == "PERSON")})
    heads: Counter[str] = Counter()
    openings = []
    for number, sentence in enumerate(sentences):
        for token, is_root in _grammatical_subjects(sentence):
            text = _noun_phrase(token).text
            opens = float(number == 0 and is_root)
            key = found.add(text, {"subject": 1.0, "first_subject": opens, "first_upper": opens * text[:1].isupper()})
            if key is not None:
                heads[key] += 1
                if opens:
                    openings.append(text)
    if first[0].dep_ not in NOT_A_BEGINNING and first[0].lower_ not in PRONOUNS:
        openings += found.add_beginnings(doc.text)
    for text in dict.fromkeys(openings):
        found.add_variants(_ARTICLE.sub("", text), first)
    for match in _ALSO.finditer(doc.text[:_ALSO_WITHIN]):
        found.add(match.group(1), {"also": 1.0})
    return found.with_counts(doc.text.casefold(), heads)


class _Candidates:
    def __init__(self) -> None:
        self._by_key: dict[str, Candidate] = {}

    def add(self, text: str, features: Mapping[str, float]) -> str | None:
        """Note a candidate; its key, or None when the text cannot be a name."""
        name = bare_name(text)
        key = name_key(name)
        if not 2 <= len(key) <= MAX_CHARS or key in PRONOUNS or len(name.split()) > MAX_WORDS or not any(map(str.isalpha, name)):
            return None
        candidate = self._by_key.setdefault(key, Candidate(name))
        for feature, value in features.items():
            candidate.features[feature] = max(candidate.features[feature], value)
        return key

    def add_beginnings(self, text: str) -> Iterator[str]:
        """What the text begins with: up to a first verb or comma, and as far as words are capitalised."""
        lead = _LEAD.match(text.strip())
        if lead is not None and len(words := lead.group(1).split()) <= MAX_WORDS - 2:
            capitals = sum(word[:1].isupper() or word[:1].isdigit() for word in words)
            self.add(_ARTICLE.sub("", lead.group(1)), {"lead": 1.0, "lead_capitals": float(capitals * 2 >= len(words))})
            yield lead.group(1)
        capitalised = _CAPITALS.match(_ARTICLE.sub("", text))
        if capitalised is not None and len(capitalised.group(1)) > 2:
            self.add(capitalised.group(1), {"capitals": 1.0, "capitals_words": float(" " in capitalised.group(1))})
            yield capitalised.group(1)

    def add_variants(self, text: str, first: Tokens) -> None:
        """Other ways to write a subject: either side of `or`, a person without middle names, a place with what it lies in."""
        for part in _OR.split(text)[: 3 if _OR.search(text) else 0]:
            self.add(_ARTICLE.sub("", part), {"either": 1.0})
        name = bare_name(text)
        words = name.split()
        if 3 <= len(words) <= 5 and any(entity.label_ == "PERSON" and name_key(entity.text) == name_key(name) for entity in first.ents):
            self.add(f"{words[0]} {words[-1]}", {"no_middle": 1.0})
            self.add(" ".join(words[1:]), {"no_first": 1.0})
        if len(words) <= 4 and name[:1].isupper():
            is_place = float(any(entity.label_ in PLACES and entity.start_char - first.start_char <= 4 for entity in first.ents))
            around = [entity.text for entity in first.ents if entity.label_ == "GPE" and name_key(entity.text) != name_key(name)]
            for number, place in enumerate(around[:4], start=1):
                last = float(number == len(around))
                self.add(f"{name}, {place}", {"within": 1.0, "within_last": last, "place_within": is_place})

    def with_counts(self, text: str, heads: Mapping[str, int]) -> dict[str, Candidate]:
        for key, candidate in self._by_key.items():
            times = len(re.findall(rf"(?<!\w){re.escape(key)}(?!\w)", text))
            position = text.find(key)
            words = len(candidate.name.split())
            candidate.features |= {
                "twice": float(times >= 2),
                "often": float(times >= 4),
                "at_once": float(0 <= position <= 5),
                "position": min(position, 600) / 600 if position >= 0 else 1.0,
                "absent": float(position < 0),
                "one_word": float(words == 1),
                "few_words": float(words in {2, 3}),
                "many_words": float(words >= 4),
                "upper": float(candidate.name[:1].isupper()),
                "heads": min(heads.get(key, 0), 3) / 3,
            }
        return self._by_key


def _grammatical_subjects(sentence: Tokens) -> Iterator[tuple[Token, bool]]:
    """Subjects of the main verb (True) and of the verbs right under it."""
    for token in sentence:
        if token.dep_ in {"nsubj", "nsubjpass"} and token.lower_ not in PRONOUNS:
            is_root = token.head == sentence.root
            if is_root or token.head.head == sentence.root:
                yield token, is_root


def _noun_phrase(head: Token) -> Tokens:
    """The head with what stands around it, up to a comma, a bracket or a clause, without article."""
    end = head.i + 1
    for token in sorted((token for token in head.subtree if token.i > head.i), key=lambda token: token.i):
        if token.i != end or token.dep_ in NOT_IN_A_NAME or token.text in PUNCTUATION_AFTER_A_NAME or token.is_space:
            break
        end = token.i + 1
    start = head.left_edge.i
    while start < head.i and (head.doc[start].lower_ in {"a", "an", "the"} or head.doc[start].is_punct or head.doc[start].is_space):
        start += 1
    while end > head.i + 1 and (head.doc[end - 1].is_punct or head.doc[end - 1].is_space):
        end -= 1
    return head.doc[start:end]


def _is_proper(name: str) -> bool:
    return " " in name or name[:1].isupper() or any(map(str.isdigit, name))


@cache
def _weights() -> Mapping[str, float]:
    weights: dict[str, float] = json.loads(resources.files("router.models").joinpath(WEIGHTS).read_text(encoding="utf-8"))["weights"]
    return weights
