"""Sets of the library ir_datasets (`irds:beir/nfcorpus/test`), written once as a folder of BEIR's layout in the user's cache.

The library downloads what it does not have yet, and asks for the terms of use of some sets first: see its own documentation.
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs

from router.errors import InvalidInput, MissingExtra
from router.experiments.dataset import Dataset, load_dataset

PREFIX = "irds:"


def load_ir_dataset(reference: str) -> Dataset:
    """Open `irds:NAME`; only queries that have judgements are questions.

    Raises:
        MissingExtra: ir_datasets is not installed.
        InvalidInput: The library knows no such set, or it lacks documents, queries or judgements.
    """
    name = reference.removeprefix(PREFIX)
    folder = Path(platformdirs.user_cache_dir("graphrag-router")) / "datasets" / "irds" / name.replace("/", "--")
    if not folder.is_dir():
        _keep(_library_dataset(name), name, folder)
    return replace(load_dataset(folder), name=f"irds-{folder.name}")


def _library_dataset(name: str) -> Any:
    try:
        import ir_datasets
    except ImportError as exc:
        raise MissingExtra("bench", f"the data set {PREFIX}{name}") from exc
    try:
        found = ir_datasets.load(name)
    except KeyError as exc:
        raise InvalidInput(f"ir_datasets knows no set {name!r}; its catalogue is on ir-datasets.com", field="dir") from exc
    lacking = [what for what in ("docs", "queries", "qrels") if not getattr(found, f"has_{what}")()]
    if lacking:
        raise InvalidInput(f"the set {PREFIX}{name} has no {' and no '.join(lacking)}; often a part such as {name}/test has", field="dir")
    return found


def _keep(found: Any, name: str, folder: Path) -> None:
    """Write the folder; it gets its name when it is complete, so that a broken download leaves nothing behind."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unfinished-"))
    try:
        (unfinished / "qrels").mkdir()
        judged = set()
        with (unfinished / "qrels" / "test.tsv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, delimiter="\t", lineterminator="\n")
            table.writerow(("query-id", "corpus-id", "score"))
            for qrel in found.qrels_iter():
                judged.add(qrel.query_id)
                table.writerow((qrel.query_id, qrel.doc_id, qrel.relevance))
        # The titles of most sets are a field of their own; the rest of the fields is what the library calls the default text.
        _write(unfinished / "corpus.jsonl.gz", ({"_id": doc.doc_id, **_document(doc)} for doc in found.docs_iter()))
        questions = ({"_id": query.query_id, "text": query.default_text()} for query in found.queries_iter() if query.query_id in judged)
        _write(unfinished / "queries.jsonl.gz", (question | {"metadata": {"origin": name}} for question in questions))
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _document(doc: Any) -> dict[str, str]:
    title = str(getattr(doc, "title", "") or "")
    return {"title": title, "text": str(doc.text) if title and hasattr(doc, "text") else str(doc.default_text())}


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
