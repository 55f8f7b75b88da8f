"""Prices as options."""

from __future__ import annotations

import pytest

from router.errors import InvalidInput
from router.experiments.bench_options import parse_llm_price, with_prices
from router.experiments.utilities import FREE, LLMPrice
from router.settings import Settings


def test_a_price_is_the_cost_of_a_source() -> None:
    changed = with_prices(Settings(), ["web=0.05", "graph=0"])
    assert {name: source.cost for name, source in changed.sources.items()} == {"vector": 0.02, "graph": 0.0, "web": 0.05}
    assert with_prices(Settings(), []) == Settings()


@pytest.mark.parametrize("text", ["web", "web=much", "web=-1", "moon=0.1"])
def test_a_wrong_price_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"moon|SOURCE=P") as error:
        with_prices(Settings(), [text])
    assert error.value.field == "price"


def test_money_for_tokens() -> None:
    assert parse_llm_price(None) == FREE
    assert parse_llm_price("0.5,2").of(1_000_000, 500_000) == 1.5
    assert parse_llm_price("0.5,2") == LLMPrice(0.5, 2.0)
    for wrong in ("1", "1,2,3", "1,x"):
        with pytest.raises(InvalidInput, match="PROMPT,COMPLETION"):
            parse_llm_price(wrong)
