"""What a list of evidence is worth. Ranking measures come from ir_measures; the rest is counting."""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import ir_measures

from router.experiments.dataset import Question
from router.types import Evidence

NDCG_CUT = 10


def documents(evidence: Sequence[Evidence]) -> list[str]:
    """Names of the documents of a list, best first, each once."""
    return list(dict.fromkeys(item.uri for item in evidence if item.document_id))


def ranking_metrics(ranked: Mapping[str, Sequence[str]], questions: Sequence[Question], k: int) -> dict[str, list[float]]:
    """Values per question that has gold passages: recall@k, all_gold@k, ndcg@10.

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
    recalls = [values[str(recall)].get(question.id, 0.0) for question in judged]
    return {
        f"recall@{k}": recalls,
        f"all_gold@{k}": [float(value >= 1.0) for value in recalls],
        f"ndcg@{NDCG_CUT}": [values[str(ndcg)].get(question.id, 0.0) for question in judged],
    }


def has_answer(evidence: Iterable[Evidence], answers: Sequence[str]) -> bool:
    """Whether an accepted answer stands in a text, word for word (case, accents and punctuation do not count)."""
    texts = [f" {normal(f'{item.title} {item.text}')} " for item in evidence]
    return any(f" {wanted} " in text for answer in answers if (wanted := normal(answer)) for text in texts)


def normal(text: str) -> str:
    """Words only: lower case, no accents, no punctuation."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", plain.casefold()))


def carries(evidence: Sequence[Evidence], question: Question, k: int) -> float:
    """1 when the first k items hold an accepted answer, or all gold passages; else the share of gold passages; else 0."""
    first = evidence[:k]
    if question.answers and has_answer(first, question.answers):
        return 1.0
    if not question.gold:
        return 0.0
    found = set(documents(first)) & question.gold
    return len(found) / len(question.gold)


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % confidence interval of the mean (normal approximation)."""
    return 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile; `share` between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
