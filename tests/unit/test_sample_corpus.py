"""The sample: its labels hold, its formats parse, its generated files are those of their sources."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import yaml

from router.corpus.load import format_of, load
from router.experiments.dataset import load_dataset
from router.experiments.metrics import normal
from router.filters import check_filter, check_metadata, matches
from router.models.pictures import load_picture
from router.types import Condition, Filter

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample"
FILES = {path.name: path for path in sorted((SAMPLE / "corpus").iterdir())}
QUESTIONS = load_dataset(SAMPLE).questions
LABELS = {row["_id"]: row["metadata"] for row in map(json.loads, (SAMPLE / "questions.jsonl").read_text().splitlines())}
KINDS = {identity: labels["kind"] for identity, labels in LABELS.items()}
METADATA = yaml.safe_load((SAMPLE / "metadata.yaml").read_text())
WEB = {row["query"]: row["results"] for row in map(json.loads, (SAMPLE / "web.jsonl").read_text().splitlines())}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    loaded = {name: load(path.read_bytes(), format_of(name, ""), 1_000_000) for name, path in FILES.items()}
    return {name: f" {normal(document.text)} " for name, document in loaded.items()}


def test_there_is_enough_of_everything() -> None:
    formats = Counter(path.suffix for path in FILES.values())
    wanted = {".md": 26, ".txt": 6, ".html": 5, ".pdf": 4, ".docx": 3, ".tsv": 1}
    assert formats.keys() == wanted.keys()
    assert all(formats[suffix] >= count for suffix, count in wanted.items()), formats
    assert all(path.stat().st_size < 200_000 for path in FILES.values())
    assert len({question.id for question in QUESTIONS}) == len({question.text for question in QUESTIONS}) == len(QUESTIONS)
    counts = Counter(KINDS.values())
    least = {"single": 20, "multi-hop": 20, "two-source": 8, "web": 10, "none": 4, "unanswerable": 4}
    assert counts.keys() == least.keys()
    assert all(counts[kind] >= count for kind, count in least.items()), counts


def test_documents_are_of_real_length(texts: dict[str, str]) -> None:
    words = {name: len(text.split()) for name, text in texts.items() if not name.endswith(".tsv")}
    assert {name: count for name, count in words.items() if count < 120} == {}
    assert sum(count >= 1000 for count in words.values()) >= 3
    assert 60 <= len(FILES["facts.tsv"].read_text().splitlines()) <= 100


def test_every_answer_stands_in_a_gold_document_or_a_recorded_page(texts: dict[str, str]) -> None:
    for question in QUESTIONS:
        assert question.gold <= FILES.keys(), question.id
        pages = " ".join(f" {normal(page['text'])} " for page in WEB.get(question.text, ()))
        for answer in question.answers:
            where = [name for name in question.gold if f" {normal(answer)} " in texts[name]]
            assert where or f" {normal(answer)} " in pages, f"{question.id}: {answer!r}"


def test_questions_are_what_their_kind_says() -> None:
    for question in QUESTIONS:
        kind, hops = KINDS[question.id], LABELS[question.id]["hops"]
        assert all(route <= {"vector", "graph", "web"} for route in question.routes), question.id
        assert question.routes, question.id
        assert bool(question.answers) == (kind not in {"none", "unanswerable"}), question.id
        assert bool(question.gold) == (kind in {"single", "multi-hop", "two-source"}), question.id
        assert (question.text in WEB) == any("web" in routes for routes in question.routes), question.id
        if kind == "multi-hop":
            assert len(question.gold) >= hops >= 2, question.id
        elif kind == "two-source":
            assert all(len(route) >= 2 for route in question.routes), question.id


def test_filters_let_the_gold_documents_pass_and_keep_others_out() -> None:
    filtered = {question.id: question for question in QUESTIONS if "filter" in LABELS[question.id]}
    assert len(filtered) >= 4
    for identity, question in filtered.items():
        groups = {group: tuple(Condition(**test) for test in tests) for group, tests in LABELS[identity]["filter"].items()}
        where = Filter(**groups)
        check_filter(where)
        passed = {name for name, metadata in METADATA.items() if matches(where, metadata)}
        assert question.gold <= passed, identity
        assert len(passed) < len(FILES) / 2, identity


def test_most_documents_are_asked_for() -> None:
    asked = set().union(*(question.gold for question in QUESTIONS))
    assert len(FILES.keys() - asked) <= len(FILES) / 3


def test_metadata_names_every_document() -> None:
    assert METADATA.keys() == FILES.keys()
    for name, values in METADATA.items():
        assert set(values) == {"department", "year", "kind"}, name
        check_metadata(values)


def test_recorded_pages_are_dated_and_on_reserved_domains() -> None:
    for query, pages in WEB.items():
        assert query in {question.text for question in QUESTIONS}
        for page in pages:
            assert set(page) == {"url", "title", "published", "text"}
            assert all(page.values()), page["url"]
            assert (urlsplit(page["url"]).hostname or "").endswith(("example.com", "example.org"))


def test_generated_files_are_those_of_their_sources() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_sample"))
    sources = sorted((SAMPLE / "sources").glob("*.md"))
    assert sources
    for source in sources:
        target = FILES[source.name.removesuffix(".md")]
        assert made["MAKERS"][target.suffix](source.read_text()) == target.read_bytes(), target.name


def test_pictures_are_those_that_are_drawn() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_sample"))
    drawn = {f"{name}.png": made["picture"](name) for name in made["PICTURES"]}
    assert {path.name for path in (SAMPLE / "pictures").iterdir()} == drawn.keys()
    assert {path.stem for path in (SAMPLE / "photos").iterdir()} == set(made["PICTURES"])
    for name, picture in drawn.items():
        # Pixels, since another zlib packs them otherwise.
        np.testing.assert_array_equal(load_picture((SAMPLE / "pictures" / name).read_bytes()), np.asarray(picture))


def test_every_picture_has_a_caption_and_is_asked_for(texts: dict[str, str]) -> None:
    captions = yaml.safe_load((SAMPLE / "pictures.yaml").read_text())
    questions = [json.loads(line) for line in (SAMPLE / "picture-questions.jsonl").read_text().splitlines()]
    assert captions.keys() - {"*"} == {path.name for path in (SAMPLE / "pictures").iterdir()}
    assert {question["photo"] for question in questions} == {path.name for path in (SAMPLE / "photos").iterdir()}
    everything = " ".join(texts.values())
    for question in questions:
        # Of the words alone nobody could tell which thing is meant.
        assert not any(name in question["text"] for name in ("Otter", "Heron", "Kingfisher", "Bittern", "GateKeeper", "Millpond"))
        assert all(f" {normal(answer)} " in everything for answer in question["answers"]), question["_id"]
