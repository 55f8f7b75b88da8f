"""Figures of documents through the whole application with its real stores: found by picture and by caption, with their page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.app import App, open_app
from router.call import Options
from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.errors import NotFound
from router.models.spaces import Composition, EmbeddingSpace
from router.settings import GraphSource, Settings, VectorSource
from router.testing.fakes import ColourEncoder
from router.types import Caller, Deadline, Evidence, ImagePart, Query, Retrieval, TextPart
from tests.unit.corpus.test_figures import BLUE, GREEN, RED, html, img, pdf, pixels_of, word
from tests.unit.pictures import drawn

PUMPS = pdf(
    [("The Otter Pump lifts water from the Amber Canal.", 72, 720)],
    [
        ("The Otter Pump stands in the hall of Tarnholt Works.", 72, 740),
        (RED, 72, 500, 200, 150),
        ("Figure 1: The Otter Pump, seen from the north gate", 72, 484, 9),
        ("Greta Molnar oils it every week.", 72, 420),
    ],
    title="Pumps of the water board",
)
GATES = word(
    ("Heading 1", "Heron Gate"),
    ("", "The Heron Gate closes the Amber Canal."),
    ("", GREEN),
    ("Caption", "Figure 1: The winch of the Heron Gate"),
    title="Gates of the water board",
)
VALVES = html("<h2>Bittern Valve</h2><p>The Bittern Valve is opened by hand.</p>", img(BLUE, "The wheel of the Bittern Valve"))


async def uploads() -> AsyncIterator[Upload]:
    for name, content in {"pumps.pdf": PUMPS, "gates.docx": GATES, "valves.html": VALVES}.items():
        yield Upload(name, content)


async def found(app: App, *parts: TextPart | ImagePart) -> list[Evidence]:
    *_, answer = [event async for event in app.engine.answer(Query(parts), Options(), Caller("default", "r", Deadline.after(60)))]
    retrieval = answer.retrieval  # type: ignore[union-attr]
    assert isinstance(retrieval, Retrieval)
    return list(retrieval.evidence)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    async def by_colours(models, cache_dir, text):
        return EmbeddingSpace("colours", "1", text.dimension, text, ColourEncoder(text.dimension), Composition(0.5))

    monkeypatch.setattr("router.app.open_space", by_colours)
    return Settings(data_dir=tmp_path, sources={"vector": VectorSource(), "graph": GraphSource()})


async def test_a_figure_is_found_by_picture_and_by_caption_with_its_page(settings: Settings) -> None:
    async with open_app(settings) as app:
        told = [given async for given in app.corpus.ingest("default", uploads())]
        assert [given.failure for given in told if given.failure] == []
    async with open_app(settings) as app:
        for colour, uri, words, headings in (
            ("red", "pumps.pdf", "Figure 1: The Otter Pump, seen from the north gate", ("page 2",)),
            ("green", "gates.docx", "Figure 1: The winch of the Heron Gate", ("Heron Gate",)),
            ("blue", "valves.html", "The wheel of the Bittern Valve", ("Bittern Valve",)),
        ):
            photo = ImagePart(drawn(colour, (300, 300), form="JPEG"), "image/jpeg")
            evidence = await found(app, TextPart("What does this picture show?"), photo)
            [figure] = [item for item in evidence if item.picture is not None and item.uri == uri]
            assert (figure.text, figure.headings) == (words, headings)
            first = next(item for item in evidence if item.picture is not None)
            assert first == figure

            by_words = await found(app, TextPart(words.partition(": ")[2] or words))
            assert figure.id in {item.id for item in by_words}

        by_words = await found(app, TextPart("the Otter Pump seen from the north gate"))
        [pump] = [item for item in by_words if item.picture is not None and item.uri == "pumps.pdf"]
        assert pump.picture is not None
        assert pump.picture.thumbnail.startswith(b"\xff\xd8")
        _, content = await app.corpus.picture("default", pump.picture.id)
        assert pixels_of(content) == pixels_of(RED)

        await app.corpus.delete("default", document_id("default", "pumps.pdf"))
        assert all(item.uri != "pumps.pdf" for item in await found(app, TextPart("the Otter Pump seen from the north gate")))
        with pytest.raises(NotFound):
            await app.corpus.picture("default", pump.picture.id)
