"""The entries of one service in a keyring, with the listing that keyrings do not have.

A Secret Service is searched. For every other backend an index of the keys is kept as one more entry
of the same service; each name in it counts only while its entry is there. The errors that leave here
are the keyring library's own.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

from strongroom.errors import ConfigurationError

from strongroom_keyring import secret_service
from strongroom_keyring.locking import locked
from strongroom_keyring.names import INDEX_NAME, key_of, name_of, password_of, value_of

__all__ = ["Store"]

_CASE_FOLDING_MODULES = ("keyrings.alt.", "keyring.backends.Windows")
_MAX_TWINS = 64


class Store:
    """The passwords of `service` in `backend`, by key."""

    def __init__(self, backend: Any, service: str) -> None:
        self._service = service
        # The library's chain reads from all of its members but deletes from the first alone.
        self._members: list[Any] = list(backend.backends) if _is_chain(backend) else [backend]
        self._searched = [member for member in self._members if secret_service.is_searchable(member)]
        self._indexed = len(self._searched) < len(self._members)
        self._folds_case = any(map(_folds_case, self._members))

    def read(self, key: str) -> str | None:
        """Return the value of `key`; None if there is no entry."""
        with self._reading():
            return self._get(self._name(key))

    def write(self, key: str, value: str) -> None:
        """Create or replace the entry of `key`; it is added to the index first."""
        name = self._name(key)
        with locked(self._service, writing=True):
            if self._indexed:
                index = self._index()
                if key not in index:
                    self._write_index(index | {key})
            self._put(name, password_of(value))

    def remove(self, key: str) -> bool:
        """Delete the entry of `key` from every member; return whether there was one."""
        name = self._name(key)
        with locked(self._service, writing=True):
            removed = [self._remove(member, name) for member in self._members]
            if self._indexed:
                index = self._index()
                if key in index:
                    self._write_index(index - {key})
        return any(removed)

    def keys(self, prefix: str) -> set[str]:
        """Return the keys that start with `prefix` and have an entry."""
        with self._reading():
            present = {
                key
                for member in self._searched
                for name in secret_service.names(member, self._service)
                if (key := key_of(name)) is not None and key.startswith(prefix)
            }
            if self._indexed:
                listed = (key for key in self._index() - present if key.startswith(prefix))
                # Another tool may have deleted the entry, or a process may have died before it wrote it.
                present.update(key for key in listed if self._get(self._name(key)) is not None)
        return present

    def _reading(self) -> AbstractContextManager[None]:
        # GNOME Keyring's daemon has died of several first calls at once: it is asked one thing at a time.
        return locked(self._service, writing=False, alone=bool(self._searched))

    def _name(self, key: str) -> str:
        return name_of(key, folds_case=self._folds_case)

    def _get(self, name: str) -> str | None:
        for member in self._members:
            password = member.get_password(self._service, name)
            if password is not None:
                return value_of(password)
        return None

    def _put(self, name: str, password: str) -> None:
        for member in self._members:
            try:
                member.set_password(self._service, name, password)
            except NotImplementedError:
                continue
            if member in self._searched:
                secret_service.drop_twins(member, self._service, name)
            return
        raise ConfigurationError(
            "keyring: no backend here can write",
            provider="keyring",
            hint="`keyring --list-backends` shows those that are here; install one that can",
        )

    def _remove(self, member: Any, name: str) -> bool:
        from keyring.errors import PasswordDeleteError

        for removed in range(_MAX_TWINS):
            try:
                member.delete_password(self._service, name)
            except NotImplementedError:
                return removed > 0
            except PasswordDeleteError:
                # The library has one error for "not there" and for "not allowed".
                if member.get_password(self._service, name) is not None:
                    raise
                return removed > 0
            if member not in self._searched:
                return True
        return True

    def _index(self) -> frozenset[str]:
        text = self._get(INDEX_NAME)
        if text is None:
            return frozenset()
        try:
            keys = json.loads(text)
        except (ValueError, RecursionError):
            keys = None
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise ConfigurationError(
                f"keyring: the entry {INDEX_NAME!r} of service {self._service!r} is not strongroom's index",
                provider="keyring",
                hint="delete that entry; keys are listed again once they are set again",
            )
        return frozenset(keys)

    def _write_index(self, keys: frozenset[str]) -> None:
        self._put(INDEX_NAME, json.dumps(sorted(keys)))


def _is_chain(backend: object) -> bool:
    return any(cls.__module__ == "keyring.backends.chainer" for cls in type(backend).__mro__)


def _folds_case(member: object) -> bool:
    return any(cls.__module__.startswith(_CASE_FOLDING_MODULES) for cls in type(member).__mro__)
