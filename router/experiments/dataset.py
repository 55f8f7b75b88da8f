"""Data sets in BEIR's layout, with graph facts and a recorded web where the folder has them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from router.errors import InvalidInput

FACT_FILES = ("triples.tsv", "triples.tsv.gz", "kg_small.tsv", "kg_small.tsv.gz", "kg.tsv", "kg.tsv.gz")


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    title: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    text: str
    gold: frozenset[str]
    """Ids of the passages that carry the answer; empty where the set names none."""
    answers: tuple[str, ...]
    routes: tuple[frozenset[str], ...]
    """Accepted sets of sources, where the set has labels."""
    origin: str
    hops: int | None = None
    """How many relations lie between the names in the question and the answer, where the set says."""


Half = Literal["even", "odd"]
"""Questions at even or odd places: what is chosen by measuring on one half is reported on the other as well."""


@dataclass(frozen=True, slots=True)
class Dataset:
    name: str
    folder: Path
    questions: tuple[Question, ...]
    corpus: Path | None
    facts: Path | None
    web: Path | None
    titled: bool = True
    """False: the passages come without their titles; nothing but their ids names them."""

    def passages(self) -> Iterator[Passage]:
        """The corpus, line by line."""
        if self.corpus is None:
            return
        for row in read_rows(self.corpus):
            title = str(row.get("title") or "") if self.titled else ""
            yield Passage(str(row["_id"]), title, str(row["text"]), row.get("metadata") or {})

    def content_hash(self) -> str:
        """sha256 over what is ingested: corpus and facts, with titles or without."""
        digest = hashlib.sha256()
        for path in (self.corpus, self.facts):
            digest.update(path.read_bytes() if path else b"none")
        if not self.titled:
            digest.update(b"untitled")
        return digest.hexdigest()

    def without_titles(self) -> Dataset:
        """The same set as if its documents had none, as most documents of a company."""
        return replace(self, titled=False)

    def some_questions(self, *, half: Half | None = None, limit: int | None = None) -> tuple[Question, ...]:
        """Questions of one half, and of those at most `limit`, spread evenly, since files are often ordered by kind."""
        questions = self.questions if half is None else self.questions[int(half == "odd") :: 2]
        if limit is None or limit >= len(questions):
            return questions
        return tuple(questions[place * len(questions) // limit] for place in range(limit))


def load_dataset(folder: Path) -> Dataset:
    """Open a folder.

    Raises:
        InvalidInput: No questions, or a file that is not of the layout; names the file and line.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder", field="dir")
    queries = first_file(folder, "queries.jsonl", "queries.jsonl.gz", "questions.jsonl")
    if queries is None:
        raise InvalidInput(f"{folder} has no queries.jsonl: the layout is corpus.jsonl, queries.jsonl, qrels/test.tsv", field="dir")
    gold = _qrels(first_file(folder, "qrels/test.tsv", "qrels/test.tsv.gz", "qrels.tsv"))
    return Dataset(
        name=folder.resolve().name,
        folder=folder,
        questions=tuple(_question(row, gold) for row in read_rows(queries)),
        corpus=first_file(folder, "corpus.jsonl", "corpus.jsonl.gz"),
        facts=first_file(folder, *FACT_FILES),
        web=first_file(folder, "web.jsonl", "web.jsonl.gz"),
    )


def open_text(path: Path) -> TextIO:
    """A text file, unpacked when its name ends in .gz."""
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def first_file(folder: Path, *names: str) -> Path | None:
    """The first of these files that is there."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """JSON lines. Raises InvalidInput, naming file and line."""
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InvalidInput(f"{path.name} line {number} is not JSON: {error}", field="dir") from error
            if not isinstance(row, dict):
                raise InvalidInput(f"{path.name} line {number} is not a JSON object", field="dir")
            yield row


def _question(row: dict[str, Any], gold: Mapping[str, frozenset[str]]) -> Question:
    metadata = row.get("metadata") or row
    identity = str(row.get("_id", row.get("id", "")))
    text = row.get("text", row.get("question"))
    if not identity or not text:
        raise InvalidInput(f"a query needs `_id` and `text`; found the fields {sorted(row)}", field="dir")
    routes = metadata.get("routes") or ()
    hops = metadata.get("hops")
    return Question(
        id=identity,
        text=str(text),
        gold=gold.get(identity, frozenset()),
        answers=_answers(metadata),
        routes=tuple(frozenset([route] if isinstance(route, str) else route) for route in routes),
        origin=str(metadata.get("origin", "")),
        hops=hops if isinstance(hops, int) else None,
    )


def _answers(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The list `answers`, or the one `answer`."""
    answers = metadata.get("answers")
    if answers is None:
        answers = metadata.get("answer")
    if answers is None:
        return ()
    return tuple(str(answer) for answer in ([answers] if isinstance(answers, str | int | float) else answers))


def _qrels(path: Path | None) -> dict[str, frozenset[str]]:
    gold: dict[str, set[str]] = {}
    if path is not None:
        with open_text(path) as file:
            for row in csv.reader(file, delimiter="\t"):
                if len(row) < 3 or not row[2].lstrip("-").isdigit():
                    continue  # the header
                if int(row[2]) > 0:
                    gold.setdefault(row[0], set()).add(row[1])
    return {query: frozenset(passages) for query, passages in gold.items()}
