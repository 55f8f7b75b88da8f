"""The graph source with a language model that may ask the graph one query of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from router.errors import InternalError, InvalidInput, RouterError
from router.models.base import LanguageModel, Message
from router.retrieval.base import LinkedName, RetrievalRequest, Retrieved, Retriever
from router.retrieval.text2cypher.guard import Limits, guard
from router.retrieval.text2cypher.prompt import MAX_REPLY_TOKENS, REPLY_SCHEMA, Written, asked, asked_again, read_reply
from router.retrieval.text2cypher.schema import GraphSchema, schema_of
from router.settings import Text2CypherSettings
from router.stores.base import GraphNodeChunk, GraphReader, ReadStatement, Relation, Rows, Value
from router.stores.mirror import GraphMirror
from router.stores.snapshot import GraphSnapshot
from router.types import Entity, Evidence, EvidenceKind, PathStep, Provenance

log = structlog.get_logger(__name__)

DEADLINE_SHARE = 0.9
"""Part of the source's time that the query may take; the rest is for handing over what the walk found."""
SEED_SHARE = 0.5
"""Where the walk starts: weight of the rows against 1 for all that the question names. A judgement: a model may have misread it."""
MAX_TEXT_CHARS = 2_000
MAX_LINKS = 50
"""Entities of the rows that are tied to the walk."""


@dataclass(frozen=True, slots=True)
class Found:
    """A query that ran, and its rows."""

    written: Written
    rows: Rows


class CypherWriter:
    """Has the model write a query, checks it and runs it.

    Args:
        model: Asked once, and a second time when the first query is refused.
        reader: Runs the query.
        settings: Caps on rows and time.
    """

    def __init__(self, model: LanguageModel, reader: GraphReader, settings: Text2CypherSettings) -> None:
        self._model = model
        self._reader = reader
        self._settings = settings

    async def answer(self, tenant: str, schema: GraphSchema, question: str, names: Sequence[LinkedName]) -> Found | None:
        """The rows of the model's query; None when the model says that the graph cannot answer.

        Raises:
            ModelUnavailable: The model is gone.
            StoreUnavailable: The database is gone.
            DeadlineExceeded: The query took too long.
            InvalidInput: The query was refused, by the guard or the database, and so was the one of the repair turn.
            InternalError: The model replied nonsense (reason LLM_REPLY_MALFORMED).
        """
        messages = asked(schema, question, names)
        reply = await self._ask(messages)
        first: ReadStatement | None = None
        try:
            written = read_reply(reply)
            if not written.cypher:
                return None
            first = self._guarded(written, schema)
            return await self._run(tenant, written, first)
        except (ValueError, InvalidInput) as problem:
            refused = problem
        log.info("cypher_refused", reason=getattr(refused, "reason", "malformed"), problem=str(refused)[:300])
        reply = await self._ask(asked_again(messages, reply, str(refused)))
        try:
            again = read_reply(reply)
        except ValueError as problem:
            raise InternalError(f"{self._model.name} replied nonsense: {problem}", reason="LLM_REPLY_MALFORMED") from problem
        if not again.cypher:
            return None
        second = self._guarded(again, schema)
        if second == first:
            # The database has refused it already.
            assert isinstance(refused, InvalidInput)
            raise refused
        return await self._run(tenant, again, second)

    async def _ask(self, messages: Sequence[Message]) -> str:
        return await self._model.complete(messages, max_tokens=MAX_REPLY_TOKENS, schema=REPLY_SCHEMA)

    def _guarded(self, written: Written, schema: GraphSchema) -> ReadStatement:
        return guard(written.cypher, written.parameters, schema, Limits(rows=self._settings.max_rows))

    async def _run(self, tenant: str, written: Written, statement: ReadStatement) -> Found:
        return Found(written, await self._reader.read(tenant, statement, self._settings.timeout_s))


