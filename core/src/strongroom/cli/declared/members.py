"""Members of secrets in JSON, written for the names that are declared with a `field`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.declarations.json_fields import member_of, with_member
from strongroom.errors import (
    ConflictError,
    PermissionDeniedError,
    SecretNotFoundError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from strongroom.registry import SecretProviderRegistry

__all__ = ["add_member", "put_member"]

_ATTEMPTS: Final = 5


def put_member(registry: SecretProviderRegistry, key: str, field: str, value: str) -> None:
    """Store `value` as the member `field` of `key`; all others stay, also what is written there meanwhile.

    Raises:
        ConflictError: Others write there again and again.
        ValidationError: What is stored there is not a JSON object.
        SecretNotFoundError: It is not absent but deleted, destroyed or disabled.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        version = _version(registry, key)
        if _stored(registry, key, _with(registry, key, field, value), version, last=attempt == _ATTEMPTS):
            return


def add_member(registry: SecretProviderRegistry, key: str, field: str, value: str) -> str:
    """Store `value` as the member `field` of `key`, and return what is there then.

    A member that somebody else added meanwhile stays, and so do all others.

    Raises:
        ConflictError: Others write there again and again.
        ValidationError: What is stored there is not a JSON object.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        version = _version(registry, key)
        with suppress(SecretNotFoundError):
            return member_of(registry.get_secret(key), key, field)
        if _stored(registry, key, _with(registry, key, field, value), version, last=attempt == _ATTEMPTS):
            break
    return value


def _with(registry: SecretProviderRegistry, key: str, field: str, value: str) -> str:
    """Return the JSON object that is stored at `key` with `value` as its member `field`."""
    try:
        old = registry.get_secret(key)
    except SecretNotFoundError as error:
        if error.reason != "absent":
            raise
        old = "{}"
    return with_member(old, key, field, value, add=True)


def _stored(
    registry: SecretProviderRegistry, key: str, whole: str, version: _Version | None, *, last: bool
) -> bool:
    """Store `whole` if `key` still has `version`, and return whether it had.

    Raises:
        ConflictError: It had not, and this was the last attempt.
    """
    if version is not None:
        try:
            registry.set_secret_if(key, whole, version.id)
        except UnsupportedOperationError:
            pass
        except ConflictError:
            if last:
                raise
            return False
        else:
            return True
    registry.set_secret(key, whole)
    return True


class _Version(NamedTuple):
    """The version of a secret; `id` is None if there is no secret."""

    id: str | None


def _version(registry: SecretProviderRegistry, key: str) -> _Version | None:
    """Return the version of `key`; None if the backend does not tell. The next read is past all caches.

    It is asked for before the value, so that a write in between is a conflict.
    """
    registry.invalidate(key)
    try:
        return _Version(registry.describe_secret(key).version)
    except SecretNotFoundError:
        return _Version(None)
    except (UnsupportedOperationError, PermissionDeniedError):
        return None
