"""Strongroom's errors for those of a program, whose `data.type` names a class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import strongroom.errors
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    InvalidKeyError,
    InvalidTenantError,
    NotFoundReason,
    PluginError,
    SecretNotFoundError,
    SecretTooLargeError,
    SpecError,
    StrongroomError,
    TenantContextError,
    ThrottledError,
    UnsupportedOperationError,
    UntrustedSpecError,
    show_key,
)

__all__ = ["METHOD_NOT_FOUND", "TYPES", "error_of"]

METHOD_NOT_FOUND: Final = -32601
"""JSON-RPC's code for an unknown method."""
TYPES: Final[Mapping[str, type[StrongroomError]]] = {
    name: found
    for name in strongroom.errors.__all__
    if isinstance(found := getattr(strongroom.errors, name), type)
    and issubclass(found, StrongroomError)
    # What is about the spec, plugins, tenants and the audit trail is never a backend's to say.
    and not issubclass(found, (SpecError, UntrustedSpecError, PluginError))
    and found not in {StrongroomError, AuditError, TenantContextError, InvalidTenantError}
}
"""The names that `data.type` may have."""
_KEYED: Final = (InvalidKeyError, SecretTooLargeError)
_LONGEST_WAIT: Final = 1e9
_NAME: Final = "exec"


def error_of(error: Any, *, method: str, key: str | None, clean: Callable[[str], str]) -> StrongroomError:
    """Return strongroom's error for the member `error` of a program's answer.

    Args:
        error: That member, whatever it is.
        method: The method that was called.
        key: The key it was about, if any.
        clean: Removes values from a text of the program.
    """
    error = error if isinstance(error, Mapping) else {}
    data = error.get("data")
    data = data if isinstance(data, Mapping) else {}
    kind = TYPES.get(str(data.get("type")))
    if kind is None and error.get("code") == METHOD_NOT_FOUND:
        kind = UnsupportedOperationError
    kind = kind or BackendUnavailableError
    about = data.get("key") if isinstance(data.get("key"), str) else None
    # A batch's error may be about one of its keys; that of one key is about no other.
    key = key if key is not None else about
    message = clean(str(error.get("message") or ""))
    hint = clean(str(data["hint"])) if isinstance(data.get("hint"), str) else None
    if kind is SecretNotFoundError:
        reason: NotFoundReason = (
            data["reason"] if data.get("reason") in get_args(NotFoundReason) else "absent"
        )
        return SecretNotFoundError(key or "", reason=reason, provider=_NAME, hint=hint or message or None)
    text = f"{_NAME}: {method}" + (f" {show_key(key)}" if key is not None else "")
    text = f"{text}: {message or kind.__name__}"
    if issubclass(kind, _KEYED):
        return kind(key or "", text, provider=_NAME, hint=hint)
    if kind is ThrottledError:
        wait = data.get("retry_after")
        seconds = None
        if isinstance(wait, (int, float)) and not isinstance(wait, bool) and 0 <= wait <= _LONGEST_WAIT:
            seconds = float(wait)
        return ThrottledError(text, retry_after=seconds, key=key, provider=_NAME, hint=hint)
    return kind(text, key=key, provider=_NAME, hint=hint)
