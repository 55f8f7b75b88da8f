"""What a tenant's graph looks like to a language model: plain labels and relation types in place of how the store keeps them.

(:Entity {name, kind}), and each kind of entity as a label of its own: (:PERSON), (:ORG)
(:Passage {title, collection})
(:Passage)-[:MENTIONS]->(:Entity), (:Passage)-[:ABOUT]->(:Entity)
(:Entity)-[:RELATION]->(:Entity), where RELATION is a relation of the facts, in capitals: "works for" is :WORKS_FOR
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from router.stores.base import GraphContent

ENTITY = "Entity"
PASSAGE = "Passage"
MENTIONS = "MENTIONS"
ABOUT = "ABOUT"
ENTITY_PROPERTIES = ("name", "kind")
PASSAGE_PROPERTIES = ("title", "collection")
MAX_EXAMPLES = 3
MAX_EXAMPLE_CHARS = 60
_NO_IDENTIFIER = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Label:
    """A kind of entity; `kinds` are the stored ones that it stands for (two kinds may have one identifier)."""

    name: str
    kinds: tuple[str, ...]
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RelationType:
    """A relation of the facts; `relations` are the stored ones that it stands for."""

    name: str
    relations: tuple[str, ...]
    count: int
    subject_kind: str
    object_kind: str
    """Kinds that it most often joins."""
    example: tuple[str, str]
    """Names of a subject and its object."""


@dataclass(frozen=True, slots=True)
class GraphSchema:
    """By name; the most frequent first."""

    labels: Mapping[str, Label]
    relations: Mapping[str, RelationType]
    passages: int
    touching: Mapping[str, frozenset[str]]
    """Relation types of an entity's facts, by its id."""

    def relevant(self, entity_ids: Collection[str], limit: int) -> list[RelationType]:
        """The relation types of these entities, then the most frequent others."""
        near = {name for entity_id in entity_ids for name in self.touching.get(entity_id, ())}
        ordered = sorted(self.relations.values(), key=lambda relation: (relation.name not in near, -relation.count, relation.name))
        return ordered[:limit]


def identifier(text: str) -> str:
    """The text as a name of Cypher, in capitals; empty when it has no plain letter to begin with."""
    name = _NO_IDENTIFIER.sub("_", text).strip("_").upper()
    return name if name[:1].isalpha() else ""


def schema_of(content: GraphContent) -> GraphSchema:
    kinds = {entity.id: entity.kind for entity in content.entities}
    names = {entity.id: entity.name for entity in content.entities}
    facts_by_type: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    touching: dict[str, set[str]] = defaultdict(set)
    for fact in content.facts:
        name = relation_name(fact.relation)
        if name and fact.subject_id in kinds and fact.object_id in kinds:
            facts_by_type[name].append((fact.relation, fact.subject_id, fact.object_id))
            touching[fact.subject_id].add(name)
            touching[fact.object_id].add(name)
    relations = [_relation_type(name, facts, kinds, names) for name, facts in facts_by_type.items()]
    relations.sort(key=lambda relation: (-relation.count, relation.name))
    return GraphSchema(
        {label.name: label for label in _labels(content)},
        {relation.name: relation for relation in relations},
        len(content.chunks),
        {entity_id: frozenset(types) for entity_id, types in touching.items()},
    )


def relation_name(relation: str) -> str:
    """The type of a stored relation; one that is called as our own types are gets another name."""
    name = identifier(relation)
    return f"{name}_FACT" if name in (MENTIONS, ABOUT) else name


def label_name(kind: str) -> str:
    name = identifier(kind)
    return f"{name}_KIND" if name in (ENTITY.upper(), PASSAGE.upper()) else name


def _labels(content: GraphContent) -> Sequence[Label]:
    names: dict[str, list[str]] = defaultdict(list)
    kinds: dict[str, set[str]] = defaultdict(set)
    for entity in content.entities:
        if label := label_name(entity.kind):
            names[label].append(entity.name)
            kinds[label].add(entity.kind)
    labels = [
        Label(label, tuple(sorted(kinds[label])), len(all_names), tuple(name[:MAX_EXAMPLE_CHARS] for name in all_names[:MAX_EXAMPLES]))
        for label, all_names in names.items()
    ]
    return sorted(labels, key=lambda label: (-label.count, label.name))


def _relation_type(name: str, facts: Sequence[tuple[str, str, str]], kinds: Mapping[str, str], names: Mapping[str, str]) -> RelationType:
    (subject_kind, object_kind), _ = Counter((kinds[subject], kinds[other]) for _, subject, other in facts).most_common(1)[0]
    _, subject, other = facts[0]
    return RelationType(
        name,
        tuple(sorted({relation for relation, _, _ in facts})),
        len(facts),
        label_name(subject_kind),
        label_name(object_kind),
        (names[subject][:MAX_EXAMPLE_CHARS], names[other][:MAX_EXAMPLE_CHARS]),
    )
