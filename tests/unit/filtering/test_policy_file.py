from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import ConfigurationError
from router.filtering.policy_file import open_policy

WHOLE = """
refuse:
  - {name: pay, message: Ask the office., patterns: ['(?i)salary'], examples: ["What does Ada earn?"], threshold: 0.7}
allowed: ["When is pay day?"]
margin: 0.1
redact:
  - {name: mail, patterns: ['\\w+@\\w+'], replacement: <mail>, stop: true}
"""
REFUSE = "refuse: [{name: pay, message: Ask the office., patterns: ['salary']}, "


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return path


def test_a_file_is_read_in_whole(tmp_path) -> None:
    policy = open_policy(written(tmp_path, WHOLE))
    assert (policy.refuse[0].name, policy.refuse[0].threshold, policy.allowed, policy.margin) == ("pay", 0.7, ("When is pay day?",), 0.1)
    assert (policy.redact[0].replacement, policy.redact[0].stop) == ("<mail>", True)
    assert open_policy(written(tmp_path, "")).refuse == ()


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (REFUSE + "{name: x, message: m, patterns: ['ok', '(']}]", "refuse[1].patterns[1]", "no expression of RE2"),
        (REFUSE + "{name: x, message: m, patterns: ['a(?=b)']}]", "refuse[1].patterns[0]", "no expression of RE2"),
        (REFUSE + "{name: x, message: m, patterns: ['a*']}]", "refuse[1].patterns[0]", "matches everywhere"),
        (REFUSE + "{name: x, message: m}]", "refuse[1]", "give it patterns or examples"),
        (REFUSE + "{name: x, message: m, examples: [' ']}]", "refuse[1].examples[0]", "pattern"),
        (REFUSE + "{name: x, message: m, pattern: y}]", "refuse[1].pattern", "not permitted"),
        (REFUSE + "{name: x, message: m, patterns: [y], threshold: 2}]", "refuse[1].threshold", "less than or equal to 1"),
        (REFUSE + "{name: pay, message: m, patterns: [y]}]", "the file", "two rules of the name 'pay'"),
        ("redact: [{name: x, patterns: ['(a)b']}]", "redact[0].patterns[0]", r"\(\?:\.\.\.\)"),
        ("redact: [{name: x, patterns: [a], replacement: 'see [1]'}]", "redact[0]", "looks like a citation"),
        ("refuse: pay", "refuse", "tuple"),
        ("[1]", "the file", "dictionary"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, text: str, place: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as raised:
        open_policy(written(tmp_path, text))
    assert f"policy.yaml: {place}: " in raised.value.message
    assert raised.value.field == "filters.file"


@pytest.mark.parametrize("text", ["refuse: [", "\x00", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text: str | None) -> None:
    path = tmp_path / "nowhere.yaml" if text is None else written(tmp_path, text)
    with pytest.raises(ConfigurationError, match="cannot be read") as raised:
        open_policy(path)
    assert str(path) in raised.value.message
