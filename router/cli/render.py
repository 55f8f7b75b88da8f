"""How decisions, evidence and answers look on a terminal of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.cli.thumbnails import Graphics, show_thumbnail
from router.types import Citation, CorrectiveTurn, Evidence, EvidenceKind, Notice, RouteDecision, SourceCode, SourceReport

# Documents and web pages are not ours: their control characters could drive the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MATCHING_LINES = 5
"""Lines of a picture that are shown; `--json` has all."""
_AFTER_SPACE = re.compile(r"(?<=\s)")


def screen() -> Console:
    """Standard output. No markup: `[1]` is a citation, not a style."""
    return Console(highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def show_decision(console: Console, decision: RouteDecision, *, explain: bool = False) -> None:
    """Who decided what and why; explained: with what was looked at, and what was expected of each source."""
    console.print(Text.assemble(("Routed by ", "bold"), (decision.policy, "bold"), f": {printable(decision.reason)}"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("source")
    table.add_column("asked")
    table.add_column("probability", justify="right")
    if explain:
        table.add_column("expected quality", justify="right")
        table.add_column("price", justify="right")
        table.add_column("expected ms (p90)", justify="right")
    table.add_column("reason")
    for route in decision.routes:
        style = "" if route.selected else "dim"
        asked = "yes" if route.selected else "no"
        latency = _latency(route.latency_s, route.latency_p90_s)
        expected = [_figure(route.expected_quality), _figure(route.cost), latency] if explain else []
        table.add_row(route.source, asked, f"{route.probability:.2f}", *expected, Text(printable(route.reason)), style=style)
    console.print(table)
    if explain:
        looked_at = ", ".join(f"{name} {value:.2f}" for name, value in decision.features.items()) or "nothing that has a number"
        if latency := _latency(decision.expected_latency_s, decision.expected_latency_p90_s):
            console.print(Text(f"the chosen sources together are expected to take {latency} ms", style="dim"))
        version = f"version {decision.version}; " if decision.version else ""
        console.print(Text(printable(f"{version}looked at {looked_at}"), style="dim"))


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _latency(median_s: float | None, p90_s: float | None) -> str:
    """In milliseconds, `12 (40)`; empty while nothing is known."""
    if median_s is None:
        return ""
    return f"{median_s * 1000:.0f}" + ("" if p90_s is None else f" ({p90_s * 1000:.0f})")


class StreamedText:
    """Text that comes in pieces, wrapped between words at the width of the console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._column = 0
        self._held = ""
        """The beginning of a word whose end has not come yet."""

    def add(self, piece: str) -> None:
        *words, self._held = _AFTER_SPACE.split(self._held + printable(piece))
        for word in words:
            self._put(word)

    def end(self) -> None:
        self._put(self._held)
        self._held = ""
        if self._column:
            self._console.out()
        self._column = 0

    def _put(self, word: str) -> None:
        if self._column and self._column + cell_len(word.rstrip()) > self._console.width:
            self._console.out()
            self._column = 0
        self._console.out(word, end="", highlight=False)
        self._column = 0 if word.endswith("\n") else self._column + cell_len(word)


def show_evidence(
    console: Console, numbered: Iterable[tuple[int, Evidence]], *, with_text: bool = False, graphics: Graphics | None = None
) -> None:
    """Each item with its number, where it comes from, who found it and, for graph evidence, the path that explains it.

    With `graphics` the thumbnails of pictures are shown below theirs.
    """
    items = list(numbered)
    width = max((len(f"[{number}]") for number, _ in items), default=0)
    for number, item in items:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", width=width)
        table.add_column(overflow="fold")
        lines = [Text(printable(item.title or item.uri or item.id), style="bold")]
        lines.append(
            Text(
                " | ".join(
                    filter(
                        None,
                        [
                            printable(item.uri) or _members(item),
                            ", ".join(item.sources),
                            "recorded" if item.recorded else "",
                            *_pictured(item),
                        ],
                    )
                )
            )
        )
        if item.shares:
            lines.append(Text("score from: " + ", ".join(f"{name} {share:.0%}" for name, share in item.shares.items()), style="dim"))
        lines += [Text(f"path: {path}", style="dim") for path in _paths(item)]
        lines += [Text(f"reads {line}", style="dim") for line in _matching_lines(item)]
        if with_text:
            lines.append(Text(printable(item.text)))
        table.add_row(Text(f"[{number}]"), Text("\n").join(lines))
        console.print(table)
        if graphics is not None and item.picture is not None and item.picture.thumbnail:
            show_thumbnail(console, item.picture.thumbnail, graphics, width + 1)


def show_reports(console: Console, reports: Sequence[SourceReport]) -> None:
    """The sources that did not simply answer."""
    for report in reports:
        if report.code is not SourceCode.OK:
            code = report.code.name.lower().replace("_", " ")
            console.print(Text(printable(f"{report.source} was {code}: {report.message}"), style="yellow"))


def show_turns(console: Console, turns: Sequence[CorrectiveTurn]) -> None:
    """What was looked up besides."""
    for turn in turns:
        console.print(Text(printable(f"{turn.action}: also asked {', '.join(turn.sources)}, since {turn.reason}"), style="dim"))


def show_notices(console: Console, notices: Sequence[Notice]) -> None:
    for notice in notices:
        console.print(Text(printable(f"note: {notice.message}"), style="yellow"))


def cited(citations: Sequence[Citation], evidence: Sequence[Evidence]) -> list[tuple[int, Evidence]]:
    """The evidence that the answer cites, with its numbers, in their order."""
    by_id = {item.id: item for item in evidence}
    markers = {citation.marker: by_id[citation.evidence_id] for citation in citations if citation.evidence_id in by_id}
    return sorted(markers.items(), key=lambda pair: pair[0])


def _pictured(item: Evidence) -> tuple[str, ...]:
    """Of a picture or a sound: its size, how many copies of it there are, and where it stands, to its page or time."""
    if item.picture is None:
        return ()
    kind = "sound" if item.picture.mime_type.startswith("audio/") else "picture"
    count = len(item.picture.near_duplicates)
    copies = f", +{count} {'copy' if count == 1 else 'copies'}" if count else ""
    return f"{kind}, {item.picture.width} x {item.picture.height}{copies}", printable(" > ".join(item.headings))


def _matching_lines(item: Evidence) -> list[str]:
    """What is written in a picture and shares words with the question; the first few such lines."""
    regions = item.picture.regions if item.picture is not None else ()
    matching = [f'"{printable(region.text)}"' for region in regions if region.matches]
    more = [f"{len(matching) - MATCHING_LINES} more such lines"] if len(matching) > MATCHING_LINES else []
    return matching[:MATCHING_LINES] + more


def _members(item: Evidence) -> str:
    if item.kind is not EvidenceKind.SUMMARY:
        return ""
    passages, documents = item.metadata["passages"], item.metadata["documents"]
    return f"{passages} passage{'s' if passages != 1 else ''} of {documents} document{'s' if documents != 1 else ''}"


def _paths(item: Evidence) -> list[str]:
    paths = []
    for provenance in item.provenance:
        if provenance.path:
            first, *_ = provenance.path
            steps = "".join(f" -{step.relation}-> {step.object}" for step in provenance.path)
            paths.append(printable(first.subject + steps))
    return list(dict.fromkeys(paths))
