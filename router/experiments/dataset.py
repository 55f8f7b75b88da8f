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

QUESTION_FILES = ("queries.jsonl", "queries.jsonl.gz", "questions.jsonl", "queries.csv")
GRADE = "utility."
"""Begins the columns of a CSV file that grade a source."""
QRELS_FILES = ("qrels/test.tsv", "qrels/test.tsv.gz", "qrels.tsv")
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
    utility: Mapping[str, float] = field(default_factory=dict)
    """How useful each source is for it, graded by somebody on a scale of the set's own; empty where the set has no grades."""


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
    split: str = ""
    """Which part of the set the questions are, where it has several."""

    @property
    def has_evidence(self) -> bool:
        """Whether there is anything to retrieve; a set without has labels at most."""
        return bool(self.corpus or self.facts or self.web)

    @property
    def labelled_sources(self) -> tuple[str, ...]:
        """The sources that its routes and grades name, sorted."""
        routes = {source for question in self.questions for route in question.routes for source in route}
        return tuple(sorted(routes | {source for question in self.questions for source in question.utility}))

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


def load_dataset(folder: Path, split: str = "") -> Dataset:
    """Open a folder.

    Args:
        folder: Holds the files of the layout; questions may also be `queries.csv`.
        split: One part of the set: the sub-folder of this name, or else the questions that `qrels/SPLIT.tsv` judges.

    Raises:
        InvalidInput: No questions, no such split, or a file that is not of the layout; names the file and line.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is not a folder", field="dir")
    part = folder / split
    own_queries = first_file(part, *QUESTION_FILES)
    queries = own_queries or first_file(folder, *QUESTION_FILES)
    if queries is None:
        raise InvalidInput(_no_questions(folder), field="dir")
    qrels = (own_queries and first_file(part, *QRELS_FILES)) or (first_file(folder, f"qrels/{split}.tsv", f"qrels/{split}.tsv.gz"))
    gold = _qrels(qrels)
    questions = tuple(_question(row, gold) for row in (csv_rows(queries) if queries.suffix == ".csv" else read_rows(queries)))
    if own_queries is None:
        if qrels is None:
            raise InvalidInput(f"{folder} has neither a folder {split!r} with queries.jsonl nor qrels/{split}.tsv", field="split")
        questions = tuple(question for question in questions if question.id in gold)
    return Dataset(
        name=folder.resolve().name,
        folder=folder,
        questions=questions,
        corpus=_of_part(part, folder, "corpus.jsonl", "corpus.jsonl.gz"),
        facts=_of_part(part, folder, *FACT_FILES),
        web=_of_part(part, folder, "web.jsonl", "web.jsonl.gz"),
        split=split,
    )


def load_csv(file: Path) -> Dataset:
    """Open one CSV file of questions: a set without anything to retrieve. Its columns are those of `csv_rows`.

    Raises:
        InvalidInput: The file is not there, or not of the form; names the line.
    """
    if not file.is_file():
        raise InvalidInput(f"{file} is not a file", field="dir")
    questions = tuple(_question(row, {}) for row in csv_rows(file))
    if not questions:
        raise InvalidInput(f"{file.name} has no questions", field="dir")
    return Dataset(name=file.stem, folder=file.parent, questions=questions, corpus=None, facts=None, web=None)


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


def csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Questions of a CSV file with a header, as rows of `queries.jsonl`.

    Columns: `text` or `question`; where it has them `id` (else the number of the row), `routes` (accepted ones, separated by `|`; the
    sources of one that needs several joined by `+`), `answers` (separated by `|`), `origin`, and `utility.SOURCE` for grades.

    Raises:
        InvalidInput: A column is missing, or a grade is no number; names the line.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or ()
        text = next((name for name in ("text", "question") if name in columns), None)
        if text is None:
            raise InvalidInput(f"{path.name} needs a column `text` or `question`; it has {list(columns)}", field="dir")
        for number, row in enumerate(reader, start=1):
            if not row[text]:
                raise InvalidInput(f"{path.name} line {reader.line_num}: the column `{text}` is empty", field="dir")
            yield {
                "_id": row.get("id") or str(number),
                "text": row[text],
                "metadata": {
                    "answers": _cells(row.get("answers") or row.get("answer")),
                    "routes": [[source.strip() for source in route.split("+")] for route in _cells(row.get("routes"))],
                    "origin": row.get("origin") or "",
                    "utility": _grades(row, f"{path.name} line {reader.line_num}"),
                },
            }


def _cells(cell: str | None) -> list[str]:
    return [part.strip() for part in (cell or "").split("|") if part.strip()]


def _grades(row: Mapping[str, str | None], place: str) -> dict[str, float]:
    grades: dict[str, float] = {}
    for column, value in row.items():
        if column and column.startswith(GRADE) and value:
            try:
                grades[column.removeprefix(GRADE)] = float(value)
            except ValueError as error:
                raise InvalidInput(f"{place}: the column `{column}` holds {value!r}, which is no number", field="dir") from error
    return grades


def _no_questions(folder: Path) -> str:
    splits = sorted(part.name for part in folder.iterdir() if part.is_dir() and first_file(part, *QUESTION_FILES))
    if splits:
        return f"{folder} has the parts {', '.join(splits)}: name one with --split"
    return f"{folder} has no queries.jsonl: the layout is corpus.jsonl, queries.jsonl, qrels/test.tsv"


def _of_part(part: Path, folder: Path, *names: str) -> Path | None:
    """A file of the part, or the one that all parts share."""
    return first_file(part, *names) or first_file(folder, *names)


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
        utility={str(source): float(grade) for source, grade in (metadata.get("utility") or {}).items()},
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
