"""`corpus list`, `show`, `delete` and `stats`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from router.cli import documents, render
from router.cli.options import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Json, Key, Target, Timeout, Tls, connected, print_json

app = typer.Typer(no_args_is_help=True, help="Look at the ingested documents, and remove them.")

DocumentId = Annotated[str, typer.Argument(metavar="ID", help="The document's identity, as `corpus list` shows it.")]


@app.command("list")
def list_documents(
    collection: Annotated[str, typer.Option(metavar="NAME", help="Only this collection.")] = "",
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """List the documents by name."""
    with connected(target, api_key, tls, timeout, as_json) as client:
        records = list(client.list_documents(collection=collection))
    if as_json:
        print_json({"documents": [documents.of_record(record) for record in records]})
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", overflow="fold")
    table.add_column("state")
    table.add_column("passages", justify="right")
    table.add_column("id", overflow="fold")
    for record in records:
        table.add_row(Text(render.printable(record.name)), record.state.value, str(record.chunk_count), record.id)
    console = render.screen()
    console.print(table)
    console.print(f"{len(records)} documents")


@app.command()
def show(
    document_id: DocumentId,
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Show a document: what is known of it, and the stored text that evidence spans count in."""
    with connected(target, api_key, tls, timeout, as_json) as client:
        record, text = client.get_document(document_id)
    if as_json:
        print_json({"document": documents.of_record(record), "text": text})
        return
    console = render.screen()
    for name, value in documents.of_record(record).items():
        console.print(Text(render.printable(f"{name}: {value}")))
    console.print()
    typer.echo(render.printable(text))


@app.command()
def delete(
    document_id: DocumentId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Remove a document from every store."""
    with connected(target, api_key, tls, timeout, as_json) as client:
        if not yes:
            record, _ = client.get_document(document_id)
            typer.confirm(f"Delete {render.printable(record.name)}?", abort=True, err=True)
        chunk_count = client.delete_document(document_id)
    if as_json:
        print_json({"document_id": document_id, "chunk_count": chunk_count})
    else:
        typer.echo(f"deleted, with its {chunk_count} passages")


@app.command()
def stats(
    target: Target = DEFAULT_TARGET,
    api_key: Key = None,
    tls: Tls = False,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Count documents, passages, vectors and the graph."""
    with connected(target, api_key, tls, timeout, as_json) as client:
        counts = client.corpus_stats()
    if as_json:
        print_json(documents.of_stats(counts))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for state, count in sorted(counts.documents.items()):
        table.add_row(f"documents {state}", str(count))
    table.add_row("passages", str(counts.chunk_count))
    table.add_row("vectors", "unknown" if counts.vector_count is None else str(counts.vector_count))
    for kind, count in sorted(counts.graph.items()):
        table.add_row(f"graph {kind}", str(count))
    console = render.screen()
    console.print(table)
    render.show_notices(console, counts.notices)
