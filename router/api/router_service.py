"""`RouterService` over the engine."""

# ruff: noqa: N802 - methods are named as in the contract
from __future__ import annotations

from collections.abc import AsyncIterator

from router.api.convert import (
    answer_to_proto,
    decision_to_proto,
    event_to_proto,
    notice_to_proto,
    query_from_proto,
    retrieval_to_proto,
    timings_to_proto,
)
from router.api.interceptors import Context, current_caller
from router.api.streams import closing
from router.call import Options
from router.engine import Engine
from router.errors import InternalError, InvalidInput
from router.pb import router_service_pb2 as pb
from router.pb import router_service_pb2_grpc as pb_grpc
from router.pb import types_pb2
from router.stopwatch import Stopwatch
from router.types import Answer


class RouterServicer(pb_grpc.RouterServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def Route(self, request: pb.RouteRequest, context: Context) -> pb.RouteResponse:
        caller, watch = current_caller(), Stopwatch()
        query = query_from_proto(request.query)
        try:
            with watch.stage("route"):
                decision = await self._engine.route(query, Options(policy=request.policy), caller)
        except InvalidInput as error:
            # The engine knows the policy as an option; this request has it as a field of its own.
            if error.field == "options.policy":
                error.field = "policy"
            raise
        alternatives, notices = await self._engine.route_all(query, caller) if request.all_policies else ((), ())
        return pb.RouteResponse(
            request_id=caller.request_id,
            decision=decision_to_proto(decision),
            alternatives=map(decision_to_proto, alternatives),
            warnings=map(notice_to_proto, notices),
            timings=timings_to_proto(watch.timings()),
        )

    async def Retrieve(self, request: pb.RetrieveRequest, context: Context) -> pb.RetrieveResponse:
        caller = current_caller()
        retrieval = await self._engine.retrieve(query_from_proto(request.query), options_from_proto(request.options), caller)
        return retrieval_to_proto(retrieval, caller.request_id)

    async def Answer(self, request: pb.AnswerRequest, context: Context) -> pb.AnswerResponse:
        caller = current_caller()
        async with closing(self._engine.answer(query_from_proto(request.query), options_from_proto(request.options), caller)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    return pb.AnswerResponse(request_id=caller.request_id, answer=answer_to_proto(event))
        raise InternalError("the engine ended without an answer")

    async def StreamAnswer(self, request: pb.StreamAnswerRequest, context: Context) -> AsyncIterator[pb.StreamAnswerResponse]:
        caller = current_caller()
        async with closing(self._engine.answer(query_from_proto(request.query), options_from_proto(request.options), caller)) as events:
            async for event in events:
                yield event_to_proto(event, caller.request_id)


def options_from_proto(message: types_pb2.RetrievalOptions) -> Options:
    max_cost = message.max_cost if message.HasField("max_cost") else None
    max_latency_s = message.max_latency_ms / 1000 if message.HasField("max_latency_ms") else None
    return Options(
        sources=tuple(message.sources),
        policy=message.policy,
        limit=message.limit,
        fusion=message.fusion,
        no_log=message.no_log,
        max_cost=max_cost,
        max_latency_s=max_latency_s,
        experiment_key=message.experiment_key,
    )
