"""TF-IDF and a linear SVM: what a classifier of question texts can do, without any look at the corpus."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from router.errors import InvalidInput, MissingExtra
from router.experiments.dataset import Question
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.source_sets import SourceSet
from router.types import Caller, Query, Route, RouteDecision

FOLDS = 5
"""Of Platt's calibration. A route with fewer questions cannot be in every fold and is not learnt."""


class TfidfSVMPolicy:
    """Chooses the likeliest of the routes that it was trained on; a source's probability is the sum over the routes that hold it.

    Args:
        model: A fitted scikit-learn classifier of texts with `predict_proba`.
        routes: Its classes, in the order of the probabilities.
    """

    name = "tfidf-svm"

    def __init__(self, model: Any, routes: Sequence[SourceSet]) -> None:
        self._model = model
        self._routes = tuple(routes)

    @classmethod
    async def train(cls, questions: Sequence[Question]) -> TfidfSVMPolicy:
        """Fit on the questions with exactly one accepted route: of several nobody says which is meant.

        Raises:
            MissingExtra: scikit-learn is not installed.
            InvalidInput: Fewer than two routes have enough questions.
        """
        labelled = [(question.text, question.routes[0]) for question in questions if len(question.routes) == 1]
        counts = Counter(route for _, route in labelled)
        routes = sorted((route for route, count in counts.items() if count >= FOLDS), key=sorted)
        if len(routes) < 2:
            raise InvalidInput(
                f"the peer {cls.name} needs two routes with at least {FOLDS} questions each that accept no other", field="train"
            )
        numbered = [(text, routes.index(route)) for text, route in labelled if route in routes]
        return cls(await asyncio.to_thread(_fitted, *zip(*numbered, strict=True)), routes)

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises InvalidInput when no learnt route consists of these sources."""
        offered = {source.name for source in sources}
        (chances,) = self._model.predict_proba([query.text])
        possible = [(float(chance), route) for chance, route in zip(chances, self._routes, strict=True) if route <= offered]
        if not possible:
            raise InvalidInput(f"the peer {self.name} learnt no route among {sorted(offered)}", field="train")
        total = sum(chance for chance, _ in possible) or 1.0
        _, best = max(possible, key=lambda one: one[0])
        routes = []
        for source in sources:
            probability = min(1.0, sum(chance for chance, route in possible if source.name in route) / total)
            routes.append(Route(source.name, source.name in best, probability, "as questions of these words", cost=source.cost))
        return RouteDecision(self.name, tuple(routes), "the words of the question resemble those of the training questions")


def _fitted(texts: Sequence[str], numbers: Sequence[int]) -> Any:
    try:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC
    except ImportError as exc:
        raise MissingExtra("bench", f"the peer {TfidfSVMPolicy.name}") from exc
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(words, CalibratedClassifierCV(LinearSVC(), method="sigmoid", cv=FOLDS)).fit(list(texts), list(numbers))
