"""redis-py's errors as strongroom's: one table. A test walks its classes and fails where one is missing."""

from __future__ import annotations

from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    StrongroomError,
    ThrottledError,
)

__all__ = ["TABLE", "says_replaced", "translate"]

TABLE: dict[str, type[StrongroomError]] = {
    "AskError": BackendUnavailableError,
    "AuthenticationError": AuthenticationError,
    "AuthenticationWrongNumberOfArgsError": AuthenticationError,
    "AuthorizationError": PermissionDeniedError,
    "BusyLoadingError": BackendUnavailableError,
    "ChildDeadlockedError": BackendUnavailableError,
    "ClusterCrossSlotError": ConfigurationError,
    "ClusterDownError": BackendUnavailableError,
    "ClusterError": BackendUnavailableError,
    "ConnectionError": BackendUnavailableError,
    "CrossSlotTransactionError": ConfigurationError,
    "DataError": ConfigurationError,
    "ExecAbortError": BackendUnavailableError,
    "ExternalAuthProviderError": AuthenticationError,
    "IncorrectPolicyType": ConfigurationError,
    "InvalidPipelineStack": BackendUnavailableError,
    "InvalidResponse": BackendUnavailableError,
    "LockError": BackendUnavailableError,
    "LockNotOwnedError": BackendUnavailableError,
    "MasterDownError": BackendUnavailableError,
    "MaxConnectionsError": ThrottledError,
    "ModuleError": ConfigurationError,
    "MovedError": BackendUnavailableError,
    "NoPermissionError": PermissionDeniedError,
    "NoScriptError": BackendUnavailableError,
    "NoSuchFieldsetError": BackendUnavailableError,
    "OutOfMemoryError": BackendUnavailableError,
    "PubSubError": BackendUnavailableError,
    "ReadOnlyError": BackendUnavailableError,
    "RedisClusterException": BackendUnavailableError,
    "RedisError": BackendUnavailableError,
    "ResponseError": BackendUnavailableError,
    "SlotNotCoveredError": BackendUnavailableError,
    "TimeoutError": BackendUnavailableError,
    "TryAgainError": BackendUnavailableError,
    "WatchError": BackendUnavailableError,
    "MasterNotFoundError": BackendUnavailableError,
    "ReplicaNotFoundError": BackendUnavailableError,
    "SlaveNotFoundError": BackendUnavailableError,
    # below redis-py; the last two come of its own code where a connection is lost under it
    "OSError": BackendUnavailableError,
    "AttributeError": BackendUnavailableError,
    "ValueError": BackendUnavailableError,
}
"""The name of each class that a call can meet, and ours; a subclass counts as its nearest base."""

_BY_CODE: dict[str, type[StrongroomError]] = {
    "NOAUTH": AuthenticationError,
    "WRONGPASS": AuthenticationError,
    "NOPERM": PermissionDeniedError,
}
"""The first word of a plain `ResponseError` by which the server refuses, also from scripts."""

_REPLACED: frozenset[str] = frozenset({"ReadOnlyError", "MasterDownError"})
_SAYS_REPLACED = ("READONLY", "MASTERDOWN", "NOREPLICAS")
"""Words of a plain `ResponseError` for the same: before Redis 7 an error in a script begins otherwise."""

_HINTS: dict[type[StrongroomError], str] = {
    AuthenticationError: "check user and password of the URL or of the options",
    PermissionDeniedError: "give the ACL user the rule that the documentation of the redis cache shows",
    BackendUnavailableError: "check that the server runs and can be reached",
    ConfigurationError: "check the URL and the options of the redis cache",
}


def translate(error: Exception, doing: str, where: str) -> StrongroomError:
    """Return strongroom's error for `error`, which a call raised while `doing` what it should at `where`."""
    if isinstance(error, StrongroomError):
        return error
    names = (cls.__name__ for cls in type(error).__mro__)
    kind = next((TABLE[name] for name in names if name in TABLE), StrongroomError)
    message = str(error)
    for code, named in _BY_CODE.items():
        if code in message:
            kind = named
    # The server's own words may hold an argument, and with it a name or data: only the first one is shown.
    code = message.split(maxsplit=1)[0] if message[:3].isupper() else ""
    said = f"{type(error).__name__} {code}".strip()
    return kind(f"redis: {doing} failed: {said} ({where})", provider="redis", hint=_HINTS.get(kind))


def says_replaced(error: Exception) -> bool:
    """Return whether the server says that it is not, or may no longer be, the primary.

    After a failover its address may lead to another server, while an open connection leads to this one.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    message = str(error)
    return not names.isdisjoint(_REPLACED) or any(code in message for code in _SAYS_REPLACED)
