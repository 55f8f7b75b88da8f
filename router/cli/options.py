"""Options that several commands have, and the connection that they describe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from router.cli.failures import told
from router.client import DEFAULT_TARGET, RouterClient
from router.types import Condition, Filter, ImagePart, Query, TextPart

Target = Annotated[str, typer.Option(envvar="GRAPHRAG_ROUTER_TARGET", metavar="HOST:PORT", help="Where the service listens.")]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="GRAPHRAG_ROUTER_API_KEY",
        show_envvar=True,
        help="Credential. Better given by the environment: others on this machine can read a command line.",
    ),
]
Tls = Annotated[bool, typer.Option("--tls", help="Connect with TLS.")]
Timeout = Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="Longest wait for the whole call.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

Question = Annotated[str, typer.Argument(help="The question, in words; may be left out where there is a picture.", show_default=False)]
Images = Annotated[
    list[Path] | None,
    typer.Option("--image", metavar="FILE", exists=True, dir_okay=False, help="A picture that belongs to the question; repeatable."),
]
Instruction = Annotated[
    str,
    typer.Option(
        "--instruction",
        metavar="TEXT",
        help='What to look for relative to the question and its pictures, such as "the same from the back". No names or words to search by '
        "are taken from it.",
    ),
]
SaveImages = Annotated[
    Path | None, typer.Option("--save-images", metavar="DIR", file_okay=False, help="Save the pictures among the evidence in this folder.")
]
Thumbnails = Annotated[
    bool | None,
    typer.Option(
        "--thumbnails/--no-thumbnails",
        help="Show the pictures among the evidence. Default: on terminals that say they can (kitty, iTerm2, true colour).",
        show_default=False,
    ),
]
Sources = Annotated[list[str] | None, typer.Option("--source", metavar="NAME", help="Ask this source and do not route; repeatable.")]
Policy = Annotated[str, typer.Option(metavar="NAME", help="The policy that routes. Default: the configured chain.")]
Limit = Annotated[int, typer.Option(metavar="N", help="Evidence at most, 1 to 100. 0: the configured number.")]
Fusion = Annotated[str, typer.Option(metavar="NAME", help="walk, rrf or weighted. Default: the configured one.")]
NoLog = Annotated[bool, typer.Option("--no-log", help="Keep no record of this call to learn from.")]
MaxCost = Annotated[float | None, typer.Option("--max-cost", min=0, help="What the sources may cost together, in units of answer quality.")]
MaxLatency = Annotated[
    float | None,
    typer.Option("--max-latency", min=0, metavar="MS", help="Ask no source that is expected to take longer (its 90th percentile)."),
]
ExperimentKey = Annotated[
    str, typer.Option("--experiment-key", metavar="KEY", help="Who asks, so that an experiment of the service always gives them one arm.")
]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="FIELD=VALUE",
        help='Only documents whose metadata has this value; repeatable, all must hold. Numbers and true/false are taken as such; "2024" in '
        "double quotes is text.",
    ),
]

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file (YAML). Default: the one ROUTER_CONFIG names.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a setting, such as server.port=0; repeatable.")
]

DEFAULT_TIMEOUT_S = 60.0

__all__ = ["DEFAULT_TARGET"]


@contextmanager
def connected(target: str, api_key: str | None, tls: bool, timeout_s: float, as_json: bool) -> Iterator[RouterClient]:
    """A client; failures inside are told and end the command."""
    with told(as_json), RouterClient(target, api_key=api_key, tls=tls, timeout_s=timeout_s) as client:
        yield client


def query_of(question: str, filters: Sequence[str] | None, images: Sequence[Path] | None = None, instruction: str = "") -> Query:
    if not question and not images:
        raise typer.BadParameter("ask a question, or give a picture by --image", param_hint="QUESTION")
    words = (TextPart(question),) if question else ()
    # The service tells the type from the bytes.
    pictures = tuple(ImagePart(image.read_bytes(), "") for image in images or ())
    return Query((*words, *pictures), filter=Filter(must=tuple(map(_condition, filters or ()))), instruction=instruction)


def overrides_of(assignments: Sequence[str] | None) -> dict[str, str]:
    """`PATH=VALUE` options as the settings take them."""
    overrides = {}
    for assignment in assignments or ():
        path, equals, value = assignment.partition("=")
        if not (path and equals):
            raise typer.BadParameter(f"{assignment!r} is not of the form PATH=VALUE", param_hint="--set")
        overrides[path] = value
    return overrides


def print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _condition(assignment: str) -> Condition:
    field, equals, text = assignment.partition("=")
    if not (field and equals):
        raise typer.BadParameter(f"{assignment!r} is not of the form FIELD=VALUE", param_hint="--filter")
    try:
        value = json.loads(text, parse_constant=str)
    except json.JSONDecodeError:
        value = text
    return Condition(field, equals=value if isinstance(value, str | int | float) else text)
