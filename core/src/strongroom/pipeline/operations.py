"""One operation on a pipeline: its name, its key, its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from strongroom.errors import (
    AuthenticationError,
    InvalidKeyError,
    PermissionDeniedError,
    SecretNotFoundError,
    TenantContextError,
    show_key,
)
from strongroom.hooks import Outcome
from strongroom.keys import check_key, is_reserved, not_text
from strongroom.runtime.scopes import OpenBlocks

__all__ = ["as_operation", "check_user_key", "checked_user_key", "outcome_of"]


_operations: OpenBlocks[str] = OpenBlocks("strongroom_operation")


def check_user_key(key: str) -> str:
    """Return `key`, or raise `InvalidKeyError`, also for the names that are reserved for rotations."""
    try:
        return checked_user_key(key)
    except TypeError:  # a list, say, cannot be looked up
        pass
    raise not_text(key)


@lru_cache(maxsize=8192)
def checked_user_key(key: str) -> str:
    """Do the same as `check_user_key`, faster for a known key; what has no hash raises a `TypeError`."""
    if is_reserved(check_key(key)):
        raise InvalidKeyError(key, f"invalid key {show_key(key)}: the segment '.rotation' is reserved")
    return key


@contextmanager
def as_operation(name: str) -> Iterator[None]:
    """Let the events of everything done in the block carry `name` as their operation."""
    block = _operations.enter(name)
    try:
        yield
    finally:
        _operations.leave(block)


def outcome_of(error: BaseException) -> Outcome:
    """Return how an operation ended that `error` came out of."""
    if isinstance(error, SecretNotFoundError):
        return "not_found"
    if isinstance(error, PermissionDeniedError | AuthenticationError | TenantContextError):
        return "denied"
    return "error"
