"""Pictures in the prompt of a model that sees, up to what a real HTTP endpoint is sent."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from router.generation.base import Written
from router.generation.extractive import ExtractiveGenerator
from router.generation.llm import LLMGenerator
from router.generation.pictures import SIDE, PicturesToShow, ShownPicture, count_picture_tokens
from router.models.language import open_language_model
from router.settings import GenerationSettings, OpenAILLM
from router.stores.pictures import FolderPictureStore
from router.testing.fakes import HashEmbedder
from router.types import Evidence, ImagePart, Picture, Query, TextPart
from tests.unit.endpoint import Endpoint, piece, serving
from tests.unit.generation.passages import FOUNDRY, caller, passage, retrieval
from tests.unit.pictures import drawn

TENANT = caller().tenant


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with serving() as endpoint:
        endpoint.pieces = [piece("It is red [2]."), b"data: [DONE]\n\n"]
        yield endpoint


@pytest.fixture
def store(tmp_path: Path) -> FolderPictureStore:
    return FolderPictureStore(tmp_path / "pictures")


async def pictured(store: FolderPictureStore, name: str, content: bytes) -> Evidence:
    picture_id = hashlib.sha256(content).hexdigest()
    await store.put(TENANT, picture_id, content, b"a thumbnail")
    return passage(name, name, f"The words of {name}.", picture=Picture(picture_id, "image/png", 1, 1))


async def answered(endpoint: Endpoint, store: FolderPictureStore, query: Query, *evidence: Evidence, sees: bool = True) -> Written:
    model = await open_language_model(
        OpenAILLM(kind="openai", base_url=f"http://127.0.0.1:{endpoint.port}/v1", model="m", timeout_s=5), Path(), Path()
    )
    settings = GenerationSettings()
    generator = LLMGenerator(
        model, settings, ExtractiveGenerator(HashEmbedder(), settings), PicturesToShow(store, settings.max_pictures) if sees else None
    )
    found = replace(retrieval(evidence), question="What is it? (The picture shows a lathe.)")
    *_, written = [event async for event in generator.generate(query, found, caller())]
    await model.aclose()
    assert isinstance(written, Written)
    return written


def asked(*pictures: bytes) -> Query:
    return Query((TextPart("What is it?"), *(ImagePart(picture, "") for picture in pictures)))


def user_content(endpoint: Endpoint) -> Any:
    [request] = endpoint.requests
    return request["messages"][1]["content"]


def colour_of(part: dict[str, Any]) -> tuple[tuple[int, int], str]:
    head, _, data = part["image_url"]["url"].partition(",")
    assert (part["type"], head) == ("image_url", "data:image/jpeg;base64")
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert image.format == "JPEG"
    red, green, blue = image.convert("RGB").getpixel((1, 1))
    return image.size, "red" if red > 200 and green < 60 else "blue" if blue > 200 and red < 60 else "other"


async def test_the_request_holds_the_words_then_each_picture_after_its_number_then_the_question(endpoint, store) -> None:
    lathe = await pictured(store, "lathe", drawn("red", (1600, 400)))
    written = await answered(endpoint, store, asked(drawn("blue")), FOUNDRY, lathe)
    words, of_question, blue, of_evidence, red, question = user_content(endpoint)
    assert words == {
        "type": "text",
        "text": f'<evidence number="1" title="Aster Foundry">\n{FOUNDRY.text}\n</evidence>\n'
        '<evidence number="2" title="lathe">\nThe words of lathe.\n</evidence>\n',
    }
    assert of_question == {"type": "text", "text": "A picture of the question:"}
    assert colour_of(blue) == ((64, 48), "blue")
    assert of_evidence == {"type": "text", "text": "Picture of evidence [2]:"}
    assert colour_of(red) == ((SIDE, SIDE // 4), "red")
    assert question == {
        "type": "text",
        "text": "<question>\nWhat is it? (The picture shows a lathe.)\n</question>\n"
        "Answer the question, with the numbers of the evidence in square brackets.\n",
    }
    assert "cite what you see in it by that number" in endpoint.requests[0]["messages"][0]["content"]
    assert [(citation.marker, citation.evidence_id) for citation in written.citations] == [(2, "lathe")]
    assert written.notices == ()


async def test_the_drawing_of_a_sound_is_not_sent(endpoint, store) -> None:
    siren = await pictured(store, "siren", drawn("red"))
    assert siren.picture is not None
    sound = replace(siren, picture=replace(siren.picture, mime_type="audio/wav"))
    written = await answered(endpoint, store, asked(), FOUNDRY, sound)
    assert isinstance(user_content(endpoint), str)
    assert "The words of siren." in user_content(endpoint)
    assert written.notices == ()


async def test_a_model_that_does_not_see_gets_the_words_as_one_text(endpoint, store) -> None:
    lathe = await pictured(store, "lathe", drawn("red"))
    await answered(endpoint, store, asked(drawn("blue")), FOUNDRY, lathe, sees=False)
    content = user_content(endpoint)
    assert isinstance(content, str)
    assert "The words of lathe." in content
    assert "(The picture shows a lathe.)" in content
    assert "picture, shown" not in endpoint.requests[0]["messages"][0]["content"]


async def test_evidence_without_pictures_is_sent_as_one_text(endpoint, store) -> None:
    await answered(endpoint, store, asked(), FOUNDRY)
    assert isinstance(user_content(endpoint), str)


async def test_a_picture_that_is_gone_is_left_out_and_the_answer_still_comes(endpoint, store) -> None:
    gone, lathe = await pictured(store, "gone", drawn("blue")), await pictured(store, "lathe", drawn("red"))
    assert gone.picture is not None
    await store.delete(TENANT, gone.picture.id)
    broken = await pictured(store, "broken", b"no picture")
    written = await answered(endpoint, store, asked(), gone, lathe, broken)
    assert [part["text"] for part in user_content(endpoint) if part["type"] == "text"][1:-1] == ["Picture of evidence [2]:"]
    assert written.text == "It is red [2]."
    assert [(notice.reason, notice.message[-1]) for notice in written.notices] == [("PICTURES_NOT_SHOWN", "2")]


async def test_an_endpoint_that_refuses_pictures_leaves_the_answer_to_quotes_and_says_what_to_set(endpoint, store) -> None:
    endpoint.pieces = None
    endpoint.answer = lambda request: (400, {}, b'{"error": {"message": "image_url is not supported"}}')
    written = await answered(endpoint, store, asked(), await pictured(store, "lathe", drawn("red")))
    assert written.generator == "extractive"
    assert [notice.reason for notice in written.notices] == ["LLM_UNAVAILABLE"]
    assert "models.llm.vision" in written.notices[0].message


async def test_the_limit_and_the_room_bound_the_pictures_and_each_photo_comes_once(store) -> None:
    many = [await pictured(store, str(number), drawn((number, 0, 0))) for number in range(3)]
    first = many[0].picture
    assert first is not None
    copy = await pictured(store, "copy", drawn("blue"))
    assert copy.picture is not None
    linked = replace(many[0], picture=replace(first, near_duplicates=(copy.picture.id,)))
    evidence = [linked, FOUNDRY, many[0], copy, *many[1:]]

    async def numbers(limit: int, tokens: int, *of_question: bytes) -> list[int]:
        shown, _ = await PicturesToShow(store, limit).read(TENANT, asked(*of_question), evidence, tokens)
        return [picture.number for picture in shown]

    each = count_picture_tokens(64, 48)
    assert await numbers(9, 9 * each) == [1, 5, 6]
    assert await numbers(2, 9 * each, drawn("green")) == [0, 1]
    assert await numbers(9, 2 * each) == [1, 5]
    assert await numbers(9, each - 1) == []


async def test_a_picture_too_large_for_the_room_leaves_it_to_smaller_ones(store) -> None:
    evidence = [await pictured(store, "large", drawn("red", (900, 900))), await pictured(store, "small", drawn("blue"))]
    [shown], _ = await PicturesToShow(store, 4).read(TENANT, asked(), evidence, 300)
    assert isinstance(shown, ShownPicture)
    assert shown.number == 2


async def test_transparent_and_turned_pictures_look_as_they_do_in_the_corpus(store) -> None:
    evidence = [await pictured(store, "clear", drawn((255, 0, 0, 0), (30, 20), "RGBA"))]
    [shown], _ = await PicturesToShow(store, 4).read(TENANT, asked(), evidence, 1000)
    assert Image.open(io.BytesIO(shown.jpeg)).getpixel((5, 5)) == (255, 255, 255)


@given(st.integers(1, SIDE), st.integers(1, SIDE))
def test_a_picture_counts_more_the_larger_it_is(width: int, height: int) -> None:
    count = count_picture_tokens(width, height)
    assert 255 <= count <= count_picture_tokens(SIDE, SIDE) == 787
    assert count <= count_picture_tokens(width + 1, height)
    assert count == count_picture_tokens(height, width)
