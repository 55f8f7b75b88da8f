"""The policy file: which questions are refused, and what answers must not say. Strict; an error names its entry."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.errors import ConfigurationError
from router.filtering.patterns import Pattern, SpanPattern

SETTING = "filters.file"
MAX_ENTRIES = 1_000
"""Rules, patterns or examples in one list."""


def _checked(kind: Callable[[str], object]) -> AfterValidator:
    def check(expression: str) -> str:
        kind(expression)
        return expression

    return AfterValidator(check)


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Example = Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"\S")]


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class RefuseRule(Entry):
    """Questions that are not answered. Needs patterns, examples, or both."""

    name: Name
    """Told to the caller, and written to the log."""
    message: str = Field(min_length=1, max_length=600)
    """Told to the caller: why, and what to do instead."""
    patterns: tuple[Annotated[str, _checked(Pattern)], ...] = Field(default=(), max_length=MAX_ENTRIES)
    """RE2 expressions; a question in which one matches is refused."""
    examples: tuple[Example, ...] = Field(default=(), max_length=MAX_ENTRIES)
    """Questions of this sort; one that means nearly the same is refused."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """Least likeness to the examples: the mean of the cosines to the nearest one and to the middle of all."""

    @model_validator(mode="after")
    def _refuses_something(self) -> RefuseRule:
        if not self.patterns and not self.examples:
            raise ValueError("the rule refuses nothing: give it patterns or examples")
        return self


class RedactRule(Entry):
    """What answers must not say."""

    name: Name
    """Told to the caller."""
    patterns: tuple[Annotated[str, _checked(SpanPattern)], ...] = Field(min_length=1, max_length=MAX_ENTRIES)
    """RE2 expressions, without groups that capture."""
    replacement: str = Field(default="[redacted]", max_length=200)
    """What is told in the place of each match."""
    stop: bool = False
    """End the answer before the first match instead."""

    @model_validator(mode="after")
    def _cites_nothing(self) -> RedactRule:
        if re.search(r"\[\s*\d", self.replacement):
            raise ValueError("the replacement looks like a citation: leave out the number in brackets")
        return self


class FilterPolicy(Entry):
    """The whole file."""

    refuse: tuple[RefuseRule, ...] = Field(default=(), max_length=MAX_ENTRIES)
    allowed: tuple[Example, ...] = Field(default=(), max_length=MAX_ENTRIES)
    """Questions that resemble refused ones and are fine: the nearer example decides."""
    margin: float = Field(default=0.05, ge=0, le=1)
    """By how much a refused example must be nearer than every allowed one."""
    redact: tuple[RedactRule, ...] = Field(default=(), max_length=MAX_ENTRIES)

    @model_validator(mode="after")
    def _names_differ(self) -> FilterPolicy:
        for group, rules in (("refuse", self.refuse), ("redact", self.redact)):
            names = [rule.name for rule in rules]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{group} has two rules of the name {twice!r}")
        return self


def open_policy(path: Path) -> FilterPolicy:
    """Read the file.

    Raises:
        ConfigurationError: It cannot be read, or an entry is wrong; names the entry.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}", field=SETTING) from error
    try:
        return FilterPolicy.model_validate({} if tree is None else tree)
    except ValidationError as error:
        problem = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
        raise ConfigurationError(f"{path}: {place or 'the file'}: {problem['msg']}", field=SETTING) from error
