"""The sample: its labels hold, its formats parse, its generated files are those of their sources."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from pathlib import Path

import pytest
import yaml

from router.corpus.load import format_of, load
from router.experiments.dataset import load_dataset
from router.experiments.metrics import normal

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample"
FILES = {path.name: path for path in sorted((SAMPLE / "corpus").iterdir())}
QUESTIONS = load_dataset(SAMPLE).questions
KINDS = {row["_id"]: row["metadata"]["kind"] for row in map(json.loads, (SAMPLE / "questions.jsonl").read_text().splitlines())}
WEB = {row["query"]: row["results"] for row in map(json.loads, (SAMPLE / "web.jsonl").read_text().splitlines())}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    loaded = {name: load(path.read_bytes(), format_of(name, ""), 1_000_000) for name, path in FILES.items()}
    return {name: f" {normal(document.text)} " for name, document in loaded.items()}


def test_there_is_enough_of_everything() -> None:
    assert len(FILES) >= 40
    assert set(Counter(path.suffix for path in FILES.values())) == {".md", ".txt", ".html", ".pdf", ".docx", ".tsv"}
    assert len(QUESTIONS) >= 60
    assert len({question.id for question in QUESTIONS}) == len({question.text for question in QUESTIONS}) == len(QUESTIONS)
    counts = Counter(KINDS.values())
    assert counts["single"] >= 20
    assert counts["multi-hop"] >= 20
    assert all(counts[kind] >= 4 for kind in ("two-source", "web", "none", "unanswerable"))


def test_every_answer_stands_in_a_gold_document_or_a_recorded_page(texts: dict[str, str]) -> None:
    for question in QUESTIONS:
        assert question.gold <= FILES.keys(), question.id
        pages = " ".join(f" {normal(page['text'])} " for page in WEB.get(question.text, ()))
        for answer in question.answers:
            where = [name for name in question.gold if f" {normal(answer)} " in texts[name]]
            assert where or f" {normal(answer)} " in pages, f"{question.id}: {answer!r}"


def test_questions_are_what_their_kind_says() -> None:
    for question in QUESTIONS:
        kind = KINDS[question.id]
        assert (len(question.gold) >= 2) == (kind == "multi-hop") or kind in {"two-source", "single"}, question.id
        assert bool(question.answers) == (kind not in {"none", "unanswerable"}), question.id
        assert (question.text in WEB) == any("web" in routes for routes in question.routes), question.id


def test_most_documents_are_asked_for() -> None:
    asked = set().union(*(question.gold for question in QUESTIONS))
    assert len(asked) >= 0.6 * len(FILES)


def test_metadata_names_every_document() -> None:
    metadata = yaml.safe_load((SAMPLE / "metadata.yaml").read_text())
    assert metadata.keys() == FILES.keys()
    assert all(set(values) == {"department", "year", "kind"} for values in metadata.values())


def test_generated_files_are_those_of_their_sources() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_sample"))
    sources = sorted((SAMPLE / "sources").glob("*.md"))
    assert sources
    for source in sources:
        target = FILES[source.name.removesuffix(".md")]
        assert made["MAKERS"][target.suffix](source.read_text()) == target.read_bytes(), target.name
