from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.routing.recency import asks_for_recent

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    "text",
    [
        "What is the latest news about the carbon tax?",
        "What's the weather in Oslo today?",
        "Who is the current prime minister of Norway?",
        "Does it follow the current WHO guideline?",
        "Which team is currently on top of the league?",
        "What happened this week in Geneva?",
        "Who won the race last night?",
        "How much is copper right now?",
        "Where does she live now?",
        "Has the law been changed recently?",
        "What are the most recent rulings on this?",
        "Who hosts the 2026 World Cup?",
        "When is the 2030 election?",
        "What was decided in October 2026?",
        "What was published on 2026-11-02?",
        "What is in the news about Aster Foundry?",
        "How has it changed since 2019 until today?",
        "WHAT IS THE LATEST NEWS?",
    ],
)
def test_asks_for_something_recent(text: str) -> None:
    assert asks_for_recent(text, TODAY)


@pytest.mark.parametrize(
    "text",
    [
        "Who founded Aster Foundry?",
        "Who owns USA Today?",
        "Which newspaper did he edit?",
        "Who sings the song “Right Now”?",
        'Who wrote "Yesterday"?',
        "What was the latest version of Windows in 2001?",
        "Which film came out more recently, Alien or Jaws?",
        "Who was born more recently?",
        "How much current flows through the motor?",
        "What limits the current in the coil?",
        "What is the current density at the anode?",
        "When must the form be handed in at the latest?",
        "What happened in the last year of the war?",
        "What was decided in March 2024?",
        "What was published on 2025-11-02?",
        "Which team uses room 2031?",
        "What caused incident INC-2027?",
        "Is a load of 2030 kg allowed?",
        "What costs $2031?",
        "What may happen in May?",
        "",
    ],
)
def test_asks_for_nothing_recent(text: str) -> None:
    assert not asks_for_recent(text, TODAY)


def test_the_same_year_is_recent_only_until_it_is_past() -> None:
    text = "Who won the 2026 World Cup?"
    assert asks_for_recent(text, date(2026, 1, 1))
    assert not asks_for_recent(text, date(2027, 1, 1))


def test_a_month_of_last_year_is_recent_when_it_has_just_ended() -> None:
    assert asks_for_recent("What was announced in December 2026?", date(2027, 1, 5))
    assert not asks_for_recent("What was announced in December 2025?", date(2027, 1, 5))


@given(st.text(max_size=200), st.dates())
def test_any_text_on_any_day_has_an_answer(text: str, today: date) -> None:
    assert asks_for_recent(text, today) in {True, False}
