"""What the shell is told when a command fails: one line on standard error, and an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from router.api.status import code_of
from router.cli.render import printable
from router.client import UNREACHABLE
from router.errors import (
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    MissingExtra,
    NotFound,
    NotImplementedYet,
    Overloaded,
    PermissionDenied,
    QueryRefused,
    RouterError,
    Unauthenticated,
    Unavailable,
)

FAILED = 1
USAGE = 2
UNAVAILABLE = 3
REFUSED = 4
NOT_ALLOWED = 5
TOO_LATE = 6

EXPLAINED = (
    "Exit codes: 0 done (also when the answer is that nothing was found); 1 something failed, or a document of an ingest was not "
    "taken; 2 wrong usage or configuration; 3 the service is not there or cannot take more; 4 the service refused the input "
    "or, by the operator's policy, the question; "
    "5 the credential is missing or not enough; 6 the time was up; 130 stopped by Ctrl-C."
)

# The nearest class of an error decides.
EXIT_CODES: dict[type[RouterError], int] = {
    RouterError: FAILED,
    ConfigurationError: USAGE,
    MissingExtra: USAGE,
    Unavailable: UNAVAILABLE,
    Overloaded: UNAVAILABLE,
    InvalidInput: REFUSED,
    NotFound: REFUSED,
    Conflict: REFUSED,
    NotImplementedYet: REFUSED,
    Unauthenticated: NOT_ALLOWED,
    PermissionDenied: NOT_ALLOWED,
    QueryRefused: REFUSED,
    DeadlineExceeded: TOO_LATE,
}


@contextmanager
def told(as_json: bool = False) -> Iterator[None]:
    """Tell of a failure and exit. With `as_json` standard output gets it as its one JSON document too."""
    try:
        yield
    except UnicodeEncodeError as exc:
        tell(InvalidInput("the text is not valid UTF-8", reason="NOT_UNICODE"), as_json)
        raise typer.Exit(REFUSED) from exc
    except RouterError as error:
        tell(error, as_json)
        raise typer.Exit(exit_code_of(error)) from error


def exit_code_of(error: RouterError) -> int:
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def tell(error: RouterError, as_json: bool) -> None:
    where = f"{error.field}: " if error.field and not error.message.startswith(error.field) else ""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    remedy = "; start it with `graphrag-router serve`, or name another with --target" if error.reason == UNREACHABLE else ""
    what = f"refused by the rule {error.rule!r}" if isinstance(error, QueryRefused) else "error"
    typer.echo(printable(f"{what}: {where}{error.message}{remedy}{notes}"), err=True)
    if as_json:
        failure = {"code": code_of(error).name, "reason": error.reason, "field": error.field, "message": error.message}
        if isinstance(error, QueryRefused):
            failure["rule"] = error.rule
        typer.echo(json.dumps({"error": failure}, indent=2, ensure_ascii=False))
