"""`ingest`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from router.cli import documents, render
from router.cli.failures import FAILED, told
from router.cli.options import DEFAULT_TARGET, Json, Key, Target, Tls, connected, print_json
from router.corpus.base import Acknowledgement, DocumentState, Failure, Upload
from router.corpus.discover import FoundFile, discover
from router.types import MetadataValue, Notice

MAX_FILE_BYTES = 63 * 1024 * 1024
"""Larger files are refused here: the service takes 64 MiB in one message, and a message that is too large ends the whole stream."""
DEFAULT_TIMEOUT_S = 60.0
Metadata = Mapping[str, Mapping[str, MetadataValue]]
"""By pattern of the document's name."""
OF_FACTS = "OPENIE_"
"""How the reasons of the corpus's notices begin that tell of facts read from passages, or imported."""
FINAL = {DocumentState.SEARCHABLE, DocumentState.UNCHANGED, DocumentState.FAILED}

Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH...", exists=True, help="Files, and folders that are walked; hidden files are left out.")
]


@dataclass
class Tally:
    """What became of the documents."""

    states: dict[str, DocumentState] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    chunk_count: int = 0

    def note(self, acknowledgement: Acknowledgement) -> None:
        self.states[acknowledgement.name] = acknowledgement.state
        if acknowledgement.failure is not None:
            self.failures[acknowledgement.name] = acknowledgement.failure
        if acknowledgement.state is DocumentState.SEARCHABLE:
            self.chunk_count += acknowledgement.chunk_count

    def refuse(self, name: str, failure: Failure) -> None:
        self.note(Acknowledgement(name, "", DocumentState.FAILED, failure=failure))

    def count(self, state: DocumentState) -> int:
        return list(self.states.values()).count(state)


def ingest(
    paths: Paths,
    collection: Annotated[str, typer.Option(metavar="NAME", help="The collection that the documents belong to.")] = "main",
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            exists=True,
            dir_okay=False,
            help="Metadata by pattern of the document's name, such as `'guides/*': {year: 2024}`; later patterns win.",
        ),
    ] = None,
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Annotated[float | None, typer.Option(min=0.001, metavar="SECONDS", help="Longest wait for all of it. Default: none.")] = None,
    as_json: Json = False,
) -> None:
    """Send files to the service. Exit code 1 when some were not taken; each of them is named with its reason.

    A document's name is its path below the given folder, or the name of the given file. Sending a name again replaces the document.
    A .tsv file holds facts; a .jsonl file holds facts that somebody read from the passages of other documents.
    """
    tally, started = Tally(), time.monotonic()
    by_pattern = _metadata(metadata) if metadata else {}
    with told(as_json):
        files = _found(paths, tally)
    with _bars() as bars:
        sent, done = bars.add_task("sent", total=len(files)), bars.add_task("done", total=len(files))

        def uploads() -> Iterator[Upload]:
            for file in files:
                upload = _upload(file, collection, by_pattern, tally)
                bars.advance(sent)
                if upload is None:
                    bars.advance(done)
                else:
                    yield upload

        with connected(target, api_key, tls, DEFAULT_TIMEOUT_S, as_json) as client:
            for acknowledgement in client.ingest(uploads(), timeout_s=timeout):
                tally.note(acknowledgement)
                if acknowledgement.state in FINAL:
                    bars.advance(done)
            notices = [notice for notice in client.corpus_stats().notices if notice.reason.startswith(OF_FACTS)]
    _report(tally, notices, time.monotonic() - started, as_json)
    if tally.failures:
        raise typer.Exit(FAILED)


def _found(paths: Sequence[Path], tally: Tally) -> list[FoundFile]:
    """The files to send; those that are passed over are noted."""
    found = []
    for item in discover(paths):
        if isinstance(item, FoundFile):
            found.append(item)
        elif item.reason != "SEEN_BEFORE":
            tally.refuse(_sendable(item.name), Failure(item.reason, item.message))
    if not found and not tally.failures:
        raise typer.BadParameter("there is no file to ingest", param_hint="PATH...")
    return found


def _upload(file: FoundFile, collection: str, by_pattern: Metadata, tally: Tally) -> Upload | None:
    """The file as it is sent; None, with the reason noted, when it cannot be."""
    name = _sendable(file.name)
    if file.size_bytes > MAX_FILE_BYTES:
        tally.refuse(name, Failure("TOO_LARGE", f"the file has {file.size_bytes} bytes; at most {MAX_FILE_BYTES} can be sent"))
        return None
    try:
        content = file.path.read_bytes()
    except OSError as exc:
        tally.refuse(name, Failure("UNREADABLE", f"the file cannot be read: {exc.strerror}"))
        return None
    metadata: dict[str, MetadataValue] = {}
    for pattern, fields in by_pattern.items():
        if fnmatchcase(name, pattern):
            metadata.update(fields)
    return Upload(name, content, collection=collection, metadata=metadata)


def _sendable(name: str) -> str:
    """File names are bytes; those that are no UTF-8 cannot be sent and are shown by their numbers."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _metadata(file: Path) -> Metadata:
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise typer.BadParameter(f"{file} cannot be read as YAML: {exc}", param_hint="--metadata") from exc
    if not isinstance(tree, dict) or not all(isinstance(fields, dict) for fields in tree.values()):
        raise typer.BadParameter(f"{file} must map name patterns to metadata, such as `'*': {{year: 2024}}`", param_hint="--metadata")
    return {
        str(pattern): {str(name): _value(value, f"{pattern}.{name}") for name, value in fields.items()} for pattern, fields in tree.items()
    }


def _value(value: Any, path: str) -> MetadataValue:
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if hasattr(value, "isoformat"):  # YAML reads 2024-05-01 as a date
        return str(value.isoformat())
    raise typer.BadParameter(f"{path} must be a text, a number, true or false, or a list of texts", param_hint="--metadata")


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def _report(tally: Tally, notices: Sequence[Notice], seconds: float, as_json: bool) -> None:
    searchable, unchanged, failed = (
        tally.count(state) for state in (DocumentState.SEARCHABLE, DocumentState.UNCHANGED, DocumentState.FAILED)
    )
    if as_json:
        print_json(
            {
                "documents": len(tally.states),
                "searchable": searchable,
                "unchanged": unchanged,
                "failed": [{"name": name, **(documents.of_failure(failure) or {})} for name, failure in sorted(tally.failures.items())],
                "chunk_count": tally.chunk_count,
                "seconds": round(seconds, 3),
                "documents_per_s": round(len(tally.states) / seconds, 3),
                "warnings": documents.of_notices(notices),
            }
        )
        return
    for name, failure in sorted(tally.failures.items()):
        typer.echo(render.printable(f"not taken: {name}: {failure.reason}: {failure.message}"))
    typer.echo(
        f"{len(tally.states)} documents in {seconds:.1f} s: {searchable} searchable ({tally.chunk_count} passages), "
        f"{unchanged} unchanged, {failed} not taken"
    )
    render.show_notices(render.screen(), notices)
