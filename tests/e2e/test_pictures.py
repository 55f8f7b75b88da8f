"""Pictures through the whole application with its real stores, over a restart; only the encoder is a small one, by colours."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from router.app import App, open_app
from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.engine import Options
from router.models.spaces import Composition, EmbeddingSpace
from router.settings import GraphSource, ModelSettings, OpenAILLM, RoutingSettings, Settings, VectorSource
from router.testing.fakes import ColourEncoder
from router.types import Answer, Caller, Deadline, ImagePart, ImageUriPart, Query, TextPart
from tests.unit.endpoint import piece, serving

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
TEXTS = ("heron-gate.pdf", "millpond.md", "tarnholt-works.md", "facts.tsv")
PICTURES = ("heron-gate.png", "kingfisher-sensor.png", "millpond-rack.png")


async def uploads() -> AsyncIterator[Upload]:
    captions = yaml.safe_load((SAMPLE / "pictures.yaml").read_text())
    for name in TEXTS:
        yield Upload(name, (SAMPLE / "corpus" / name).read_bytes())
    for name in PICTURES:
        yield Upload(name, (SAMPLE / "pictures" / name).read_bytes(), metadata=captions[name])


async def answered(app: App, question: str, photo: str, *, by_address: bool = False) -> Answer:
    content = (SAMPLE / "photos" / photo).read_bytes()
    address = ImageUriPart(f"data:image/jpeg;base64,{base64.b64encode(content).decode()}")
    words = (TextPart(question),) if question else ()
    parts = (*words, address if by_address else ImagePart(content, "image/jpeg"))
    caller = Caller("default", "r", Deadline.after(60))
    *_, answer = [event async for event in app.engine.answer(Query(parts), Options(), caller)]
    assert isinstance(answer, Answer)
    return answer


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    async def by_colours(models, cache_dir, text):
        return EmbeddingSpace("colours", "1", text.dimension, text, ColourEncoder(text.dimension), Composition(0.5))

    monkeypatch.setattr("router.app.open_space", by_colours)
    return Settings(data_dir=tmp_path, sources={"vector": VectorSource(), "graph": GraphSource()})


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
