"""Secrets in the keyring of the desktop or operating system."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from strongroom.errors import ConfigurationError, SecretNotFoundError, StrongroomError
from strongroom.keys import check_key, check_prefix, check_value, is_reserved
from strongroom.parallel import forks_wait, never_collect, renew_after_fork
from strongroom.providers import BaseProvider

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

    from strongroom_keyring.store import Store

__all__ = ["KeyringSecretProvider"]

T = TypeVar("T")


class KeyringSecretProvider(BaseProvider):
    """Reads and writes the passwords of one service in the keyring; each key is a user name of it.

    Args:
        service: The keyring's service.
        backend: A keyring backend, its class, or the dotted name of its class; without one, the backend
            that the keyring library chooses (`PYTHON_KEYRING_BACKEND`, `keyringrc.cfg`, the platform's).

    Every method raises `AuthenticationError` where the keyring is locked and stays so, `ConfigurationError`
    where there is none, `PermissionDeniedError` where it refuses, `BackendUnavailableError` where
    its service does not answer. There is no deadline: an unlock prompt waits for the user.
    """

    type_name: ClassVar[str] = "keyring"

    def __init__(
        self,
        service: str = "strongroom",
        *,
        backend: str | type[KeyringBackend] | KeyringBackend | None = None,
    ) -> None:
        if not isinstance(service, str) or not service or "\0" in service:
            raise ConfigurationError("keyring: service must be text and not empty", provider="keyring")
        self._service = service
        self._backend = backend
        self._made: Store | None = None
        self._begin_again()
        renew_after_fork(self, KeyringSecretProvider._begin_again)

    def _begin_again(self) -> None:
        """Drop the backend in a forked child, as it may hold its parent's connection to the session bus."""
        never_collect(self._made)
        self._made = None
        self._lock = threading.RLock()

    def address(self) -> dict[str, str | None]:
        """Return what decides which secret is meant."""
        backend = self._backend
        if backend is not None and not isinstance(backend, str):
            cls = backend if isinstance(backend, type) else type(backend)
            backend = f"{cls.__module__}.{cls.__qualname__}"
        return {"service": self._service, "backend": backend}

    def get_secret(self, key: str) -> str:
        """Return the password stored for `key`.

        Raises:
            ValidationError: It is binary and no text.
            SecretNotFoundError: There is none.
        """
        check_key(key)
        value = self._call(lambda store: store.read(key), "get", key)
        if value is None:
            raise SecretNotFoundError(key, provider="keyring")
        return value

    def set_secret(self, key: str, value: str) -> None:
        """Create or replace the password of `key`."""
        check_key(key)
        check_value(value, key)
        self._call(lambda store: store.write(key, value), "set", key, hidden=value)

    def delete_secret(self, key: str) -> None:
        """Delete the password of `key`.

        Raises:
            SecretNotFoundError: There is none.
        """
        check_key(key)
        if not self._call(lambda store: store.remove(key), "delete", key):
            raise SecretNotFoundError(key, provider="keyring")

    def list_secrets(self, prefix: str = "") -> list[str]:
        """Return the keys that start with `prefix`.

        On a Secret Service these are the entries of every tool; on other backends, which cannot list,
        those that strongroom wrote.
        """
        check_prefix(prefix)
        found = self._call(lambda store: store.keys(prefix), "list")
        return sorted(key for key in found if not is_reserved(key))

    def __repr__(self) -> str:
        return f"<KeyringSecretProvider service={self._service!r}>"

    def _call(
        self, action: Callable[[Store], T], doing: str, key: str | None = None, *, hidden: str | None = None
    ) -> T:
        try:
            return action(self._store())
        except StrongroomError as known:
            ours: StrongroomError = known
        except Exception as error:  # noqa: BLE001  # a third party's backend may raise anything at all
            from strongroom_keyring.errors import translate

            ours = translate(error, doing=doing, key=key, hidden=hidden)
        # Outside the `except` block: the context of an error must not hold a value either.
        raise ours

    def _store(self) -> Store:
        if self._made is not None:
            return self._made
        with forks_wait(), self._lock:
            if self._made is None:
                from strongroom_keyring.backend_choice import choose_backend
                from strongroom_keyring.store import Store

                self._made = Store(choose_backend(self._backend), self._service)
            return self._made
