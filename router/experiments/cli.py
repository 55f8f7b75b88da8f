"""`graphrag-router eval retrieval|ablation|routing|multimodal|adapt-pictures|import-pairs`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from router.configuration import load_settings, overridden
from router.engine import Engine
from router.errors import ConfigurationError, InvalidInput
from router.experiments import ablation, bench, multimodal, pairs, paths, report, retrieval, routing_report
from router.experiments.bench_options import parse_llm_price, with_prices
from router.experiments.catalogue import open_dataset
from router.experiments.dataset import Dataset, Half
from router.experiments.montage import write_montage
from router.experiments.peers.registry import PEERS
from router.experiments.picture_adaptation import Adapted, adapt
from router.experiments.plots import require_matplotlib
from router.experiments.result_file import writable
from router.experiments.retrieval import Measured
from router.experiments.scratch import Ingested, scratch_app
from router.models import aligned, arrays
from router.models.embedding import open_embedder
from router.models.spaces import open_space
from router.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Measure sources, fusions and policies on data sets.")
screen = Console(stderr=True)
LEAST_WIDTH = 180
"""Columns of a table that is written into a file."""

LAYOUT = (
    "a folder of corpus.jsonl, queries.jsonl, qrels/test.tsv (triples.tsv and web.jsonl where it has them), a CSV file of questions, "
    "or irds:NAME of the library ir_datasets."
)
Folder = Annotated[Path, typer.Argument(help=f"Data set: {LAYOUT}")]
Folders = Annotated[list[Path], typer.Argument(help=f"Data sets, each {LAYOUT}")]
Cut = Annotated[int, typer.Option("--k", min=1, max=100, help="Where the lists are cut.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only N questions, spread evenly over the file.")]
HalfOf = Annotated[
    Half | None,
    typer.Option("--half", help="Only the questions at even or odd places: choose a setting on one half, report the other as well."),
]
Split = Annotated[str, typer.Option(help="One part of a set: a sub-folder with questions, or those that qrels/SPLIT.tsv judges.")]
StripTitles = Annotated[
    bool, typer.Option("--strip-titles", help="Ingest the passages without their titles, as most documents of a company come.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", callback=writable, help="Write the results to this file.")]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a setting, also one of a source: sources.vector.candidates=40."),
]
Sources = Annotated[list[str] | None, typer.Option("--source", help="Only these sources, each alone and fused; default: all.")]
Policies = Annotated[list[str] | None, typer.Option("--policy", help="Also measure this policy; may be given several times.")]


@app.command("retrieval")
def retrieval_command(
    folders: Folders,
    source: Sources = None,
    policy: Policies = None,
    k: Cut = 5,
    limit: Limit = None,
    half: HalfOf = None,
    split: Split = "",
    strip_titles: StripTitles = False,
    json_file: JsonFile = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Recall, nDCG and answers in the evidence: each source alone, all fused, and the policies asked for; of several sets a last table."""
    settings = _settings(config, overrides)
    datasets = [_dataset(folder, split, strip_titles) for folder in folders]
    sets: list[tuple[str, list[Measured]]] = []
    documents = []

    def plan(engine: Engine) -> list[retrieval.Run]:
        return retrieval.planned_runs(engine, source or (), policy or ())

    for dataset in datasets:
        ingested, measured = asyncio.run(_measure(settings, dataset, plan, k, half, limit, with_paths=True))
        runs = report.run_documents(measured)
        title = _title(dataset, "retrieval")
        _show_runs(title, measured, runs)
        sets.append((dataset.name, measured))
        documents.append(
            report.document(
                dataset.name, settings, runs, ingested=_ingested(ingested), k=k, half=half, limit=limit, strip_titles=strip_titles
            )
        )
    if len(documents) == 1:
        _write(json_file, documents[0])
        return
    summary = report.summary(sets)
    _show(report.summary_table(summary))
    _write(json_file, {"datasets": documents, "summary": summary})


