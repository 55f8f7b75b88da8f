"""Versions of the weights of `learned`: which there are, which is live, and what was promoted when.

In the data folder, `policies/learned/<version>.json` holds weights as `policy train` writes them, and `policies/learned.json` the
checksum of each, the live one and the history. Every file gets its name when it is whole, so whoever reads meets the old one or the new
one. A file whose checksum is another is refused. The versions belong to the service, not to a tenant.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from router.errors import Conflict, InvalidInput, NotFound, RouterError
from router.retrieval.base import Probe
from router.routing.base import SourceProfile
from router.routing.learned import LearnedPolicy
from router.routing.value import WEIGHTS, ValueModel, open_model
from router.stores.durable_file import write_durably
from router.types import Caller, Query, RouteDecision

SHIPPED = "shipped"
"""Names the weights of the release, which are live while nothing is promoted."""
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ModelT = TypeVar("_ModelT", bound=BaseModel)

_log = structlog.get_logger(__name__)


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Version(_Kept):
    sha256: str
    """Of the file."""
    made_at: datetime


class Step(_Kept):
    """One step of the history."""

    action: Literal["promote", "rollback"]
    version: str
    """Live from then on."""
    at: datetime


class Manifest(_Kept):
    versions: dict[str, Version] = {}
    promoted: tuple[str, ...] = ()
    """The last is live; a rollback takes it away. Empty: the shipped weights are live."""
    history: tuple[Step, ...] = ()

    @property
    def live(self) -> str:
        return self.promoted[-1] if self.promoted else SHIPPED


class Comparison(_Kept):
    """What a version is worth more than another per question, in utility, with the 95 % interval."""

    version: str
    sha256: str
    against: str
    against_sha256: str
    by: str
    """What it was told from, in words."""
    questions: int
    mean: float
    low: float
    high: float
    doubts: tuple[str, ...] = ()
    """Why the interval may not hold the truth, however it looks."""
    made_at: datetime

    @property
    def is_surely_better(self) -> bool:
        return self.low > 0 and not self.doubts

    def __str__(self) -> str:
        doubts = f"; {'; '.join(self.doubts)}" if self.doubts else ""
        interval = f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        return f"{self.version} against {self.against}: {interval} utility per question over {self.questions} {self.by}{doubts}"


class PolicyVersions:
    """See the module. Its methods read and write small files and block while they do.

    Args:
        data_dir: The service's data folder; nothing is made there before something is kept.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "policies" / "learned"
        self.manifest_path = data_dir / "policies" / "learned.json"

    def manifest(self) -> Manifest:
        """Raises Conflict (`MANIFEST_UNREADABLE`) when the file is none of ours."""
        return _read(self.manifest_path, Manifest) or Manifest()

    def add(self, version: str, text: str) -> Path:
        """Keep new weights; they are not live before they are promoted.

        Raises:
            InvalidInput: A name that cannot be one.
            Conflict: There is a version of that name (`VERSION_EXISTS`).
            ConfigurationError: The text is no model.
        """
        self.check_free(version)
        ValueModel.parse(text, version, "version")
        with self._changing() as manifest:
            self.check_free(version)
            write_durably(self._path(version), text.encode())
            added = Version(sha256=_sha256(text), made_at=datetime.now(UTC))
            self._keep(manifest.model_copy(update={"versions": {**manifest.versions, version: added}}))
        return self._path(version)

    def check_free(self, version: str) -> None:
        """Whether new weights may have this name. Raises as `add`."""
        taken = {SHIPPED, open_model(None, "version").version}
        if not _VERSION.fullmatch(version) or version in taken:
            message = f"{version!r} cannot name a version: letters, digits, '.', '_' and '-', at most 63, and none of {sorted(taken)}"
            raise InvalidInput(message, field="version")
        if version in self.manifest().versions:
            raise Conflict(f"there is a version {version!r} already: take another name", reason="VERSION_EXISTS", field="version")

    def sha256(self, version: str) -> str:
        """Raises NotFound (`UNKNOWN_VERSION`)."""
        if version == SHIPPED:
            return _sha256(resources.files("router.routing").joinpath(WEIGHTS).read_text(encoding="utf-8"))
        known = self.manifest().versions
        if version not in known:
            message = f"there is no version {version!r}; there are {[SHIPPED, *known]}"
            raise NotFound(message, reason="UNKNOWN_VERSION", field="version")
        return known[version].sha256

    def open(self, version: str) -> ValueModel:
        """The model of a version.

        Raises:
            NotFound: There is no such version (`UNKNOWN_VERSION`).
            Conflict: Its file is gone or is not the one that was kept (`VERSION_CHANGED`).
            ConfigurationError: It was made for other features than this release has.
        """
        if version == SHIPPED:
            return open_model(None, "version")
        expected = self.sha256(version)
        path = self._path(version)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Conflict(f"the weights of version {version!r} cannot be read: {error}", reason="VERSION_CHANGED") from error
        if (found := _sha256(text)) != expected:
            message = f"{path} is not the file that was kept as version {version!r}: its sha256 is {found}, expected {expected}"
            raise Conflict(message, reason="VERSION_CHANGED", field="version")
        return ValueModel.parse(text, str(path), "version")

    def live_model(self) -> ValueModel:
        """The model of the live version. Raises as `open`."""
        return self.open(self.manifest().live)

    def keep_comparison(self, comparison: Comparison) -> None:
        """Write it beside its version, in place of an earlier one."""
        with self._changing():
            write_durably(self._comparison_path(comparison.version), f"{comparison.model_dump_json(indent=1)}\n".encode())

    def comparison(self, version: str) -> Comparison | None:
        return _read(self._comparison_path(version), Comparison)

    def promote(self, version: str) -> Comparison:
        """Make a version live that was compared with the live one and is surely better; the comparison that says so.

        Raises:
            NotFound: There is no such version.
            Conflict: It is live already (`ALREADY_LIVE`), was not compared with what is live now (`NOT_COMPARED`), is not surely better
                (`NOT_SURELY_BETTER`), or its file has changed (`VERSION_CHANGED`).
        """
        with self._changing() as manifest:
            self.open(version)
            if version == SHIPPED:
                raise InvalidInput("the shipped weights are not promoted: `policy rollback` goes back to them", field="version")
            if version == manifest.live:
                raise Conflict(f"version {version!r} is live already", reason="ALREADY_LIVE", field="version")
            comparison = self.comparison(version)
            tried = (version, self.sha256(version), manifest.live, self.sha256(manifest.live))
            if comparison is None or (comparison.version, comparison.sha256, comparison.against, comparison.against_sha256) != tried:
                message = f"version {version!r} was not compared with {manifest.live!r}, which is live: `policy compare` does"
                raise Conflict(message, reason="NOT_COMPARED", field="version")
            if not comparison.is_surely_better:
                message = f"version {version!r} is not surely better than what is live: {comparison}"
                raise Conflict(message, reason="NOT_SURELY_BETTER", field="version")
            self._go_on(manifest, "promote", (*manifest.promoted, version))
            return comparison

    def rollback(self) -> str:
        """Go back to what was live before; its name.

        Raises:
            Conflict: Nothing is promoted (`NOTHING_PROMOTED`), or the file of the one before has changed (`VERSION_CHANGED`).
        """
        with self._changing() as manifest:
            if not manifest.promoted:
                raise Conflict("nothing is promoted: the shipped weights are live", reason="NOTHING_PROMOTED")
            before = manifest.promoted[:-1]
            self.open(before[-1] if before else SHIPPED)
            return self._go_on(manifest, "rollback", before)

    def _go_on(self, manifest: Manifest, action: Literal["promote", "rollback"], promoted: tuple[str, ...]) -> str:
        live = promoted[-1] if promoted else SHIPPED
        step = Step(action=action, version=live, at=datetime.now(UTC))
        self._keep(manifest.model_copy(update={"promoted": promoted, "history": (*manifest.history, step)}))
        return live

    def _keep(self, manifest: Manifest) -> None:
        write_durably(self.manifest_path, f"{manifest.model_dump_json(indent=1)}\n".encode())

    @contextmanager
    def _changing(self) -> Iterator[Manifest]:
        """One process at a time."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.manifest()

    def _path(self, version: str) -> Path:
        return self._folder / f"{version}.json"

    def _comparison_path(self, version: str) -> Path:
        return self._folder / "comparisons" / f"{version}.json"


class LiveLearnedPolicy(LearnedPolicy):
    """`learned` with the weights that are live, also when others are promoted while the service runs.

    Each decision looks whether the manifest is another file than before. Weights that cannot be taken are told in the log, and the ones
    before decide on.

    Args:
        versions: Of the service.

    Raises:
        RouterError: As `PolicyVersions.live_model`.
    """

    def __init__(self, versions: PolicyVersions) -> None:
        self._versions = versions
        self._seen = self._stamp()
        super().__init__(versions.live_model())

    async def decide(self, query: Query, probe: Probe, sources: tuple[SourceProfile, ...], caller: Caller) -> RouteDecision:
        self._follow()
        return await super().decide(query, probe, sources, caller)

    def _follow(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        before = self.version
        try:
            self._model = self._versions.live_model()
        except RouterError as error:
            _log.error("live_version_refused", reason=error.reason, message=error.message, kept=before)
        else:
            if self.version != before:
                _log.info("live_version_taken_up", version=self.version, before=before)

    def _stamp(self) -> tuple[int, int] | None:
        """Of the manifest, which is never written in place."""
        try:
            found = os.stat(self._versions.manifest_path)
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns


def _read(path: Path, kind: type[_ModelT]) -> _ModelT | None:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError, OSError) as error:
        message = f"{path} is no file of this release's: {error}; put a whole one back, or remove it"
        raise Conflict(message, reason="MANIFEST_UNREADABLE") from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
