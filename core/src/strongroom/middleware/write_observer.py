"""The base of middleware that has something to do with each key that is written through it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from strongroom.middleware.base import Middleware

__all__ = ["WriteNotifier", "WriteObserver"]


class WriteObserver(Middleware):
    """Puts `around_write` around every write, delete, conditional write and promotion."""

    @abstractmethod
    def around_write(self, *keys: str) -> AbstractContextManager[None]:
        """Return the context that a write of `keys` runs in."""

    def set_secret(self, key: str, value: str) -> None:
        with self.around_write(key):
            self.inner.set_secret(key, value)

    def delete_secret(self, key: str) -> None:
        with self.around_write(key):
            self.inner.delete_secret(key)

    def set_secrets(self, values: Mapping[str, str]) -> None:
        with self.around_write(*values):
            self.inner.set_secrets(values)

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        with self.around_write(key):
            return self.inner.set_secret_if(key, value, expected_version)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        with self.around_write(key):
            self.inner.promote_version(key, version, expected_version=expected_version)


class WriteNotifier(WriteObserver):
    """Writes within a context that tells of it, for caches on another way to the same place.

    Args:
        inner: The provider that is written to.
        around_write: Returns the context for the keys, such as `Pipeline.around_write`.
    """

    def __init__(self, inner: Any, around_write: Callable[..., AbstractContextManager[None]]) -> None:
        super().__init__(inner)
        self._around_write = around_write
        self._get = self.inner.get_secret

    def address(self) -> dict[str, Any]:
        """Return nothing: it does not change which secret is read."""
        return {}

    def get_secret(self, key: str) -> str:
        return self._get(key)

    def around_write(self, *keys: str) -> AbstractContextManager[None]:
        return self._around_write(*keys)