@app.command("ablation")
def ablation_command(
    folder: Folder,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="NAME=PATH=VALUE[,PATH=VALUE]", help="One more variant; may be given several times."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Of the known variants only this; may be given several times.")
    ] = None,
    k: Cut = 5,
    limit: Limit = None,
    half: HalfOf = None,
    split: Split = "",
    strip_titles: StripTitles = False,
    json_file: JsonFile = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """All sources fused, against the same with one part off at a time: paired differences with their 95 % intervals."""
    settings, dataset = _settings(config, overrides), _dataset(folder, split, strip_titles)
    own = [ablation.parse_variant(text) for text in variant or ()]
    planned = ablation.planned_variants(settings, own, only or ())

    def measured_as(name: str, changed: Settings) -> Measured:
        def plan(engine: Engine) -> list[retrieval.Run]:
            return [retrieval.fused_run(name, tuple(engine.sources))]

        return asyncio.run(_measure(changed, dataset, plan, k, half, limit))[1][0]

    full = measured_as(ablation.FULL, settings)
    measured = [full, *(measured_as(one.name, changed) for one, changed in planned)]
    runs = [report.run_document(run) for run in measured]
    for run, written, (one, _) in zip(measured[1:], runs[1:], planned, strict=True):
        written["overrides"] = dict(one.overrides)
        written["versus"] = {"run": full.name, **{name: asdict(found) for name, found in report.differences(run, full).items()}}
    _show(report.differences_table(f"{_title(dataset, 'ablation')}, points against {full.name} [95 %] won/lost", measured, full))
    _tell_trouble(runs)
    _write(json_file, report.document(dataset.name, settings, runs, k=k, half=half, limit=limit, strip_titles=strip_titles))


