"""The one error tree. Whoever raises knows the reason, whether a retry helps and which field is wrong.

    RouterError
    ├── InvalidInput            the caller's fault; names the field and the remedy
    │   ├── DocumentRejected    one document of an ingest cannot be taken (empty, broken, encrypted, too large, binary)
    │   ├── PictureRejected     bytes that are no picture, a broken one, or one too large to decode
    │   └── SoundRejected       bytes that are no WAV file, a broken one, or a sound that is too long
    ├── NotFound
    ├── Unauthenticated
    ├── PermissionDenied
    │   └── QueryRefused        the operator's policy does not let the question be answered; names the rule
    ├── Conflict                the state forbids it now (a store opened by another process, a model changed under a corpus)
    ├── Overloaded              try later
    ├── DeadlineExceeded
    ├── Unavailable             something we need is down; retryable
    │   ├── StoreUnavailable
    │   ├── ModelUnavailable
    │   ├── WebUnavailable
    │   └── AllSourcesUnavailable
    ├── NotImplementedYet       a call of the contract that this release does not fill
    ├── ConfigurationError      stops the start; names the setting's path and what is allowed
    ├── MissingExtra            an optional dependency is not installed; carries the install line
    └── InternalError           a bug of ours, or a reply of a store that we do not understand

`router/api/status.py` is the one place where these become gRPC status.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Severity = Literal["info", "warning", "error"]


class RouterError(Exception):
    """Root of the tree.

    Args:
        message: One sentence for a person: what happened and what to do.
        reason: UPPER_SNAKE, stable, for programs.
        field: Path of the request field or setting at fault, where there is one.
        retry_after_s: When a retry makes sense, in seconds.
    """

    default_reason: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    severity: ClassVar[Severity] = "error"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.field = field
        self.retry_after_s = retry_after_s


class InvalidInput(RouterError):
    default_reason = "INVALID_INPUT"
    severity = "info"


class DocumentRejected(InvalidInput):
    default_reason = "DOCUMENT_REJECTED"


class PictureRejected(InvalidInput):
    default_reason = "PICTURE_REJECTED"


class SoundRejected(InvalidInput):
    default_reason = "SOUND_REJECTED"


class NotFound(RouterError):
    default_reason = "NOT_FOUND"
    severity = "info"


class Unauthenticated(RouterError):
    default_reason = "UNAUTHENTICATED"
    severity = "info"


class PermissionDenied(RouterError):
    default_reason = "PERMISSION_DENIED"
    severity = "info"


class QueryRefused(PermissionDenied):
    """The operator's policy does not let this question be answered.

    Args:
        message: The operator's: why, and what to do instead.
        rule: Name of the rule that refused it.
    """

    default_reason = "QUERY_REFUSED"

    def __init__(
        self, message: str, *, rule: str = "", reason: str | None = None, field: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, reason=reason, field=field, retry_after_s=retry_after_s)
        self.rule = rule


class Conflict(RouterError):
    default_reason = "CONFLICT"
    severity = "warning"


class Overloaded(RouterError):
    default_reason = "OVERLOADED"
    retryable = True
    severity = "warning"


class DeadlineExceeded(RouterError):
    default_reason = "DEADLINE_EXCEEDED"
    severity = "warning"


class Unavailable(RouterError):
    default_reason = "UNAVAILABLE"
    retryable = True
    severity = "warning"


class StoreUnavailable(Unavailable):
    default_reason = "STORE_UNAVAILABLE"


class ModelUnavailable(Unavailable):
    default_reason = "MODEL_UNAVAILABLE"


class WebUnavailable(Unavailable):
    default_reason = "WEB_UNAVAILABLE"


class AllSourcesUnavailable(Unavailable):
    default_reason = "ALL_SOURCES_UNAVAILABLE"


class NotImplementedYet(RouterError):
    default_reason = "NOT_IMPLEMENTED_YET"
    severity = "info"


class ConfigurationError(RouterError):
    default_reason = "CONFIGURATION"


class MissingExtra(RouterError):
    default_reason = "MISSING_EXTRA"

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the extra '{extra}': pip install 'graphrag-router[{extra}]'")
        self.extra = extra


class InternalError(RouterError):
    default_reason = "INTERNAL"
