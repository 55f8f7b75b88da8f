"""The commands against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from router.cli.main import app
from router.errors import QueryRefused, StoreUnavailable
from router.routing.experiment import Arm, Experiment
from router.routing.latency import Latencies
from router.routing.shadow import Shadows
from router.testing.corpus import InMemoryCorpus
from router.testing.engine import ListRetriever, StuckGenerator, StuckRetriever, TablePolicy, small_engine
from router.types import Condition, EvidenceKind, Filter, Notice, Picture, Provenance, Query, SourceCode, SourceReport, TextRegion
from tests.integration.grpc_service import PASSAGE, Service, SmallApp, running

QUESTION = "Who keeps the lantern?"
WEB_PAGE = replace(
    PASSAGE,
    id="page",
    kind=EvidenceKind.WEB_PAGE,
    document_id="",
    uri="https://example.org/lantern",
    title="A page",
    text="A page about lanterns.",
)


async def invoke(*arguments: str, stdin: str | None = None, env: dict[str, str] | None = None) -> Any:
    return await asyncio.to_thread(
        CliRunner().invoke, app, list(arguments), input=stdin, env={"COLUMNS": "80", "TERM": "dumb", **(env or {})}
    )


@asynccontextmanager
async def command(small_app: SmallApp | None = None, **settings: Any) -> AsyncIterator[tuple[Any, Service]]:
    """`invoke` with the address of a running service."""
    async with running(small_app, **settings) as service:

        async def on_service(*arguments: str, **more: Any) -> Any:
            return await invoke(*arguments, "--target", service.target, **more)

        yield on_service, service


def full_app() -> SmallApp:
    sources = {
        "vector": ListRetriever([PASSAGE]),
        "graph": ListRetriever(
            [replace(PASSAGE, provenance=(Provenance("graph", 1, 0.5, "walk"),))], degraded="served from a snapshot of 12 s ago"
        ),
        "web": ListRetriever(error=StoreUnavailable("no network here")),
    }
    policies = [TablePolicy("table", dict.fromkeys(sources, 0.75)), TablePolicy("none", {})]
    return SmallApp(engine=small_engine(sources, policies=policies))


async def test_expected_latency_is_shown_and_capped() -> None:
    latencies = Latencies()
    for seconds in (0.012, 0.012, 0.012, 0.04, 0.04):
        latencies.record(SourceReport("vector", SourceCode.OK, seconds, 1))
    engine = small_engine({"vector": ListRetriever([PASSAGE]), "graph": ListRetriever()}, latencies=latencies)
    async with command(SmallApp(engine=engine)) as (run, _):
        explained = await run("route", QUESTION, "--explain")
        document = json.loads((await run("route", QUESTION, "--json")).stdout)
        hurried = json.loads((await run("retrieve", QUESTION, "--max-latency", "39", "--json")).stdout)
        answered = json.loads((await run("ask", QUESTION, "--max-latency", "39", "--json")).stdout)
    assert "12 (40)" in explained.stdout
    routes = {route["source"]: route for route in document["decision"]["routes"]}
    assert (routes["vector"]["latency_ms"], routes["vector"]["latency_p90_ms"]) == (12.0, 40.0)
    assert (routes["graph"]["latency_ms"], document["decision"]["expected_latency_ms"]) == (None, None)
    for reply in (hurried, answered):
        assert [report["source"] for report in reply["sources"]] == ["graph"]
        assert "left out as slower than 39 ms: vector" in reply["decision"]["reason"]


class Refusing:
    async def check(self, query: Query, vector: Any, caller: Any) -> None:
        raise QueryRefused("Ask the harbour office.", rule="light")


async def test_a_refusal_says_which_rule_and_what_to_do() -> None:
    refusing = SmallApp(engine=small_engine({"vector": ListRetriever([PASSAGE])}, query_filters=[Refusing()]))
    async with command(refusing) as (run, _):
        for name in ("ask", "route", "retrieve"):
            result = await run(name, QUESTION)
            assert result.exit_code == 4
            assert result.stderr.startswith("refused by the rule 'light': Ask the harbour office. (request id ")
        document = json.loads((await run("ask", QUESTION, "--json")).stdout)
    assert (document["error"]["code"], document["error"]["reason"], document["error"]["rule"]) == (
        "PERMISSION_DENIED",
        "QUERY_REFUSED",
        "light",
    )


# --- ask, route, retrieve -------------------------------------------------------------------------------------------


async def test_ask_shows_the_decision_the_answer_and_what_it_rests_on() -> None:
    async with command(full_app()) as (run, _):
        result = await run("ask", QUESTION)
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0] == "Routed by table: looked up"
    order = [
        next(number for number, line in enumerate(lines) if beginning in line)
        for beginning in (
            "vector   yes",
            "Ada keeps the lantern lit. [1]",
            "Sources",
            "[1] Lanterns",
            "graph was degraded",
            "web was unavailable",
        )
    ]
    assert order == sorted(order)
    about = "notes/lanterns.md | vector, graph | recorded | picture, 4 x 3, +1 copy | Harbour > Lights"
    assert about in " ".join(line.strip() for line in lines)
    assert "    path: Ada -keeps-> lantern" in lines
    assert "note: the answer is a quotation" in lines
    assert max(map(len, lines)) <= 80


async def test_a_frame_shows_its_time_and_a_sound_is_called_one() -> None:
    frame = replace(PASSAGE, id="f", headings=("at 12.0 s",), picture=Picture("f", "image/jpeg", 4, 3, b""))
    sound = replace(PASSAGE, id="s", headings=(), picture=Picture("s", "audio/wav", 40, 64, b""))
    async with command(SmallApp(engine=small_engine({"vector": ListRetriever([frame, sound])}))) as (run, _):
        shown = (await run("retrieve", QUESTION)).stdout
    assert "recorded | picture, 4 x 3 | at 12.0 s" in shown
    assert "recorded | sound, 40 x 64\n" in "".join(f"{line.rstrip()}\n" for line in shown.splitlines())


async def test_lines_of_a_picture_that_match_are_told_in_words_and_all_of_them_in_json() -> None:
    lines = tuple(TextRegion(f"LANTERN {number}", 0.1, number / 10, 0.5, 0.05, 0.9, matches=number > 0) for number in range(8))

    class Written:
        async def picture_regions(self, tenant: str, chunk_ids: Any) -> Any:
            return {PASSAGE.id: (*lines[1:], TextRegion("\x1b[2Jharbour", 0.1, 0.9, 0.5, 0.05, 0.9))}

    async with command(SmallApp(engine=small_engine({"vector": ListRetriever([PASSAGE])}, regions=Written()))) as (run, _):
        shown = (await run("retrieve", QUESTION)).stdout
        told = json.loads((await run("retrieve", QUESTION, "--json")).stdout)["evidence"][0]["picture"]["regions"]
        answered = (await run("ask", QUESTION)).stdout
    for text in (shown, answered):
        assert [f'reads "LANTERN {number}"' in text for number in range(8)] == [False, *[True] * 5, False, False]
        assert "reads 2 more such lines" in text
        assert "harbour" not in text.split("reads", 1)[1].split("more such", 1)[0]
    assert [(region["text"], region["matches"]) for region in told[:2]] == [("LANTERN 1", True), ("LANTERN 2", True)]
    assert told[0] == {"text": "LANTERN 1", "left": 0.1, "top": 0.1, "width": 0.5, "height": 0.05, "confidence": 0.9, "matches": True}
    assert told[-1]["matches"] is False


async def test_a_summary_shows_how_many_passages_it_is_of() -> None:
    members = {"passages": 12, "documents": 1, "document_ids": ("doc-1",)}
    summary = replace(PASSAGE, id="s", kind=EvidenceKind.SUMMARY, document_id="", uri="", title="Lanterns, Ada", metadata=members)
    async with command(SmallApp(engine=small_engine({"graph": ListRetriever([summary])}))) as (run, _):
        shown = await run("retrieve", QUESTION)
        document = json.loads((await run("retrieve", QUESTION, "--json")).stdout)
    assert "12 passages of 1 document |" in shown.stdout
    (evidence,) = document["evidence"]
    assert evidence["kind"] == "summary"
    assert evidence["metadata"] == {"passages": 12, "documents": 1, "document_ids": ["doc-1"]}


async def test_ask_json_is_one_document_of_the_described_form() -> None:
    async with command(full_app()) as (run, _):
        result = await run("ask", QUESTION, "--json")
    document = json.loads(result.stdout)
    assert document["answer"] == "Ada keeps the lantern lit. [1]"
    assert document["found"] is True
    assert document["citations"] == [{"marker": 1, "evidence_id": "chunk-1", "span": {"start": 27, "end": 30}}]
    assert document["decision"]["policy"] == "table"
    assert document["decision"]["routes"][0] == {
        "source": "vector",
        "probability": 0.75,
        "selected": True,
        "reason": "the table says 0.75",
        "expected_quality": None,
        "cost": None,
        "latency_ms": None,
        "latency_p90_ms": None,
    }
    assert document["turns"] == []
    (evidence,) = document["evidence"]
    assert {"id", "document_id", "title", "text", "sources", "score", "uri"} <= evidence.keys()
    assert (evidence["sources"], evidence["uri"]) == (["vector", "graph"], "notes/lanterns.md")
    assert [(report["source"], report["code"], report["count"]) for report in document["sources"]] == [
        ("vector", "OK", 1),
        ("graph", "DEGRADED", 1),
        ("web", "UNAVAILABLE", 0),
    ]
    assert document["sources"][2]["message"] == "no network here"
    assert document["timings"]["total_ms"] > 0
    assert document["warnings"] == [{"reason": "QUOTED", "message": "the answer is a quotation"}]


async def test_an_answer_that_nothing_was_found_is_no_failure() -> None:
    async with command(SmallApp(engine=small_engine({"vector": ListRetriever()}))) as (run, _):
        said, document = await run("ask", QUESTION), await run("ask", QUESTION, "--json")
    assert (said.exit_code, document.exit_code) == (0, 0)
    assert "Nothing was found." in said.stdout
    assert json.loads(document.stdout)["found"] is False


async def test_a_long_answer_is_wrapped_between_words() -> None:
    words = " ".join(f"word{number}" for number in range(60))
    long = replace(PASSAGE, text=words, title="T" * 100, uri="https://example.org/" + "x" * 120)
    async with command(SmallApp(engine=small_engine({"vector": ListRetriever([long])}))) as (run, _):
        result = await run("ask", QUESTION)
    assert max(len(line.rstrip()) for line in result.stdout.splitlines()) <= 80
    assert words in " ".join(result.stdout.split())
    assert "x" * 120 in "".join(result.stdout.split())


async def test_documents_cannot_drive_the_terminal() -> None:
    evil = replace(PASSAGE, text="red \x1b[31m alert\x07", title="\x1b]0;title\x07 [bold]x[/bold]")
    async with command(SmallApp(engine=small_engine({"vector": ListRetriever([evil])}))) as (run, _):
        for name in ("ask", "retrieve"):
            result = await run(name, QUESTION)
            assert not set("\x1b\x07") & set(result.stdout)
            assert "[bold]x[/bold]" in result.stdout


async def test_pictures_are_sent_and_saved(tmp_path: Path) -> None:
    corpus = InMemoryCorpus()
    corpus.pictures["default", "ab"] = Picture("ab", "image/png", 4, 3), b"the file"
    (tmp_path / "photo.png").write_bytes(b"bytes of a photo")
    unsafe = replace(PASSAGE, title="../../etc/-rf x")
    async with command(SmallApp(engine=small_engine({"vector": ListRetriever([unsafe])}), corpus=corpus)) as (run, _):
        for number, name in enumerate(("ask", "retrieve")):
            for more in ([], ["--json"]):
                folder = tmp_path / f"saved{number}{len(more)}"
                result = await run(name, QUESTION, "--save-images", str(folder), *more)
                assert result.exit_code == 0, result.output
                [file] = folder.iterdir()
                assert file.name == "etc-rf-x-ab.png"
                assert file.read_bytes() == b"the file"
                assert str(file) in result.stderr.replace("\n", "")
        shown = json.loads((await run("retrieve", QUESTION, "--json")).stdout)
        assert shown["evidence"][0]["picture"] == {
            "id": "ab",
            "mime_type": "image/png",
            "width": 4,
            "height": 3,
            "near_duplicates": ["cd"],
        }
        # This small engine has no model for pictures, and says so of the part that is one.
        refused = await run("ask", QUESTION, "--image", str(tmp_path / "photo.png"))
        assert "no model for pictures" in " ".join(refused.stderr.split())
        alone = await run("route", "--image", str(tmp_path / "photo.png"), "--json")
        assert json.loads(alone.stdout)["error"]["field"] == "query.parts[0]"
        assert (await run("ask")).exit_code == 2


async def test_options_are_sent() -> None:
    class Recording(ListRetriever):
        queries: list[Query] = []  # noqa: RUF012

        async def search(self, request: Any) -> Any:
            self.queries.append(request.query)
            return await super().search(request)

    recording = Recording([PASSAGE])
    async with command(SmallApp(engine=small_engine({"vector": recording, "web": ListRetriever([WEB_PAGE])}))) as (run, _):
        filters = [
            *("--filter", "year=2024", "--filter", 'code="2024"', "--filter", "draft=false"),
            *("--filter", "ratio=0.5", "--filter", "day=2024-05-01", "--filter", "note=a=b", "--filter", "odd=NaN"),
        ]
        result = await run(
            "retrieve", QUESTION, "--source", "vector", "--limit", "1", "--fusion", "rrf", "--timeout", "9", *filters, "--json"
        )
        both = await run("retrieve", QUESTION, "--source", "vector", "--source", "web", "--json")
        instructed = [await run(name, QUESTION, "--instruction", "only drawings", "--json") for name in ("ask", "retrieve", "route")]
        alone = await run("retrieve", "--instruction", "only drawings")
    assert result.exit_code == 0, result.output
    assert [report["source"] for report in json.loads(result.stdout)["sources"]] == ["vector"]
    assert len(json.loads(both.stdout)["evidence"]) == 2
    conditions = {"year": 2024, "code": "2024", "draft": False, "ratio": 0.5, "day": "2024-05-01", "note": "a=b", "odd": "NaN"}
    assert [told.exit_code for told in instructed] == [0, 0, 0]
    assert [query.instruction for query in recording.queries] == ["", "", "only drawings", "only drawings"]
    assert alone.exit_code == 2
    assert recording.queries[0].filter == Filter(must=tuple(Condition(name, equals=value) for name, value in conditions.items()))


async def test_route_shows_one_decision_or_all() -> None:
    async with command(full_app()) as (run, _):
        one, every = await run("route", QUESTION, "--policy", "none", "--json"), await run("route", QUESTION, "--all", "--json")
        said = await run("route", QUESTION, "--all")
        both = await run("route", QUESTION, "--all", "--policy", "none")
    assert json.loads(one.stdout)["decision"]["policy"] == "none"
    assert [decision["policy"] for decision in json.loads(every.stdout)["alternatives"]] == ["table", "none"]
    assert said.stdout.count("Routed by") == 2
    assert both.exit_code == 2


# --- feedback -------------------------------------------------------------------------------------------------------


async def test_feedback_names_the_request_that_ask_shows_and_the_log_exports_both(tmp_path: Path) -> None:
    async with command(full_app()) as (run, _):
        answer = json.loads((await run("ask", QUESTION, "--json")).stdout)
        said = await run("ask", QUESTION)
        shown = re.search(r"request (\w{32})\)", said.stdout)
        assert shown is not None, said.stdout
        assert (await run("retrieve", QUESTION, "--no-log")).exit_code == 0
        kept = await run("feedback", shown[1], "--not-helpful", "--source", "web", "--answer", "Bob.", "--clicked", "1")
        assert (kept.exit_code, kept.stdout) == (0, "kept\n")
        table = await run("policy", "log")
        exported = await run("policy", "log", "--json", str(tmp_path / "log.jsonl"))
        assert (exported.exit_code, exported.stdout) == (0, "")
        assert (await run("policy", "log", "--json", "-")).stdout == (tmp_path / "log.jsonl").read_text()
    assert "2 decisions" in table.stdout
    assert "not helpful" in " ".join(table.stdout.split())
    first, second = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [first["request_id"], second["request_id"]] == [answer["request_id"], shown[1]]
    assert (first["policy"], first["chosen"], first["propensity"], first["features"]) == ("table", ["vector", "graph", "web"], 1.0, {})
    assert {"time", "version", "cost"} <= first.keys()
    assert (first["reward"], first["feedback"], second["reward"]) == (None, None, 0.0)
    assert first["outcome"]["sources"] == {"vector": "OK", "graph": "DEGRADED", "web": "UNAVAILABLE"}
    assert second["feedback"] == {"helpful": False, "corrected_answer": "Bob.", "clicked_citations": [1], "correct_sources": ["web"]}


async def test_the_log_exports_arms_and_shadows(tmp_path: Path) -> None:
    shadows, arm = Shadows({"none": TablePolicy("none", {})}), Arm("table", 1.0, TablePolicy("table", {"vector": 1.0}))
    experiment = Experiment("trial", [arm])
    engine = small_engine({"vector": ListRetriever([PASSAGE])}, shadows=shadows, experiment=experiment)
    async with command(SmallApp(engine=engine)) as (run, _):
        for asked in (("ask", QUESTION), ("retrieve", QUESTION)):
            reply = json.loads((await run(*asked, "--experiment-key", "ada", "--json")).stdout)
            assert (reply["decision"]["experiment"], reply["decision"]["arm"]) == ("trial", "table")
            await shadows.settle()
        lines = (await run("policy", "log", "--json", "-")).stdout.splitlines()
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    for row in map(json.loads, lines):
        assert (row["experiment"], row["arm"], row["bucket"]) == ("trial", "table", experiment.bucket("default", "ada"))
        assert "ada" not in row.values()
        assert row["shadows"] == [{"policy": "none", "version": "", "chosen": []}]
    compared = await invoke("policy", "compare", "--log", str(tmp_path / "log.jsonl"), "--json")
    assert compared.exit_code == 0, compared.output
    document = json.loads(compared.stdout)
    assert [(one["name"], one["decisions"], one["agreement"]) for one in document["judged"]] == [("none", 2, 0.0)]
    assert [(one["arm"], one["decisions"], one["judged"]) for one in document["arms"]] == [("table", 2, 0)]


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "settings", "exit_code", "code", "reason", "field"),
    [
        (("ask", QUESTION, "--source", "moon"), {}, 4, "INVALID_ARGUMENT", "UNKNOWN_SOURCE", "options.sources[0]"),
        (("ask", " "), {}, 4, "INVALID_ARGUMENT", "INVALID_INPUT", "query.parts[0].text"),
        (("route", QUESTION, "--policy", "dice"), {}, 4, "INVALID_ARGUMENT", "UNKNOWN_POLICY", "policy"),
        (("retrieve", QUESTION, "--filter", "1st=2"), {}, 4, "INVALID_ARGUMENT", "INVALID_INPUT", "query.filter.must[0].field"),
        (("retrieve", QUESTION, "--limit", "101"), {}, 4, "INVALID_ARGUMENT", "INVALID_INPUT", "options.limit"),
        (("corpus", "show", "no such"), {}, 4, "NOT_FOUND", "NOT_FOUND", "document_id"),
        (("corpus", "delete", "no such", "--yes"), {}, 4, "NOT_FOUND", "NOT_FOUND", "document_id"),
        (("corpus", "stats"), {"api_keys": [{"tenant": "ada", "key": "k"}]}, 5, "UNAUTHENTICATED", "CREDENTIAL_MISSING", None),
        (("feedback", "no-such", "--helpful"), {}, 4, "NOT_FOUND", "UNKNOWN_REQUEST", "request_id"),
        (("feedback", "r"), {}, 4, "INVALID_ARGUMENT", "INVALID_INPUT", "verdict"),
        (("feedback", "r", "--source", "moon"), {}, 4, "INVALID_ARGUMENT", "UNKNOWN_SOURCE", "correct_sources[0]"),
        (("ask", QUESTION, "--source", "web"), {}, 3, "UNAVAILABLE", "ALL_SOURCES_UNAVAILABLE", None),
        (("ask", "\udcff"), {}, 4, "INVALID_ARGUMENT", "INVALID_INPUT", "query"),
    ],
)
async def test_a_failure_is_one_line_an_exit_code_and_with_json_a_document(
    arguments: tuple[str, ...], settings: dict[str, Any], exit_code: int, code: str, reason: str, field: str | None
) -> None:
    async with command(full_app(), **settings) as (run, _):
        plain, document = await run(*arguments), await run(*arguments, "--json")
    assert (plain.exit_code, document.exit_code) == (exit_code, exit_code)
    assert plain.stderr.startswith("error: ")
    assert plain.stderr.count("\n") == 1
    error = json.loads(document.stdout)["error"]
    assert (error["code"], error["reason"], error["field"]) == (code, reason, field)
    assert error["message"]


async def test_a_missing_service_is_said_with_the_remedy() -> None:
    async with running() as service:
        target = service.target
    result = await invoke("ask", QUESTION, "--json", env={"GRAPHRAG_ROUTER_TARGET": target})
    assert result.exit_code == 3
    assert target in result.stderr
    assert "graphrag-router serve" in result.stderr
    assert json.loads(result.stdout)["error"]["reason"] == "SERVICE_UNREACHABLE"


async def test_time_that_is_up_has_its_own_exit_code() -> None:
    async with command(SmallApp(engine=small_engine({"vector": ListRetriever([PASSAGE])}, generator=StuckGenerator()))) as (run, _):
        said = await run("ask", QUESTION, "--timeout", "2")
        result = await run("ask", QUESTION, "--timeout", "2", "--json")
    assert (said.exit_code, result.exit_code) == (6, 6)
    assert said.stdout.endswith("Well \n")
    assert json.loads(result.stdout)["error"]["code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("wrong", [["ask"], ["ask", "q", "--filter", "year"], ["ask", "q", "--limit", "many"], ["dance"]])
async def test_wrong_usage(wrong: list[str]) -> None:
    assert (await invoke(*wrong)).exit_code == 2


async def test_the_key_comes_from_the_environment_and_is_shown_nowhere() -> None:
    async with command(api_keys=[{"tenant": "ada", "key": "secret-key"}]) as (run, _):
        result = await run("corpus", "stats", env={"GRAPHRAG_ROUTER_API_KEY": "secret-key"})
        assert result.exit_code == 0, result.output
        shown = await run("corpus", "stats", "--help", env={"GRAPHRAG_ROUTER_API_KEY": "secret-key"})
        assert "secret-key" not in shown.output


async def test_help_explains_the_exit_codes() -> None:
    for arguments in (["--help"], ["ask", "--help"], ["ingest", "--help"]):
        result = await invoke(*arguments)
        assert result.exit_code == 0
        assert "130 stopped by Ctrl-C" in " ".join(result.stdout.split())


# --- documents ------------------------------------------------------------------------------------------------------


async def test_ingest_names_what_was_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "guides").mkdir(parents=True)
    (folder / "guides" / "a.md").write_text("Ada keeps the lantern lit.")
    (folder / "b.txt").write_text("Bob sleeps.")
    (folder / ".hidden.txt").write_text("no")
    good, metadata = await asyncio.to_thread(_write, tmp_path)
    corpus = InMemoryCorpus()
    async with command(SmallApp(corpus=corpus)) as (run, _):
        first = await run("ingest", str(folder), str(good), "--collection", "notes", "--metadata", str(metadata), "--json")
        assert first.exit_code == 0, first.output
        assert {name: json.loads(first.stdout)[name] for name in ("documents", "searchable", "unchanged", "failed", "chunk_count")} == {
            "documents": 3,
            "searchable": 3,
            "unchanged": 0,
            "failed": [],
            "chunk_count": 3,
        }
        (folder / "empty.txt").touch()
        (folder / "picture.svg").write_bytes(b"<svg/>")
        again = await run("ingest", str(folder))
        assert again.exit_code == 1
        assert "not taken: empty.txt: EMPTY: the document is empty" in again.stdout
        assert "not taken: picture.svg: UNSUPPORTED_TYPE: " in again.stdout
        assert "4 documents" in again.stdout
        listed = json.loads((await run("corpus", "list", "--collection", "notes", "--json")).stdout)["documents"]
    assert [(record["name"], record["metadata"]) for record in listed] == [
        ("b.txt", {"year": 2024, "tags": ["a", "b"], "day": "2024-05-01"}),
        ("c.txt", {"year": 2024, "tags": ["a", "b"], "day": "2024-05-01"}),
        ("guides/a.md", {"year": 2025, "tags": ["a", "b"], "day": "2024-05-01"}),
    ]


def _write(folder: Path) -> tuple[Path, Path]:
    good, metadata = folder / "c.txt", folder / "metadata.yaml"
    good.write_text("Cy reads.")
    metadata.write_text("'*': {year: 2024, tags: [a, b], day: 2024-05-01}\n'guides/*': {year: 2025}\n")
    return good, metadata


@pytest.mark.parametrize("text", ["- a\n- b\n", "year: 2024\n", "'*': {year: {deep: 1}}\n", "'*': [\n"])
async def test_wrong_metadata_is_wrong_usage(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "m.yaml").write_text(text)
    result = await invoke("ingest", str(tmp_path / "a.txt"), "--metadata", str(tmp_path / "m.yaml"))
    assert result.exit_code == 2
    assert "--metadata" in result.stderr


async def test_a_name_that_is_not_unicode_is_sent_by_its_numbers(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.txt", "w") as file:  # noqa: ASYNC230
        file.write("Ada.")
    async with command() as (run, _):
        assert (await run("ingest", str(tmp_path))).exit_code == 0
        listed = json.loads((await run("corpus", "list", "--json")).stdout)["documents"]
    assert [record["name"] for record in listed] == ["caf\\xe9.txt"]


async def test_ingest_without_service_or_files(tmp_path: Path) -> None:
    async with running() as service:
        target = service.target
    assert (await invoke("ingest", str(tmp_path), "--target", target)).exit_code == 2
    (tmp_path / "a.txt").write_text("a")
    assert (await invoke("ingest", str(tmp_path), "--target", target)).exit_code == 3
    assert (await invoke("ingest", str(tmp_path / "none.txt"))).exit_code == 2


async def test_corpus_commands(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada keeps the lantern lit.")
    corpus = InMemoryCorpus()
    corpus.notices = (Notice("GRAPH_DOWN", "the graph database is down: start it"),)
    async with command(SmallApp(corpus=corpus)) as (run, _):
        await run("ingest", str(tmp_path))
        (record,) = json.loads((await run("corpus", "list", "--json")).stdout)["documents"]
        assert record["id"] in "".join((await run("corpus", "list")).stdout.split())
        shown = await run("corpus", "show", record["id"])
        assert "Ada keeps the lantern lit." in shown.stdout
        assert json.loads((await run("corpus", "show", record["id"], "--json")).stdout) == {
            "document": record,
            "text": "Ada keeps the lantern lit.",
        }
        stats = await run("corpus", "stats")
        assert "the graph database is down: start it" in stats.stdout
        assert json.loads((await run("corpus", "stats", "--json")).stdout)["documents"] == {"searchable": 1}
        kept = await run("corpus", "delete", record["id"], stdin="n\n")
        assert kept.exit_code == 1
        gone = await run("corpus", "delete", record["id"], "--yes", "--json")
        assert json.loads(gone.stdout) == {"document_id": record["id"], "chunk_count": 1}
        assert json.loads((await run("corpus", "list", "--json")).stdout) == {"documents": []}


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


# A shell lets what it starts in the background ignore the signal, and the tests may be run there.
LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from router.cli import main; main()"


@pytest.mark.parametrize("more", [[], ["--json"]])
async def test_ctrl_c_cancels_the_call(more: list[str]) -> None:
    stuck = StuckRetriever()
    async with running(SmallApp(engine=small_engine({"vector": stuck}))) as service:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LISTENING, "ask", QUESTION, "--target", service.target, *more),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            await stuck.asked.wait()
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
            await stuck.cancelled.wait()
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
