"""A file that takes what is measured as it comes: a run that was stopped goes on where it was, and a longer one asks only what is new.

JSON lines: the first says how the file was made, every other is one measurement.
"""

from __future__ import annotations

import json
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from router.errors import Conflict, InvalidInput
from router.experiments.made import Made

Key = TypeVar("Key")
Value = TypeVar("Value")

Line = Mapping[str, Any]
"""For JSON."""


class MeasuredFile(UserDict[Key, Value]):
    """What was measured, by what it was measured on; what is added is in the file at once. A context manager.

    Args:
        path: Written anew if it is not there, else gone on with. A last line that was cut off is dropped.
        made: How the lines of this run are made.
        what: What the file holds, for messages; also the option that names it.
        parse: A line -> key and value; whatever it raises where fields are missing is told as InvalidInput.
        line: The opposite; None for what is not to be kept.

    Raises:
        InvalidInput: The file is something else, or cannot be read and written.
        Conflict: Its lines were made otherwise; names what differs.
    """

    def __init__(
        self,
        path: Path,
        made: Made,
        what: str,
        parse: Callable[[Line], tuple[Key, Value]],
        line: Callable[[Key, Value], Line | None],
    ) -> None:
        super().__init__()
        self._line = line
        with _reachable(path, what):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_bytes({"made": made.document()}))
            content = path.read_bytes()
        content = content[: content.rfind(b"\n") + 1]
        try:
            header, *lines = map(json.loads, content.splitlines())
            found, self.data = Made.of_document(header["made"]), dict(map(parse, lines))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise InvalidInput(f"{path} is no file of {what}", field=what) from error
        if differences := made.differences(found):
            raise Conflict(
                f"{path} does not fit this run: {'; '.join(differences)}. Name another place, or remove this file to begin anew",
                reason=f"{what.upper()}_DO_NOT_FIT",
                field=what,
            )
        with _reachable(path, what):
            self._file = path.open("r+b")
        self._file.truncate(len(content))
        self._file.seek(len(content))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        if (line := self._line(key, value)) is not None:
            self._file.write(_bytes(line))
            self._file.flush()


@contextmanager
def _reachable(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read and written: {error.strerror or error}", field=what) from error


def _bytes(line: Line) -> bytes:
    return json.dumps(line).encode() + b"\n"
