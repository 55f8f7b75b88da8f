"""Whether a question asks for something that changes from day to day.

English only. Two kinds of words: those that point at the day on which they are said (`today`, `this week`), and those that mean "the
last one so far" (`latest`, `recent`), which a year of the past turns into history ("the latest Windows in 2001").
Names and quotations say nothing about time: `USA Today`, `the song "Right Now"`.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

JUST_PAST = timedelta(days=92)
"""A month that ended less than a quarter ago is still news."""
FAR_AHEAD = 20
"""Years; a later number is more likely a quantity or a product's name than a date."""

_TODAY = re.compile(
    r"""\b(?:
        today(?:'s)? | tonight(?:'s)? | tomorrow(?:'s)? | yesterday(?:'s)?
      | this\ (?:week|month|year|quarter|season|weekend|morning|afternoon|evening)(?:'s)?
      | (?<!the\ )(?:last|next)\ (?:week|weekend|month|year|night|season)(?:'s)?(?!\ of\b)
      | (?:in|over|during|within)\ the\ (?:last|past)\ (?:few\ |couple\ of\ |\w+\ )?(?:hours|days|weeks|months)
      | right\ now | as\ of\ (?:now|today) | up\ to\ date | so\ far\ this | these\ days | nowadays
      | at\ (?:the|this)\ moment(?=\s*[?.!]|$) | now(?=\s*[?.!]*\s*$)
      | currently | breaking\ news
    )(?![\w'-])""",
    re.VERBOSE,
)
_LAST_SO_FAR = re.compile(
    r"""\b(?:
        (?<!at\ the\ )latest(?!\ possible)
      | newest
      | most\ recent(?:ly)?(?!\ common\ ancestor)
      | (?<!more\ )(?<!most\ )recent(?:ly)?
      | upcoming
      | (?:the|its|their|his|her|our|your|whose|who\ is)\ current(?=\ [a-z_])(?!\ (?:
            flows?|flowing|density|through|in|of|is|was|between|and|or|source|limit|ratio|account|assets?|liabilit\w+)\b)
      | (?:any|in\ the|new|what(?:'s|\ is)\ the)\ news
      | news\ (?:about|on|of|from|regarding|concerning)
    )(?!\w)""",
    re.VERBOSE,
)
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|(?<!\w)'[^']*'(?!\w)|‘[^’]*’(?!\w)")
_NAME_WORD = re.compile(r"(?<=[\w,;:] )[A-Z][\w'’]*")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
_MONTH_OF_YEAR = re.compile(rf"\b({'|'.join(_MONTHS)})(?: \d{{1,2}}(?:st|nd|rd|th)?)?,? (?:of )?(\d{{4}})(?!\w)")
_ISO_DATE = re.compile(r"(?<![\w-])(\d{4})-(\d{2})(?:-\d{2})?(?![\w-])")
# Not a part of a number or of an identifier (INV-2031, 2,031, $2031, 2031 km), and not a count of things.
_YEAR = re.compile(
    r"(?<![\w$€£#/.,-])(?<!room )(?<!flight )(?<!section )(?<!version )([12]\d{3})"
    r"(?![\w%/]|[.,-]\d|-[a-z]| (?:kg|km|m|miles|people|units|dollars|euros)\b)"
)


def asks_for_recent(text: str, today: date) -> bool:
    """Whether the question asks for something current.

    Args:
        text: The question.
        today: The day on which it is asked.
    """
    words = _without_names(text)
    if _names_recent_date(words, today):
        return True
    if _TODAY.search(words):
        return True
    return bool(_LAST_SO_FAR.search(words)) and not any(year < today.year for year in _years(words))


def _without_names(text: str) -> str:
    """Lower case, white space collapsed; quotations and capitalised words within a sentence blanked, months kept."""
    text = _QUOTED.sub(" _ ", " ".join(text.replace("’", "'").split()))
    if not text.isupper():
        text = _NAME_WORD.sub(lambda word: word[0] if word[0].lower() in _MONTHS else "_", text)
    return text.lower()


def _years(words: str) -> list[int]:
    return [int(year) for year in _YEAR.findall(words)]


def _names_recent_date(words: str, today: date) -> bool:
    if any(today.year <= year <= today.year + FAR_AHEAD for year in _years(words)):
        return True
    months = [(int(year), _MONTHS.index(month) + 1) for month, year in _MONTH_OF_YEAR.findall(words)]
    months += [(int(year), int(month)) for year, month in _ISO_DATE.findall(words) if 1 <= int(month) <= 12 and int(year) > 0]
    earliest = today - min(JUST_PAST, today - date.min)
    return any((earliest.year, earliest.month) < month <= (today.year + FAR_AHEAD, 12) for month in months)
