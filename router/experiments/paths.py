"""Structured facts: does a relation path lead to exactly the accepted answers?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from router.call import Options
from router.engine import Engine
from router.errors import InvalidInput
from router.experiments.dataset import Question
from router.experiments.retrieval import Measured, Run, caller
from router.retrieval.base import RetrievalRequest, Retriever
from router.retrieval.graph import GraphRetriever
from router.retrieval.overview import OverviewRetriever
from router.retrieval.relation_paths import RelationPath
from router.retrieval.text2cypher.answer import GraphWithCypher
from router.stores.snapshot import GraphSnapshot
from router.types import Query, TextPart

CUTS = (1, 5)
RELATION_PATHS = "relation paths"
PATH_EXACT = "path_exact@"


def graph_sources(engine: Engine, sources: Sequence[str]) -> list[str]:
    """Of these sources those that follow relation paths."""
    return [name for name in sources if isinstance(_innermost(engine.sources[name].retriever), GraphRetriever)]


async def measure_paths(engine: Engine, questions: Sequence[Question], source: str, progress: Callable[[], None]) -> Measured:
    """`path_exact@n`: whether one of the first n relation paths ends in exactly the accepted answers (case does not count).

    Also by the number of hops, where the set has it: `path_exact@1/2-hop`.
    """
    retriever = _innermost(engine.sources[source].retriever)
    if not isinstance(retriever, GraphRetriever):
        raise InvalidInput(f"the source {source!r} follows no relation paths", field="source")
    measured = Measured(Run(RELATION_PATHS, Options(sources=(source,))))
    for question in questions:
        begin = time.perf_counter()
        query, asking = Query((TextPart(question.text),)), caller()
        probe = await engine.probe(query, asking)
        snapshot, found = await retriever.relation_paths(RetrievalRequest(query, probe, asking, max(CUTS)))
        measured.latencies_ms.append(1000.0 * (time.perf_counter() - begin))
        if question.answers:
            exact = [is_exact(path, snapshot, question.answers) for path in found]
            for cut in CUTS:
                for name in (f"{PATH_EXACT}{cut}", *((f"{PATH_EXACT}{cut}/{question.hops}-hop",) if question.hops else ())):
                    measured.values.setdefault(name, {})[question.id] = float(any(exact[:cut]))
        progress()
    return measured


def _innermost(retriever: Retriever) -> Retriever:
    while isinstance(retriever, OverviewRetriever | GraphWithCypher):
        retriever = retriever.inner
    return retriever


def is_exact(path: RelationPath, snapshot: GraphSnapshot, answers: Sequence[str]) -> bool:
    """Whether a path ends in all accepted answers and nothing else."""
    ends = {snapshot.entity(end).name.casefold() for end in path.ends}
    return ends == {answer.casefold() for answer in answers}
