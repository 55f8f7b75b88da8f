"""How the file of a measurement was made: what two runs must have in common for one to go on with the other's file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from router import __version__
from router.experiments.dataset import Dataset
from router.settings import Settings

MAX_NAMED = 5
"""Differing settings that an error names."""


@dataclass(frozen=True, slots=True)
class Made:
    """How a file was made; two are comparable when all of it is the same."""

    dataset: str
    content: str
    """Hash of corpus, facts and recorded web."""
    questions: str
    """Hash of the questions with their gold and answers."""
    sources: tuple[str, ...]
    k: int
    settings: Mapping[str, Any]
    """Those that shape what was measured."""
    format: int = 1
    """Of the file."""

    @classmethod
    def of(cls, dataset: Dataset, sources: Sequence[str], k: int, settings: Mapping[str, Any], file_format: int) -> Made:
        return cls(dataset.name, _content(dataset), _asked(dataset), tuple(sorted(sources)), k, settings, file_format)

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Made:
        """The opposite of `document`."""
        fields = {name: value for name, value in document.items() if name != "fingerprint"}
        return cls(**{**fields, "sources": tuple(fields["sources"])})

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "fingerprint": self.fingerprint}

    @property
    def fingerprint(self) -> str:
        """Of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: Made) -> list[str]:
        """What differs in `other`, in words; the data set's name does not count."""
        found = [
            f"{what} ({getattr(other, name)} there, {getattr(self, name)} here)"
            for name, what in (("format", "the file's format"), ("k", "k"), ("sources", "the sources"))
            if getattr(self, name) != getattr(other, name)
        ]
        found += [
            what
            for name, what in (("content", "the corpus"), ("questions", "the questions"))
            if getattr(self, name) != getattr(other, name)
        ]
        here, there = dict(_flat(self.settings)), dict(_flat(other.settings))
        changed = [path for path in sorted(here.keys() | there.keys()) if here.get(path) != there.get(path)]
        found += [f"{path} ({there.get(path)} there, {here.get(path)} here)" for path in changed[:MAX_NAMED]]
        return found + ([f"{len(changed) - MAX_NAMED} more settings"] if len(changed) > MAX_NAMED else [])


def told(settings: Settings, *parts: str) -> dict[str, Any]:
    """These parts of the settings, with what shapes the index and the version."""
    include: Any = {**dict.fromkeys(parts, True), "milvus": {"index", "lexical"}}
    return {**settings.model_dump(mode="json", include=include), "version": __version__}


def _content(dataset: Dataset) -> str:
    digest = hashlib.sha256(dataset.content_hash().encode())
    digest.update(dataset.web.read_bytes() if dataset.web else b"none")
    return digest.hexdigest()


def _asked(dataset: Dataset) -> str:
    rows = [[question.id, question.text, sorted(question.gold), list(question.answers)] for question in dataset.questions]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
