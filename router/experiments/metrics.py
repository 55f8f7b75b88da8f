"""What a list of evidence is worth. Ranking measures come from ir_measures; the rest is counting words."""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

import ir_measures
import Stemmer

from router.experiments.dataset import Question
from router.spacy import STOP_WORDS
from router.types import Evidence

NDCG_CUT = 10
SHORT_ANSWER_WORDS = 5
"""An accepted answer of at most so many words is looked for as it stands; a longer one, a sentence of somebody's own, by its words."""
VERDICTS = frozenset({"yes", "no", "true", "false"})
"""Answers that say nothing about a text in which they stand."""


def documents(evidence: Sequence[Evidence]) -> list[str]:
    """Names of the documents of a list, best first, each once."""
    return list(dict.fromkeys(item.uri for item in evidence if item.document_id))


def ranking_metrics(ranked: Mapping[str, Sequence[str]], questions: Sequence[Question], k: int) -> dict[str, dict[str, float]]:
    """Measure -> question id -> value, for the questions that have gold passages: recall@k, all_gold@k, ndcg@10.

    Args:
        ranked: Question id -> document names, best first.
        questions: The questions.
        k: Where the lists are cut.
    """
    judged = [question for question in questions if question.gold]
    if not judged:
        return {}
    recall, ndcg = ir_measures.R @ k, ir_measures.nDCG @ NDCG_CUT
    qrels = [ir_measures.Qrel(question.id, passage, 1) for question in judged for passage in question.gold]
    # Scores fall with the rank, so that the library keeps our order.
    run = [
        ir_measures.ScoredDoc(question.id, name, 1.0 / rank)
        for question in judged
        for rank, name in enumerate(ranked.get(question.id, ()), start=1)
    ]
    values: dict[str, dict[str, float]] = {str(recall): {}, str(ndcg): {}}
    for measured in ir_measures.iter_calc([recall, ndcg], qrels, run):
        values[str(measured.measure)][measured.query_id] = measured.value
    # A question without a ranked passage is absent from what the library gives.
    recalls = {question.id: values[str(recall)].get(question.id, 0.0) for question in judged}
    return {
        f"recall@{k}": recalls,
        f"all_gold@{k}": {question: float(value >= 1.0) for question, value in recalls.items()},
        f"ndcg@{NDCG_CUT}": {question.id: values[str(ndcg)].get(question.id, 0.0) for question in judged},
    }


def answer_metrics(evidence: Sequence[Evidence], question: Question, k: int) -> dict[str, float]:
    """Whether the first k items hold the answer, by the one measure that fits its form; empty where none does.

    `answer@k` (1 or 0): one of the accepted answers stands there; for questions with an accepted answer of few words.
    `answer_words@k` (0 to 1): the share of an accepted answer's words found there, for answers that are sentences: inflected forms count,
    and neither the small words do nor those of the question, which any passage on the matter holds. The best accepted answer counts.
    A mere yes or no cannot be looked for, so such questions have neither.
    """
    answers = telling(question.answers)
    if not answers:
        return {}
    if any(len(normal(answer).split()) <= SHORT_ANSWER_WORDS for answer in answers):
        return {f"answer@{k}": float(has_answer(evidence[:k], answers))}
    held = stems(" ".join(f"{item.title} {item.text}" for item in evidence[:k]))
    wanted = [words for answer in answers if (words := stems(answer) - stems(question.text) or stems(answer))]
    return {f"answer_words@{k}": max(len(words & held) / len(words) for words in wanted)} if wanted else {}


def telling(answers: Iterable[str]) -> list[str]:
    """The answers that can be looked for in a text: those with words that are more than a yes or no."""
    return [answer for answer in answers if (words := normal(answer)) and words not in VERDICTS]


def has_answer(evidence: Iterable[Evidence], answers: Sequence[str]) -> bool:
    """Whether an accepted answer stands in a text, word for word (case, accents and punctuation do not count)."""
    texts = [f" {normal(f'{item.title} {item.text}')} " for item in evidence]
    return any(f" {wanted} " in text for answer in answers if (wanted := normal(answer)) for text in texts)


def stems(text: str) -> set[str]:
    """The words of a text without their endings, small words left out."""
    return set(Stemmer.Stemmer("english").stemWords([word for word in normal(text).split() if word not in STOP_WORDS]))


def normal(text: str) -> str:
    """Words only: lower case, no accents, no punctuation."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", plain.casefold()))


def carries(evidence: Sequence[Evidence], question: Question, k: int) -> float:
    """1 when the first k items hold an accepted answer, or all gold passages; else the share of gold passages; else 0."""
    first = evidence[:k]
    if has_answer(first, telling(question.answers)):
        return 1.0
    if not question.gold:
        return 0.0
    found = set(documents(first)) & question.gold
    return len(found) / len(question.gold)


def mean(values: Collection[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def half_width(values: Collection[float]) -> float:
    """Half of the 95 % confidence interval of the mean (normal approximation)."""
    return 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def percentile(values: Collection[float], share: float) -> float:
    """Nearest-rank percentile; `share` between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
