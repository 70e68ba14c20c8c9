"""Answers: Vault's envelope, and one answer for each kind of error."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from strongroom.errors import (
    AuditError,
    AuthenticationError,
    BackendUnavailableError,
    ConflictError,
    EncryptionError,
    InvalidKeyError,
    InvalidTenantError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretNotFoundError,
    SecretTooLargeError,
    StrongroomError,
    TenantContextError,
    ThrottledError,
    UnsupportedOperationError,
    ValidationError,
)

__all__ = [
    "DENIED",
    "Answer",
    "UncheckedError",
    "as_fields",
    "as_json",
    "bad_request",
    "data_answer",
    "errors",
    "header_fields",
    "not_allowed",
    "of_error",
    "request_id",
    "secret_answer",
    "secret_parts",
    "time_text",
]

_log = logging.getLogger("strongroom.serve")
_JSON = (b"content-type", b"application/json")
_NO_STORE = (b"cache-control", b"no-store")
_LONGEST_WAIT = 86_400.0
CAS_MISMATCH = "check-and-set parameter did not match the current version"


class Answer:
    """A status, a body and further headers."""

    __slots__ = ("body", "headers", "kind", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        kind: tuple[bytes, bytes] = _JSON,
    ) -> None:
        self.status, self.body, self.headers, self.kind = status, body, headers, kind


def as_json(value: object) -> bytes:
    """Return `value` as JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def errors(status: int, *messages: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return an error in Vault's form."""
    return Answer(status, as_json({"errors": list(messages)}), headers)


DENIED = errors(403, "1 error occurred:\n\t* permission denied\n\n")
"""The answer to requests that a rule refuses, whether the secret exists or not, in OpenBao's words."""
BAD_TOKEN = errors(403, "permission denied")
"""OpenBao's answer to an unknown token."""
ABSENT = errors(404)


_UNCHECKED = errors(400, CAS_MISMATCH, headers=((b"x-strongroom-cas", b"unchecked"),))
"""The same answer as to another version; the header says that the pipeline compares none."""


class UncheckedError(ConflictError):
    """A write with `cas` to a pipeline that has no versions to compare."""


def bad_request(message: str) -> Answer:
    """Return 400 with its reason."""
    return errors(400, message)


def not_allowed(message: str, methods: str = "GET") -> Answer:
    """Return 405 with its reason and, as HTTP requires, the methods of the path."""
    return errors(405, message, headers=((b"allow", methods.encode()),))


def data_answer(data: Mapping[str, Any] | None, status: int = 200, **more: Any) -> Answer:
    """Return Vault's envelope around `data`."""
    return Answer(status, as_json(_envelope(data) | more))


def secret_answer(members: bytes, metadata: bytes) -> Answer:
    """Return the envelope around a secret, whose parts are JSON already, for this is the most common."""
    before, behind = secret_parts(members, metadata)
    return Answer(200, before + request_id().encode() + behind)


def secret_parts(members: bytes, metadata: bytes) -> tuple[bytes, bytes]:
    """Return the text before and after the request's id in the envelope around a secret."""
    return b'{"request_id":"', (
        b'","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":%b,"metadata":%b},'
        b'"wrap_info":null,"warnings":null,"auth":null}' % (members, metadata)
    )


def header_fields(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return all header fields of an answer."""
    return [answer.kind, _NO_STORE, (b"content-length", b"%d" % len(answer.body)), *answer.headers]


def as_fields(length: int) -> bytes:
    """Return the header fields of an answer that is JSON of this length, a line each."""
    fields = (_JSON, _NO_STORE, (b"content-length", b"%d" % length))
    return b"".join(b"%b: %b\r\n" % one for one in fields)


def _envelope(data: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "request_id": request_id(),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }


_ids: list[str] = []


def request_id() -> str:
    """Return a new id, in the form of a UUID."""
    try:
        return _ids.pop()
    except IndexError:
        text = os.urandom(16 * 256).hex()  # many at once: asking the system costs more than all the rest
        each = [text[at : at + 32] for at in range(0, len(text), 32)]
        made = [f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in each]
        _ids.extend(made[1:])
        return made[0]


def time_text(when: datetime | None) -> str:
    """Return a time in Vault's form (RFC 3339); the epoch if it is unknown."""
    when = when or datetime.fromtimestamp(0, UTC)
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def of_error(error: Exception) -> Answer:  # noqa: C901, PLR0911  # a table of cases
    """Return the answer for an error; it never holds a value."""
    if isinstance(error, SecretNotFoundError):
        return ABSENT
    if isinstance(error, PermissionDeniedError | ReadOnlyError | TenantContextError | InvalidTenantError):
        return DENIED
    if isinstance(error, SecretTooLargeError):
        return errors(413, error.message)
    if isinstance(error, InvalidKeyError | ValidationError):
        return errors(400, error.message)
    if isinstance(error, UncheckedError):
        return _UNCHECKED
    if isinstance(error, ConflictError):
        return errors(400, CAS_MISMATCH)
    if isinstance(error, UnsupportedOperationError):
        return not_allowed(error.message)
    if isinstance(error, ThrottledError):
        seconds = math.ceil(min(max(1.0, error.retry_after or 1.0), _LONGEST_WAIT))
        return errors(429, "the backend is throttling", headers=((b"retry-after", b"%d" % seconds),))
    if isinstance(error, BackendUnavailableError):
        _log.warning("%s: %s", error.pipeline or "-", error.message)
        return errors(503, "the backend is not available")
    if isinstance(error, AuthenticationError):
        _log.error("%s: %s", error.pipeline or "-", error.message)
        return errors(503, "the backend does not take this server's login")
    if isinstance(error, EncryptionError):
        _log.error("%s: %s", error.pipeline or "-", error.message)
        return errors(500, "the secret cannot be decrypted")
    if isinstance(error, AuditError):
        _log.error("%s", error.message)
        return errors(500, "the audit trail cannot be written")
    # Of any other exception only the type is logged: its text may hold anything.
    _log.error("unexpected %s%s", type(error).__name__, _message(error))
    return errors(500, "internal error")


def _message(error: Exception) -> str:
    return f": {error.message}" if isinstance(error, StrongroomError) else ""