class GraphWithCypher:
    """A Retriever: what the graph source finds, and the rows of a query that the model wrote for the question.

    The query is extra: whatever goes wrong with it is told in `degraded`, and the rest is served.

    Args:
        name: Name of the source.
        graph: The graph source.
        writer: Writes and runs the query.
        mirror: The snapshot that the schema is read from.
    """

    def __init__(self, name: str, graph: Retriever, writer: CypherWriter, mirror: GraphMirror) -> None:
        self._name = name
        self.inner = graph
        self._writer = writer
        self._mirror = mirror
        self._schemas: dict[str, tuple[GraphSnapshot, GraphSchema]] = {}

    async def search(self, request: RetrievalRequest) -> Retrieved:
        if request.query.filter or not request.query.text.strip():
            # Facts carry no metadata, so a filtered question is answered from passages only.
            return await self.inner.search(request)
        querying = asyncio.create_task(self._evidence(request), name="text2cypher")
        try:
            retrieved = await self.inner.search(request)
            evidence, links, problem = await querying
        finally:
            querying.cancel()
            await asyncio.gather(querying, return_exceptions=True)
        if problem:
            retrieved = replace(retrieved, degraded="; ".join(filter(None, (retrieved.degraded, problem))))
        return retrieved if evidence is None else _joined(retrieved, evidence, links)

    async def _evidence(self, request: RetrievalRequest) -> tuple[Evidence | None, tuple[str, ...], str]:
        """The rows as evidence, the entities that they name, and what went wrong."""
        tenant = request.caller.tenant
        allowed_s = request.caller.deadline.remaining_s() * DEADLINE_SHARE
        scope = asyncio.timeout(allowed_s)
        try:
            async with scope:
                snapshot, schema = await self._schema(tenant)
                found = await self._writer.answer(tenant, schema, request.query.text, request.probe.linked or ())
        except TimeoutError:
            if not scope.expired():
                raise
            return None, (), f"no generated query: the language model and its query took more than {allowed_s:.1f} s"
        except RouterError as error:
            log.warning("text2cypher_failed", source=self._name, reason=error.reason, request_id=request.caller.request_id)
            return None, (), f"no generated query: {error.message}"
        if found is None or not _says_something(found.rows.rows, _given(found.written)):
            return None, (), ""
        evidence = evidence_of(found, self._name)
        named = [entity.id for row in found.rows.rows for entity in _entities(row)]
        named += [name.entity.id for name in snapshot.names_in(evidence.text)]
        return evidence, tuple(dict.fromkeys(named))[:MAX_LINKS], ""

    async def _schema(self, tenant: str) -> tuple[GraphSnapshot, GraphSchema]:
        snapshot = await self._mirror.current(tenant)
        known = self._schemas.get(tenant)
        if known is None or known[0] is not snapshot:
            known = snapshot, await asyncio.to_thread(lambda: schema_of(snapshot.content))
            self._schemas[tenant] = known
        return known


def _joined(retrieved: Retrieved, evidence: Evidence, links: tuple[str, ...]) -> Retrieved:
    """The rows first: they answer the question itself."""
    total = sum(retrieved.seeds.values())
    weight = total * SEED_SHARE or 1.0
    first = replace(evidence.provenance[0], score=weight / (total + weight))
    others = tuple(
        replace(item, provenance=tuple(replace(step, rank=step.rank + 1) for step in item.provenance)) for item in retrieved.evidence
    )
    return replace(
        retrieved,
        evidence=(replace(evidence, provenance=(first,)), *others),
        seeds={**retrieved.seeds, evidence.id: weight},
        links={**retrieved.links, evidence.id: links},
    )


def evidence_of(found: Found, source: str) -> Evidence:
    """All rows as one citable item: a list that answers a question is of use only as a whole."""
    text = _text(found.rows)
    query = " ".join(found.written.cypher.split())
    parameters = json.dumps(found.written.parameters, ensure_ascii=False, sort_keys=True)
    count = f"{len(found.rows.rows)} {'row' if len(found.rows.rows) == 1 else 'rows'}"
    return Evidence(
        id=hashlib.sha256("\x00".join(("cypher", query, parameters, text)).encode()).hexdigest()[:32],
        kind=EvidenceKind.FACT,
        title=f"Graph query: {', '.join(found.rows.columns)}",
        text=text,
        provenance=(Provenance(source, 1, 0.0, "walk", (PathStep("the question", f"asks {query}", count),)),),
        metadata={"cypher": query, "parameters": parameters},
    )


def _text(rows: Rows) -> str:
    """The rows in words: `person: Ada, Jonas.` for one column, a line of `person: Ada; city: Kiel.` for each row of several."""
    if len(rows.columns) == 1:
        cells = [_words(row[0]) for row in rows.rows]
        kept = _fitting(cells)
        end = "" if len(kept) == len(cells) and not rows.truncated else " and more"
        return f"{rows.columns[0]}: {', '.join(kept)}{end}."
    lines = ["; ".join(f"{column}: {_words(value)}" for column, value in zip(rows.columns, row, strict=True)) + "." for row in rows.rows]
    kept = _fitting(lines)
    return "\n".join(kept if len(kept) == len(lines) and not rows.truncated else [*kept, "There are more rows."])


def _fitting(texts: Sequence[str]) -> list[str]:
    kept: list[str] = []
    left = MAX_TEXT_CHARS
    for text in texts:
        left -= len(text)
        if kept and left < 0:
            break
        kept.append(text[:MAX_TEXT_CHARS])
    return kept


def _words(value: Value) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case Entity() | Relation():
            return value.name
        case GraphNodeChunk():
            return value.title
        case tuple() if len(value) > 2 and isinstance(value[1], Relation):
            return " - ".join(map(_words, value))
        case tuple():
            return ", ".join(map(_words, value))
        case Mapping():
            return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    return str(value)


def _says_something(value: Value, given: Collection[object]) -> bool:
    """Whether a value states a fact. That nothing was found or counted may as well mean that the query missed it, and a query that
    returns what it was given has looked the wrong way.
    """
    if isinstance(value, tuple | Mapping):
        return any(_says_something(item, given) for item in (value.values() if isinstance(value, Mapping) else value))
    if isinstance(value, Relation):
        return False
    said = value.name if isinstance(value, Entity) else value
    return said is not None and said not in (0, "") and said not in given


def _given(written: Written) -> set[object]:
    values = (value if isinstance(value, tuple) else (value,) for value in written.parameters.values())
    return {value for some in values for value in some}


def _entities(value: Value) -> Iterator[Entity]:
    if isinstance(value, Entity):
        yield value
    elif isinstance(value, tuple | Mapping):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _entities(item)
