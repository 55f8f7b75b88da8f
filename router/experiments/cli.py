"""`graphrag-router eval retrieval|routing DIR`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from router.configuration import load_settings
from router.experiments import report, retrieval, routing
from router.experiments.dataset import Dataset, load_dataset
from router.experiments.scratch import Ingested, scratch_app
from router.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Measure sources, fusions and policies on a data set.")
screen = Console(stderr=True)

Folder = Annotated[
    Path, typer.Argument(help="Data set: corpus.jsonl, queries.jsonl, qrels/test.tsv; triples.tsv and web.jsonl where it has them.")
]
Cut = Annotated[int, typer.Option("--k", min=1, max=100, help="Where the lists are cut.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N questions.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a setting.")]
Policies = Annotated[list[str] | None, typer.Option("--policy", help="Also measure this policy; may be given several times.")]


@app.command("retrieval")
def retrieval_command(
    folder: Folder,
    source: Annotated[list[str] | None, typer.Option(help="Only these sources, each alone and fused; default: all.")] = None,
    policy: Policies = None,
    k: Cut = 5,
    limit: Limit = None,
    json_file: JsonFile = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Recall, nDCG and answers in the evidence: each source alone, all fused, and the policies asked for."""
    settings, dataset = _settings(config, overrides), load_dataset(folder)

    async def run() -> tuple[Ingested, list[dict[str, Any]]]:
        questions = dataset.questions[:limit]
        with _bar() as bar:
            ingesting = bar.add_task("ingest", total=None)
            async with scratch_app(settings, dataset, lambda done, total: bar.update(ingesting, completed=done, total=total)) as (
                opened,
                ingested,
            ):
                bar.remove_task(ingesting)
                runs = []
                for planned in retrieval.planned_runs(opened.engine, source or (), policy or ()):
                    task = bar.add_task(planned.name, total=len(questions))
                    runs.append(await retrieval.measure(opened.engine, questions, planned, k, lambda task=task: bar.advance(task)))  # type: ignore[misc]
                return ingested, runs

    ingested, runs = asyncio.run(run())
    _publish(dataset, settings, runs, json_file, f"{dataset.name}: retrieval", ingested=_ingested(ingested), k=k)


@app.command("routing")
def routing_command(
    folder: Folder,
    policy: Policies = None,
    k: Cut = 5,
    limit: Limit = None,
    json_file: JsonFile = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Utility, regret and cost of policies against the oracle, from running every set of sources once per question."""
    settings, dataset = _settings(config, overrides), load_dataset(folder)

    async def run() -> tuple[Ingested, dict[str, float], list[dict[str, Any]]]:
        questions = dataset.questions[:limit]
        with _bar() as bar:
            ingesting = bar.add_task("ingest", total=None)
            async with scratch_app(settings, dataset, lambda done, total: bar.update(ingesting, completed=done, total=total)) as (
                opened,
                ingested,
            ):
                bar.remove_task(ingesting)
                engine = opened.engine
                task = bar.add_task("every set", total=len(questions))
                has_evidence = bool(dataset.corpus or dataset.facts or dataset.web)
                table = await routing.run_all_sets(engine, questions if has_evidence else (), k, lambda: bar.advance(task))
                runs = routing.fixed_runs(table, engine) if table else []
                for name in policy or engine.policies:
                    deciding = bar.add_task(name, total=len(questions))
                    runs.append(await routing.policy_run(engine, name, questions, table, lambda task=deciding: bar.advance(task)))  # type: ignore[misc]
                return ingested, routing.oracle(table), runs

    ingested, best, runs = asyncio.run(run())
    _publish(
        dataset,
        settings,
        runs,
        json_file,
        f"{dataset.name}: routing (oracle utility {best['utility']:.3f})",
        ingested=_ingested(ingested),
        k=k,
        oracle=best,
    )


def _settings(config: Path | None, overrides: list[str] | None) -> Settings:
    return load_settings(config, dict(item.split("=", 1) for item in overrides or ()))


@contextmanager
def _bar() -> Iterator[Progress]:
    with Progress(console=screen) as bar:
        yield bar


def _ingested(ingested: Ingested) -> dict[str, float]:
    rate = ingested.documents / ingested.seconds if ingested.seconds else 0.0
    return {"documents": ingested.documents, "seconds": ingested.seconds, "documents_per_s": rate}


def _publish(dataset: Dataset, settings: Settings, runs: list[dict[str, Any]], json_file: Path | None, title: str, **more: Any) -> None:
    Console().print(report.table(title, runs))
    for run in runs:
        for trouble, count in run.get("trouble", {}).items():
            screen.print(f"[yellow]{run['name']}: {trouble} on {count} questions[/yellow]")
    if json_file is not None:
        json_file.write_text(json.dumps(report.document(dataset.name, settings, runs, **more), indent=2) + "\n")
