"""Members of secrets in JSON, written for the names that are declared with a `field`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from strongroom.declarations.json_fields import member_of, with_member
from strongroom.errors import ConflictError, SecretNotFoundError, UnsupportedOperationError

if TYPE_CHECKING:
    from strongroom.registry import SecretProviderRegistry

__all__ = ["add_member", "as_member"]

_ATTEMPTS: Final = 5


def as_member(registry: SecretProviderRegistry, key: str, field: str, value: str) -> str:
    """Return the JSON object that is stored at `key` with `value` as its member `field`.

    Raises:
        ValidationError: What is stored there is not a JSON object.
        SecretNotFoundError: It is not absent but deleted, destroyed or disabled.
    """
    try:
        old = registry.get_secret(key)
    except SecretNotFoundError as error:
        if error.reason != "absent":
            raise
        old = "{}"
    return with_member(old, key, field, value, add=True)


def add_member(registry: SecretProviderRegistry, key: str, field: str, value: str) -> str:
    """Store `value` as the member `field` of `key`, and return what is there then.

    A member that somebody else added meanwhile stays, and so do all others.

    Raises:
        ConflictError: Others write there again and again.
        ValidationError: What is stored there is not a JSON object.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        version = _version(registry, key)  # before the value: a write in between is a conflict
        with suppress(SecretNotFoundError):
            return member_of(registry.get_secret(key), key, field)
        whole = as_member(registry, key, field, value)
        try:
            registry.set_secret_if(key, whole, version)
        except UnsupportedOperationError:
            registry.set_secret(key, whole)
        except ConflictError:
            if attempt == _ATTEMPTS:
                raise
            continue
        break
    return value


def _version(registry: SecretProviderRegistry, key: str) -> str | None:
    """Return the version of `key`; None where there is none, or the backend does not tell."""
    try:
        return registry.describe_secret(key).version
    except (SecretNotFoundError, UnsupportedOperationError):
        return None
