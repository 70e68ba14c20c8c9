"""The base of middleware that gives secrets other names in the backend than callers use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from strongroom.errors import StrongroomError, show_key
from strongroom.hooks.observation import observation
from strongroom.keys import check_value, distinct
from strongroom.middleware.base import Middleware
from strongroom.providers import Closeable, Lease, SecretChange, SecretMetadata, SecretVersion
from strongroom.runtime.frozen import replaced

__all__ = ["RenamingMiddleware", "rename_error"]

T = TypeVar("T")


class RenamingMiddleware(Middleware, ABC):
    """Passes every call on with another key, and names results and errors by the caller's key again.

    A subclass renames keys in `stored`, renames them back in `own_names`, and lists in `list_secrets`.
    """

    @abstractmethod
    def stored(self, key: str) -> str:
        """Return the name by which the inner provider knows `key`; both are valid keys."""

    def stored_names(self, keys: Iterable[str]) -> dict[str, str]:
        """Return `keys` by the names that `stored` gives them."""
        return {self.stored(key): key for key in keys}

    @abstractmethod
    def own_names(self) -> Callable[[str], str | None]:
        """Return a function from a stored name to the caller's, or to None if the caller has no such key."""

    def get_secret(self, key: str) -> str:
        stored = self.stored(key)
        try:
            return self.inner.get_secret(stored)
        except StrongroomError as error:
            rename_error(error, {stored: key})
            raise

    def set_secret(self, key: str, value: str) -> None:
        self._write_renamed(key, self.inner.set_secret, value)

    def delete_secret(self, key: str) -> None:
        self._call_renamed(key, self.inner.delete_secret)

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        names = self.stored_names(distinct(keys))
        try:
            values = self.inner.get_secrets(list(names))
        except StrongroomError as error:
            rename_error(error, names)
            raise
        seen = observation.get()
        if seen is not None:
            seen.sources = {names.get(key, key): one for key, one in seen.sources.items()}
        return {key: values[stored] for stored, key in names.items() if stored in values}

    def set_secrets(self, values: Mapping[str, str]) -> None:
        names = self.stored_names(values)
        stored_values = {stored: check_value(values[key], key) for stored, key in names.items()}
        try:
            self.inner.set_secrets(stored_values)
        except StrongroomError as error:
            rename_error(error, names)
            raise

    def listed(self, asked: str, own: Callable[[str], str]) -> list[str]:
        """Return the inner names that begin with `asked`; `own` makes the name in an error the caller's."""
        try:
            # Names are shortened by their prefix: one of somebody else must never be.
            return [name for name in self.inner.list_secrets(asked) if name.startswith(asked)]
        except StrongroomError as error:
            if isinstance(error.key, str):
                rename_error(error, {error.key: own(error.key)})
            raise

    def describe_secret(self, key: str) -> SecretMetadata:
        return replaced(self._call_renamed(key, self.inner.describe_secret), key=key)

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        names = self.stored_names(distinct(keys))
        try:
            described = self.inner.describe_secrets(list(names))
        except StrongroomError as error:
            rename_error(error, names)
            raise
        return {
            key: replaced(described[stored], key=key) for stored, key in names.items() if stored in described
        }

    def list_versions(self, key: str) -> list[SecretVersion]:
        return self._call_renamed(key, self.inner.list_versions)

    def get_secret_version(self, key: str, version: str) -> str:
        return self._call_renamed(key, self.inner.get_secret_version, version)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        return self._write_renamed(key, self.inner.set_secret_if, value, expected_version)

    def stage_secret(self, key: str, value: str) -> str:
        return self._write_renamed(key, self.inner.stage_secret, value)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        self._call_renamed(key, self.inner.promote_version, version, expected_version=expected_version)

    def discard_version(self, key: str, version: str) -> None:
        self._call_renamed(key, self.inner.discard_version, version)

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        own_name = self.own_names()

        def changed(changes: list[SecretChange]) -> None:
            named = [(own_name(change.key), change) for change in changes]
            own = [replaced(change, key=key) for key, change in named if key is not None]
            if own or not changes:
                callback(own)

        return self.inner.subscribe_changes(changed)

    def issue_lease(self, key: str) -> Lease:
        return replaced(self._call_renamed(key, self.inner.issue_lease), key=key)

    def renew_lease(self, lease: Lease) -> Lease:
        renewed = self._call_renamed(
            lease.key, lambda stored: self.inner.renew_lease(replaced(lease, key=stored))
        )
        return replaced(renewed, key=lease.key)

    def revoke_lease(self, lease: Lease) -> None:
        self._call_renamed(lease.key, lambda stored: self.inner.revoke_lease(replaced(lease, key=stored)))

    def _write_renamed(self, key: str, method: Callable[..., T], value: str, *args: Any) -> T:
        # A `TypeError` by who is inside would name the secret as it is stored.
        return self._call_renamed(key, lambda stored: method(stored, check_value(value, key), *args))

    def _call_renamed(self, key: str, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        stored = self.stored(key)
        try:
            return method(stored, *args, **kwargs)
        except StrongroomError as error:
            rename_error(error, {stored: key})
            raise


def rename_error(error: StrongroomError, names: Mapping[str, str]) -> None:
    """Put the caller's key into an error about a stored name; `names` maps stored names to those."""
    stored = error.key
    if stored is None or stored not in names:
        return
    key = names[stored]
    error.key = key
    error.message = error.message.replace(show_key(stored), show_key(key))
    error.args = (key,) if error.args == (stored,) else (error.message,)
