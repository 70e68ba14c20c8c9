"""Strongroom's errors for those of etcd."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strongroom.clients import redact_message
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretTooLargeError,
    StrongroomError,
    ThrottledError,
)
from strongroom.rotation import redact

__all__ = ["AGAIN", "DENIED", "LOGIN", "NO_LOGINS", "REFUSED_LOGIN", "TYPE_NAME", "ServerError", "translate"]

TYPE_NAME: Final = "etcd"

INVALID, EXHAUSTED, UNAUTHENTICATED, DENIED, UNAVAILABLE = 3, 8, 16, 7, 14

LOGIN: Final = (
    "invalid auth token",
    "revision of auth store is old",  # of a JWT, after any change of any user
    "revision in header is old",  # the same, as etcd 3.5 says it
    "user name is empty",
)
"""Errors after which a new login may help, if there is a user."""
NO_LOGINS: Final = "authentication is not enabled"
REFUSED_LOGIN: Final = "authentication failed"
AGAIN: Final = frozenset({1, 2, 4, 13, UNAVAILABLE})
"""Codes of gRPC for "not now": another member, or a later call, may succeed."""
_TOO_LARGE: Final = ("request is too large", "too many operations", "larger than max")

_LIMITS: Final = "give the cluster's max_request_bytes and max_txn_ops, or write less at once"
_TABLE: Final[tuple[tuple[int | None, tuple[str, ...], type[StrongroomError], str | None], ...]] = (
    (
        None,
        ("database space exceeded",),
        BackendUnavailableError,
        "compact, defragment, then `etcdctl alarm disarm`; nothing was written",
    ),
    (EXHAUSTED, ("too many requests",), ThrottledError, "ask less often, or cache"),
    (
        DENIED,
        ("permission denied",),
        PermissionDeniedError,
        "the role needs readwrite on the prefix: docs/how-to/backends/etcd.md",
    ),
    (
        UNAUTHENTICATED,
        (*LOGIN, REFUSED_LOGIN),
        AuthenticationError,
        "check username and password",
    ),
    (INVALID, (), ConfigurationError, "etcd 3.4 or newer is needed"),
)
"""Codes of gRPC, or words of the message, and the errors; the first row that fits counts."""
_KNOWN: Final = (NO_LOGINS, *_TOO_LARGE, *(one for _, words, _, _ in _TABLE for one in words))


class ServerError(Exception):
    """An error that a member answered.

    Args:
        code: gRPC's code, 0 where there was none.
        text: Its words.
        hidden: The secrets of the login, which a proxy may quote, and no text may show.

    Attributes:
        code: gRPC's code.
        text: Its words, shortened, without `hidden`.
    """

    def __init__(self, code: int, text: str, hidden: Iterable[str] = ()) -> None:
        self.code = code
        # Looked for before anything is masked: a short password may be a part of the words that count.
        self._heard = frozenset(one for one in _KNOWN if one in text)
        shown = redact_message(redact(hidden, text, shown=len(text)))
        self.text = shown or ("(its message holds a credential and is left out)" if text else "")
        super().__init__(self.text)

    def says(self, *words: str) -> bool:
        """Return whether the message has one of `words`, of those that this module knows."""
        return not self._heard.isdisjoint(words)


def translate(error: ServerError, doing: str) -> StrongroomError:
    """Return strongroom's error for an error of a member."""
    message = f"{TYPE_NAME}: {doing}: {error.text}"
    if error.says(*_TOO_LARGE):
        return SecretTooLargeError("", message, provider=TYPE_NAME, hint=_LIMITS)
    for code, words, kind, hint in _TABLE:
        if error.code == code or error.says(*words):
            return kind(message, provider=TYPE_NAME, hint=hint)
    hint = "`etcdctl endpoint health` shows more"
    if not error.code:
        hint = "it must be a client address of etcd, usually port 2379, and not one of its peers"
    return BackendUnavailableError(message, provider=TYPE_NAME, hint=hint)
