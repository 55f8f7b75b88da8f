"""`ask`, `route` and `retrieve`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from router.cli import documents, render
from router.cli.options import (
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT_S,
    ExperimentKey,
    Filters,
    Fusion,
    Images,
    Instruction,
    Json,
    Key,
    Limit,
    MaxCost,
    MaxLatency,
    NoLog,
    Policy,
    Question,
    SaveImages,
    Sources,
    Target,
    Thumbnails,
    Timeout,
    Tls,
    connected,
    print_json,
    query_of,
)
from router.cli.saving import save_pictures
from router.cli.thumbnails import graphics_of
from router.client import RouterClient
from router.types import Answer, AnswerEvent, Evidence, RouteDecision, Token


def ask(
    question: Question = "",
    image: Images = None,
    instruction: Instruction = "",
    save_images: SaveImages = None,
    thumbnails: Thumbnails = None,
    source: Sources = None,
    policy: Policy = "",
    limit: Limit = 0,
    fusion: Fusion = "",
    where: Filters = None,
    no_log: NoLog = False,
    max_cost: MaxCost = None,
    max_latency: MaxLatency = None,
    experiment_key: ExperimentKey = "",
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Answer a question: the decision first, then the answer as it is written, then what it rests on."""
    query = query_of(question, where, image, instruction)
    with connected(target, api_key, tls, timeout, as_json) as client:
        if as_json:
            answer = client.answer(
                query,
                sources=source or (),
                policy=policy,
                limit=limit,
                fusion=fusion,
                no_log=no_log,
                max_cost=max_cost,
                max_latency_ms=max_latency,
                experiment_key=experiment_key,
            )
            print_json(documents.of_answer(answer))
            _save(client, answer.retrieval.evidence, save_images)
        else:
            events = client.stream_answer(
                query,
                sources=source or (),
                policy=policy,
                limit=limit,
                fusion=fusion,
                no_log=no_log,
                max_cost=max_cost,
                max_latency_ms=max_latency,
                experiment_key=experiment_key,
            )
            answered = _show(events, thumbnails)
            if answered is not None:
                cited = render.cited(answered.citations, answered.retrieval.evidence)
                _save(client, [item for _, item in cited] or answered.retrieval.evidence, save_images)


def _show(events: Iterator[AnswerEvent], thumbnails: bool | None) -> Answer | None:
    console = render.screen()
    text = render.StreamedText(console)
    answer = None
    try:
        for event in events:
            match event:
                case RouteDecision():
                    render.show_decision(console, event)
                case Token():
                    text.add(event.text)
                case Answer():
                    answer = event
    finally:
        text.end()
    if answer is not None:
        _show_grounds(answer, thumbnails)
    return answer


def _save(client: RouterClient, evidence: Sequence[Evidence], folder: Path | None) -> None:
    if folder is not None:
        for path in save_pictures(client, evidence, folder):
            typer.echo(f"saved {path}", err=True)


def _show_grounds(answer: Answer, thumbnails: bool | None) -> None:
    console = render.screen()
    sources = render.cited(answer.citations, answer.retrieval.evidence)
    if sources:
        console.print("\nSources")
        render.show_evidence(console, sources, graphics=graphics_of(console, os.environ, thumbnails))
    console.print()
    render.show_turns(console, answer.retrieval.turns)
    render.show_reports(console, answer.retrieval.sources)
    render.show_notices(console, answer.notices)
    console.print(f"({answer.generator}, {answer.timings.total_s:.2f} s, request {answer.request_id})", style="dim")


def route(
    question: Question = "",
    image: Images = None,
    instruction: Instruction = "",
    every: Annotated[bool, typer.Option("--all", help="Show what every policy decides.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show what the policy looked at and expected.")] = False,
    policy: Policy = "",
    where: Filters = None,
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Show where the answer would be looked for; nothing is retrieved."""
    if every and policy:
        raise typer.BadParameter("--all asks every policy; leave --policy out", param_hint="--policy")
    query = query_of(question, where, image, instruction)
    with connected(target, api_key, tls, timeout, as_json) as client:
        if every:
            decision, alternatives, notices = client.route_all(query)
        else:
            decision, alternatives, notices = client.route(query, policy=policy), (), ()
    if as_json:
        print_json(documents.of_routing(decision, alternatives, notices))
        return
    console = render.screen()
    for shown in alternatives or (decision,):
        render.show_decision(console, shown, explain=explain)
    render.show_notices(console, notices)


def retrieve(
    question: Question = "",
    image: Images = None,
    instruction: Instruction = "",
    save_images: SaveImages = None,
    thumbnails: Thumbnails = None,
    source: Sources = None,
    policy: Policy = "",
    limit: Limit = 0,
    fusion: Fusion = "",
    where: Filters = None,
    no_log: NoLog = False,
    max_cost: MaxCost = None,
    max_latency: MaxLatency = None,
    experiment_key: ExperimentKey = "",
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Show the evidence for a question, fused and best first, without an answer."""
    query = query_of(question, where, image, instruction)
    with connected(target, api_key, tls, timeout, as_json) as client:
        retrieval = client.retrieve(
            query,
            sources=source or (),
            policy=policy,
            limit=limit,
            fusion=fusion,
            no_log=no_log,
            max_cost=max_cost,
            max_latency_ms=max_latency,
            experiment_key=experiment_key,
        )
        _save(client, retrieval.evidence, save_images)
    if as_json:
        print_json(documents.of_retrieval(retrieval))
        return
    console = render.screen()
    render.show_decision(console, retrieval.decision)
    if not retrieval.evidence:
        console.print("Nothing was found.")
    graphics = graphics_of(console, os.environ, thumbnails)
    render.show_evidence(console, enumerate(retrieval.evidence, start=1), with_text=True, graphics=graphics)
    render.show_turns(console, retrieval.turns)
    render.show_reports(console, retrieval.sources)
    render.show_notices(console, retrieval.notices)
