"""`eval import-pairs`: question-passage pairs, as rerankers are trained on, become a retrieval set in BEIR's layout.

A row of `pairs.jsonl[.gz]`:

- `id`, `question`;
- `positives`: texts that answer it; `titles` beside them, or one `title` for all;
- `negatives`: texts that nearly do; `negative_titles` beside them. Without these they are other parts of the positives' document and
  carry its `title`: were they untitled, a missing title would tell a negative;
- `negative_refs`: ids of other rows whose first positive is a near miss;
- `answers` or `answer`, where the row has them.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import InvalidInput
from router.experiments.dataset import first_file, read_rows

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Imported:
    """How much was written."""

    passages: int
    queries: int
    relevant: int
    near_misses: int


@dataclass(frozen=True, slots=True)
class _Text:
    title: str
    text: str

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.title}\x00{self.text}".encode()).hexdigest()[:16]


def import_pairs(folder: Path, out: Path) -> Imported:
    """Write `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`.

    The corpus is every positive and negative once: the same title and text are one passage, and so is a text without a title that also
    stands there with one. In the qrels 1 is a positive and 0 a near miss (a hard negative for training; it counts as not relevant).

    Raises:
        InvalidInput: No pairs, a row that is not of the form, or an `out` that already holds something.
    """
    source = first_file(folder, "pairs.jsonl", "pairs.jsonl.gz")
    if source is None:
        raise InvalidInput(f"{folder} has no pairs.jsonl", field="dir")
    if out.exists() and any(out.iterdir()):
        raise InvalidInput(f"{out} is not empty", field="out")
    rows = list(_checked(read_rows(source)))
    first_positive = {str(row["id"]): _positives(row)[0] for row in rows}
    titled = _titled(text for row in rows for text in (*_positives(row), *_negatives(row, first_positive)))
    corpus: dict[str, _Text] = {}
    qrels: list[tuple[str, str, int]] = []
    for row in rows:
        judged: dict[str, int] = {}
        for relevance, texts in ((1, _positives(row)), (0, _negatives(row, first_positive))):
            for text in texts:
                passage = titled.get(text.text, text) if not text.title else text
                corpus.setdefault(passage.id, passage)
                judged.setdefault(passage.id, relevance)  # what answers is no near miss, also where the row lists it as one
        qrels += [(str(row["id"]), passage_id, relevance) for passage_id, relevance in judged.items()]
    _write(out, corpus, rows, qrels)
    relevant = sum(relevance for *_, relevance in qrels)
    return Imported(len(corpus), len(rows), relevant, len(qrels) - relevant)


def _checked(rows: Iterable[Row]) -> Iterator[Row]:
    known: set[str] = set()
    for number, row in enumerate(rows, start=1):
        identity = str(row.get("id", ""))
        if not identity or not row.get("question") or not row.get("positives"):
            raise InvalidInput(f"pair {number} needs `id`, `question` and `positives`; it has {sorted(row)}", field="dir")
        for texts, titles in (("positives", "titles"), ("negatives", "negative_titles")):
            if row.get(titles) and len(row[titles]) != len(row.get(texts) or ()):
                raise InvalidInput(f"pair {number}: `{titles}` must be as many as `{texts}`", field="dir")
        if identity in known:
            raise InvalidInput(f"pair {number}: the id {identity!r} comes twice", field="dir")
        known.add(identity)
        yield row


def _positives(row: Row) -> list[_Text]:
    return _texts(row["positives"], row.get("titles"), row)


def _negatives(row: Row, first_positive: Mapping[str, _Text]) -> list[_Text]:
    near = [first_positive[str(other)] for other in row.get("negative_refs") or () if str(other) in first_positive]
    return [*_texts(row.get("negatives") or (), row.get("negative_titles"), row), *near]


def _texts(texts: Sequence[str], titles: Sequence[str] | None, row: Row) -> list[_Text]:
    named = titles or [str(row.get("title") or "")] * len(texts)
    return [_Text(" ".join((title or "").split()), text) for title, text in zip(named, texts, strict=True)]


def _titled(texts: Iterable[_Text]) -> dict[str, _Text]:
    """Text -> the first passage that has it under a title."""
    found: dict[str, _Text] = {}
    for text in texts:
        if text.title:
            found.setdefault(text.text, text)
    return found


def _write(out: Path, corpus: Mapping[str, _Text], rows: Sequence[Row], qrels: Sequence[tuple[str, str, int]]) -> None:
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    passages = ({"_id": identity, "title": passage.title, "text": passage.text} for identity, passage in corpus.items())
    queries = ({"_id": str(row["id"]), "text": row["question"], "metadata": {"answers": _answers(row)}} for row in rows)
    for name, lines in (("corpus.jsonl", passages), ("queries.jsonl", queries)):
        with (out / name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with (out / "qrels" / "test.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("query-id", "corpus-id", "score"))
        table.writerows(qrels)


def _answers(row: Row) -> list[str]:
    if "answers" in row:
        return [str(answer) for answer in row["answers"]]
    answer = row.get("answer")
    if isinstance(answer, bool):
        return ["yes" if answer else "no"]
    return [] if answer is None else [str(answer)]
