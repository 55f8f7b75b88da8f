"""Prices as options of `eval routing`."""

from __future__ import annotations

from collections.abc import Sequence

from router.configuration import overridden
from router.errors import InvalidInput
from router.experiments.utilities import FREE, LLMPrice
from router.settings import Settings


def with_prices(settings: Settings, prices: Sequence[str]) -> Settings:
    """The settings with other prices of sources: what policies decide by and what they are scored by.

    Args:
        settings: The settings.
        prices: Each `SOURCE=P`, P in units of answer quality.

    Raises:
        InvalidInput: It is not of this form, or no source has this name.
        ConfigurationError: The price is below 0.
    """
    overrides = {}
    for text in prices:
        source, equals, price = text.partition("=")
        if not equals or not _is_number(price):
            raise InvalidInput(f"{text!r} is not of the form SOURCE=P", field="price")
        if source not in settings.sources:
            raise InvalidInput(f"there is no source {source!r}; there are {sorted(settings.sources)}", field="price")
        overrides[f"sources.{source}.cost"] = price
    return overridden(settings, overrides) if overrides else settings


def parse_llm_price(text: str | None) -> LLMPrice:
    """`PROMPT,COMPLETION`: money per million tokens; None costs nothing.

    Raises:
        InvalidInput: It is not of this form.
    """
    if text is None:
        return FREE
    parts = text.split(",")
    if len(parts) != 2 or not all(map(_is_number, parts)):
        raise InvalidInput(f"{text!r} is not of the form PROMPT,COMPLETION", field="llm-price")
    return LLMPrice(float(parts[0]), float(parts[1]))


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