@app.command("routing")
def routing_command(
    folder: Folder,
    policy: Policies = None,
    peer: Annotated[
        list[str] | None, typer.Option("--peer", help=f"Also this router of others: {', '.join(PEERS)}; may be given several times.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Data set with `routes`, for the peers that learn.")] = None,
    k: Cut = 5,
    limit: Limit = None,
    half: HalfOf = None,
    split: Split = "",
    table: Annotated[
        Path | None, typer.Option(help="Parquet file of what every set of sources is worth: read when it is there, else written.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="File of decisions: those in it are not asked for again, new ones are added as they come.")
    ] = None,
    lessons: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is measured for --peer knn on the set of --train: it is not measured again.")
    ] = None,
    price: Annotated[
        list[str] | None, typer.Option("--price", metavar="SOURCE=P", help="Score with this price of a source, in units of quality.")
    ] = None,
    llm_price: Annotated[
        str | None, typer.Option(metavar="PROMPT,COMPLETION", help="Money per million tokens of the language model.")
    ] = None,
    json_file: JsonFile = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", callback=writable, help="Write a report in Markdown to this file.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", callback=writable, help="Write a report with plots to this file (extra `bench`).")
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Utility, regret, calibration and cost of policies against the oracle, from running every set of sources once per question."""
    if html_file is not None:
        require_matplotlib()
    settings = with_prices(_settings(config, overrides), price or ())
    dataset = open_dataset(str(folder), split)
    plan = bench.Plan(
        k=k,
        half=half,
        limit=limit,
        policies=tuple(policy or ()),
        peers=tuple(peer or ()),
        train=None if train is None else open_dataset(str(train)),
        table=table,
        decisions=decisions,
        lessons=lessons,
        llm_price=parse_llm_price(llm_price),
    )
    with _bar() as bar:
        result = asyncio.run(bench.run_bench(settings, dataset, plan, partial(_steps, bar)))
    best = result.oracle["utility"]
    title = f"{_title(dataset, 'routing')} ({len(dataset.some_questions(half=half, limit=limit))} questions"
    _show(report.routing_table(f"{title}{'' if best is None else f', oracle utility {best:.3f}'})", result.runs))
    _tell_of_bench(result)
    document = report.document(
        dataset.name,
        settings,
        result.runs,
        split=split,
        ingested=_ingested(result.ingested),
        questions=len(dataset.some_questions(half=half, limit=limit)),
        k=k,
        half=half,
        limit=limit,
        sources=list(result.sources),
        prices=dict(result.prices),
        oracle=dict(result.oracle),
        pareto=list(result.pareto),
        trouble=dict(result.trouble),
    )
    _write(json_file, document)
    if markdown_file is not None:
        markdown_file.write_text(routing_report.markdown(document))
    if html_file is not None:
        html_file.write_text(routing_report.html(document))


@app.command("multimodal")
def multimodal_command(
    folder: Annotated[
        Path, typer.Argument(help="Folder of items.jsonl (`image`, and `captions`, `caption` or `label`; attributes) and pictures.")
    ],
    keep: Annotated[str, typer.Option(help="Attribute that composed queries keep.")] = multimodal.ARTICLE,
    change: Annotated[str, typer.Option(help="Attribute that composed queries change by words.")] = multimodal.COLOUR,
    sweep: Annotated[
        list[float] | None, typer.Option(min=0, max=1, help="Also compose with this weight of the words; may be given several times.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only N pictures, spread evenly over the file.")] = None,
    montage: Annotated[Path | None, typer.Option(callback=writable, help="Write the best and worst cases to this PNG file.")] = None,
    json_file: JsonFile = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Pictures by words, words by a picture, pictures by a picture, and by a picture that words change; beside chance and captions."""
    settings = _settings(config, overrides)
    items = multimodal.read_items(folder, limit)
    found = asyncio.run(_measure_pictures(settings, items, keep, change, sweep or ()))
    runs = [run.document() for run in found.runs]
    for task in dict.fromkeys(name.rpartition("/")[0] for run in runs for name in run["intervals"]):
        _show(report.task_table(f"{folder.resolve().name}: {task}", runs, task))
    _write(json_file, report.document(folder.resolve().name, settings, runs, pictures=len(items), keep=keep, change=change, limit=limit))
    if montage is not None:
        write_montage(found, montage)


@app.command("adapt-pictures")
def adapt_pictures_command(
    folder: Annotated[Path, typer.Argument(help="Folder of items.jsonl (`image`, and `captions`, `caption` or `label`) and pictures.")],
    out: Annotated[
        Path, typer.Option(callback=writable, help="File to write (.npz), which the setting `models.pictures.adaptation` names.")
    ],
    json_file: JsonFile = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Adapt `aligned` to captioned pictures of your own; beside it what that is worth on those that it was not fitted to."""
    if out.suffix != ".npz":
        raise InvalidInput(f"{out} must end in .npz", field="out")
    if json_file is not None and json_file.resolve() == out.with_suffix(".json").resolve():
        raise InvalidInput(f"{json_file} becomes the note of {out}: name another file for the results", field="json")
    settings = _settings(config, overrides)
    if settings.models.pictures.model != aligned.NAME:
        raise ConfigurationError(f"only {aligned.NAME} is adapted: set models.pictures.model to it", field="models.pictures.model")
    items = multimodal.read_items(folder)
    adapted = asyncio.run(_adapt_pictures(settings, items))
    name = folder.resolve().name
    runs = [run.document() for run in adapted.runs]
    _show(report.task_table(f"{name}: text_to_image", runs, "text_to_image"))
    _write(json_file, report.document(name, settings, runs, pictures=len(items)))
    arrays.write(adapted.adaptation.arrays(), out, {"set": name, "pictures": len(items), "measured": [run["metrics"] for run in runs]})
    screen.print(f"{out}: fitted to {len(items)} pictures; set models.pictures.adaptation to it", soft_wrap=True)


@app.command("import-pairs")
def import_pairs_command(
    folder: Annotated[Path, typer.Argument(help="Folder with pairs.jsonl[.gz]: questions with passages that answer them, or nearly do.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist, or be empty.")],
) -> None:
    """Make a retrieval set (corpus, queries, qrels) of question-passage pairs."""
    counts = pairs.import_pairs(folder, out)
    judged = f"{counts.relevant} relevant passages, {counts.near_misses} near misses"
    screen.print(f"{out}: {counts.passages} passages, {counts.queries} queries, {judged}", soft_wrap=True)


async def _measure(
    settings: Settings,
    dataset: Dataset,
    plan: Callable[[Engine], list[retrieval.Run]],
    k: int,
    half: Half | None,
    limit: int | None,
    *,
    with_paths: bool = False,
) -> tuple[Ingested, list[Measured]]:
    """Open the set's scratch corpus and run what is planned; with facts the relation paths as well, if asked."""
    questions = dataset.some_questions(half=half, limit=limit)
    with _bar() as bar:
        ingesting = bar.add_task("ingest", total=None)

        def ingest_progress(done: int, total: int) -> None:
            bar.update(ingesting, completed=done, total=total)

        def steps(name: str) -> Callable[[], None]:
            task = bar.add_task(name, total=len(questions))
            return lambda: bar.advance(task)

        async with scratch_app(settings, dataset, ingest_progress) as (opened, ingested):
            bar.remove_task(ingesting)
            runs = plan(opened.engine)
            measured = [await retrieval.measure(opened.engine, questions, run, k, steps(run.name)) for run in runs]
            asked = [run.options.sources[0] for run in runs if run.is_single_source] if with_paths and dataset.facts else []
            for source in paths.graph_sources(opened.engine, asked):
                measured += [await paths.measure_paths(opened.engine, questions, source, steps(paths.RELATION_PATHS))]
            return ingested, measured


async def _measure_pictures(
    settings: Settings, items: Sequence[multimodal.Item], keep: str, change: str, sweep: Sequence[float]
) -> multimodal.Found:
    cache = settings.data_dir / "models"
    words = await open_embedder(settings.models.embedding, cache)
    try:
        space = await open_space(settings.models, cache, words)
        try:
            with _bar() as bar:
                task = bar.add_task("pictures", total=len(items))
                return await multimodal.measure(
                    items, space, words, keep=keep, change=change, sweep=sweep, progress=lambda done: bar.advance(task, done)
                )
        finally:
            await space.aclose()
    finally:
        await words.aclose()


async def _adapt_pictures(settings: Settings, items: Sequence[multimodal.Item]) -> Adapted:
    with _bar() as bar:
        task = bar.add_task("pictures", total=len(items))
        return await adapt(items, settings.models.pictures, settings.data_dir / "models", lambda done: bar.advance(task, done))


def _settings(config: Path | None, overrides: Sequence[str] | None) -> Settings:
    changes = {}
    for assignment in overrides or ():
        path, equals, value = assignment.partition("=")
        if not (path and equals):
            raise InvalidInput(f"{assignment!r} is not of the form PATH=VALUE", field="set")
        changes[path] = value
    return overridden(load_settings(config), changes)


def _dataset(folder: Path, split: str, strip_titles: bool) -> Dataset:
    dataset = open_dataset(str(folder), split)
    return dataset.without_titles() if strip_titles else dataset


def _title(dataset: Dataset, what: str) -> str:
    part = f", {dataset.split}" if dataset.split else ""
    return f"{dataset.name}{part}{'' if dataset.titled else ', titles stripped'}: {what}"


@contextmanager
def _bar() -> Iterator[Progress]:
    with Progress(console=screen) as bar:
        yield bar


def _steps(bar: Progress, stage: str, total: int | None) -> Callable[[int], None]:
    """A line of the bar. A stage whose length is not known tells how far it is, the others what was done since."""
    task = bar.add_task(stage, total=total)
    return lambda done: bar.update(task, completed=done) if total is None else bar.advance(task, done)


def _ingested(ingested: Ingested) -> dict[str, float]:
    rate = ingested.documents / ingested.seconds if ingested.seconds else 0.0
    return {"documents": ingested.documents, "seconds": ingested.seconds, "documents_per_s": rate}


def _show(table: Any) -> None:
    console = Console()
    if not console.is_terminal:
        # A file has no width of its own.
        console = Console(width=max(LEAST_WIDTH, console.width))
    console.print(table)


def _show_runs(title: str, measured: Sequence[Measured], runs: Sequence[dict[str, Any]]) -> None:
    followed = [run for run in runs if run["name"] == paths.RELATION_PATHS]
    retrieved = [run for run in runs if run["name"] != paths.RELATION_PATHS]
    _show(report.table(title, retrieved))
    best = report.best_single_source(measured)
    if best is not None and any("versus" in run for run in runs):
        _show(report.differences_table(f"{title}, points against the best single source [95 %] won/lost", measured, best))
    _show(report.stages_table(f"{title}, ms per stage (p50)", retrieved))
    for run in followed:
        _show(report.paths_table(f"{title}, relation paths to exactly the accepted answers", run))
    _tell_trouble(runs)


def _tell_trouble(runs: Sequence[dict[str, Any]]) -> None:
    for run in runs:
        for trouble, count in run["trouble"].items():
            screen.print(f"[yellow]{run['name']}: {trouble} on {count} questions[/yellow]")


def _tell_of_bench(result: bench.Result) -> None:
    if result.unknown_sources:
        names = ", ".join(result.unknown_sources)
        screen.print(f"[yellow]no source of the settings is called {names}: the labels name it, and only peers are offered it[/yellow]")
    for trouble, count in result.trouble.items():
        screen.print(f"[yellow]{trouble} in {count} runs of the table[/yellow]")
    for run in result.runs:
        for failure, count in run["failures"].items():
            screen.print(f"[yellow]{run['name']} could not decide {count} questions: {escape(failure)}[/yellow]")


def _write(json_file: Path | None, document: dict[str, Any]) -> None:
    if json_file is not None:
        json_file.write_text(json.dumps(document, indent=2) + "\n")
