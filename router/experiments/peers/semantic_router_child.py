"""semantic-router, which asks for versions that the service does not take, in a child process with an environment of its own.

`scripts/peers` makes the environment. Vectors come from the service's embedder, so the library embeds nothing itself.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import platformdirs

from router.errors import ConfigurationError, InternalError, InvalidInput, Unavailable
from router.experiments.dataset import Question
from router.experiments.utilities import set_name
from router.models.base import Embedder
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.source_sets import SourceSet
from router.types import Caller, Query, Route, RouteDecision, Vector

UTTERANCES = 20
"""Examples of each route, which is what its documentation works with; further questions calibrate the confidence."""
CALIBRATING = 500
"""Questions for that at most."""
_T = TypeVar("_T")
WORKER = Path(__file__).with_name("semantic_router_worker.py")


def environment() -> Path:
    """Folder of the library's own environment."""
    return Path(platformdirs.user_cache_dir("graphrag-router")) / "peers" / "semantic-router"


class SemanticRouterPolicy:
    """Chooses the route whose nearest utterances are nearest to the question.

    The library is sure of its choice only: a source's probability is the confidence in the best route that holds it.

    Args:
        process: The worker, which has its routes.
        log: Where it writes what goes wrong.
    """

    name = "semantic-router"

    def __init__(self, process: asyncio.subprocess.Process, log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, questions: Sequence[Question], embedder: Embedder) -> SemanticRouterPolicy:
        """Start the worker with routes from the questions that accept exactly one.

        Raises:
            ConfigurationError: Its environment is not there.
            InvalidInput: No question accepts exactly one route.
            Unavailable: The worker ended.
        """
        python = environment() / "bin" / "python"
        if not python.exists():
            raise ConfigurationError(f"the peer {cls.name} has no environment yet: make it with scripts/peers", field="peer")
        by_route: dict[SourceSet, list[str]] = {}
        for question in questions:
            if len(question.routes) == 1:
                by_route.setdefault(question.routes[0], []).append(question.text)
        if not by_route:
            raise InvalidInput(f"the peer {cls.name} needs questions that accept exactly one route", field="train")
        utterances = {set_name(route): _spread(texts, UTTERANCES) for route, texts in by_route.items()}
        told = {text for texts in utterances.values() for text in texts}
        rest = [(text, set_name(route)) for route, texts in by_route.items() for text in texts if text not in told]
        calibrating = _spread(rest, CALIBRATING)
        texts = [*told, *(text for text, _ in calibrating)]
        vectors = {text: _numbers(vector) for text, vector in zip(texts, await embedder.embed(texts), strict=True)}
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the peer
        process = await asyncio.create_subprocess_exec(
            # -P: the folder of the worker holds modules of ours, which must not stand in for the library's.
            *(python, "-P", WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        peer = cls(process, log)
        try:
            await peer._ask({"utterances": utterances, "calibrating": calibrating, "vectors": vectors})
        except BaseException:
            await peer.aclose()
            raise
        return peer

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        """Raises:
        Unavailable: The worker ended.
        InternalError: It knows no route among these sources (reason NO_ROUTE).
        """
        offered = {source.name for source in sources}
        reply = await self._ask({"text": query.text, "vector": _numbers(probe.vector)})
        choices = [(frozenset(choice["name"].split("+")), choice["confidence"]) for choice in reply["choices"]]
        possible = [(route, min(1.0, max(0.0, confidence))) for route, confidence in choices if route <= offered]
        if not possible:
            raise InternalError(f"{self.name} knows no route among {sorted(offered)}", reason="NO_ROUTE")
        best, _ = possible[0]
        routes = []
        for source in sources:
            probability = max((confidence for route, confidence in possible if source.name in route), default=0.0)
            routes.append(Route(source.name, source.name in best, probability, "by the nearest utterances", cost=source.cost))
        return RouteDecision(self.name, tuple(routes), f"the nearest utterances are of the route {set_name(best)}")

    async def aclose(self) -> None:
        """The worker ends when nobody asks it any more."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
        self._log.close()

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            async with self._turn:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
        except ConnectionError:
            line = b""
        if not line:
            self._log.seek(0)
            last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
            raise Unavailable(f"the worker of {self.name} ended: {' '.join(last) or 'it said nothing'}", reason="PEER_UNAVAILABLE")
        reply: dict[str, Any] = json.loads(line)
        return reply


def _numbers(vector: Vector) -> list[float]:
    return [float(value) for value in vector]


def _spread(items: Sequence[_T], count: int) -> list[_T]:
    """At most so many, evenly over the sequence."""
    return [items[place * len(items) // count] for place in range(count)] if len(items) > count else list(items)
