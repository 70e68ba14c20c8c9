"""A backend for the keyring library, so that pip, twine and others read their passwords from strongroom.

It is used only if it is asked for: the environment variable `PYTHON_KEYRING_BACKEND`, or
`default-keyring` in `keyringrc.cfg`, is `strongroom.integrations.keyring.StrongroomKeyring`.

The password of a user name in a service is the secret `keyring/SERVICE/USERNAME`. In both names `%`,
`/`, spaces, control characters and a leading `.` are percent-encoded (UTF-8), so that different names
have different keys: an index may have `keyring/https:%2F%2Fpackages.example.com%2F/__token__`. A name that is
empty is written `%`; one of more than 200 characters `%sha256-` and its hash.
"""

from __future__ import annotations

import hashlib
import re
from typing import ClassVar
from urllib.parse import unquote

from strongroom.errors import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.integrations.hosts import MissingHostError
from strongroom.parallel import BuildLock
from strongroom.providers import SecretProvider

try:
    from keyring.backend import KeyringBackend
    from keyring.credentials import Credential, SimpleCredential
    from keyring.errors import (
        InitError,
        KeyringError,
        KeyringLocked,
        PasswordDeleteError,
        PasswordSetError,
    )
except ModuleNotFoundError as _error:
    raise MissingHostError("keyring", "keyring") from _error

__all__ = ["StrongroomKeyring", "key_for"]

_MAX_SEGMENT = 200
_EMPTY = "%"
_HASHED = "%sha256-"
_ESCAPED = re.compile("^\\.|[%/\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]")
_registry_lock = BuildLock()


def key_for(service: str, username: str, *, prefix: str = "keyring/") -> str:
    """Return the key of the secret that holds the password of `username` in `service`."""
    return f"{prefix}{_segment(service)}/{_segment(username)}"


class StrongroomKeyring(KeyringBackend):
    """Passwords of the keyring library, stored by strongroom.

    Attributes (each may be set by the environment as `KEYRING_PROPERTY_` and its name in capitals):
        spec: Path of the spec; without one, in this order: `STRONGROOM_SPEC`, `strongroom.yaml` in the
            current folder or above it, the user's own store.
        profile: The spec's profile.
        prefix: What the keys begin with.
        registry: Any provider to use instead of the spec's (in Python only).
    """

    # Below the library's own failing backend (0), so that it does not join the chain of backends: installing
    # strongroom must not change the keyring in use.
    priority: ClassVar[float] = -1

    spec: str | None = None
    profile: str | None = None
    prefix: str = "keyring/"
    registry: SecretProvider | None = None

    def get_password(self, service: str, username: str) -> str | None:
        """Return the password, None if there is none.

        Raises:
            KeyringLocked: Strongroom's backend is not logged in, or denies.
            InitError: The spec is wrong.
            KeyringError: Anything else; its cause is strongroom's error.
        """
        try:
            return self._provider().get_secret(self._key(service, username))
        except SecretNotFoundError:
            return None
        except StrongroomError as error:
            raise _keyring_error(error) from error

    def set_password(self, service: str, username: str, password: str) -> None:
        """Store the password.

        Raises:
            PasswordSetError: It could not be stored; the cause is strongroom's error.
        """
        try:
            self._provider().set_secret(self._key(service, username), password)
        except StrongroomError as error:
            raise PasswordSetError(str(error)) from error

    def delete_password(self, service: str, username: str) -> None:
        """Delete the password.

        Raises:
            PasswordDeleteError: There is none, or it could not be deleted.
        """
        try:
            self._provider().delete_secret(self._key(service, username))
        except StrongroomError as error:
            raise PasswordDeleteError(str(error)) from error

    def get_credential(self, service: str, username: str | None) -> Credential | None:
        """Return the credential of `username`; without one, that of the service's first user by name."""
        if username is not None:
            return super().get_credential(service, username)
        start = f"{self.prefix}{_segment(service)}/"
        try:
            keys = self._provider().list_secrets(start)
        except StrongroomError as error:
            raise _keyring_error(error) from error
        for key in keys:
            found = _name_of(key.removeprefix(start))
            password = self.get_password(service, found) if found is not None else None
            if found is not None and password is not None:
                return SimpleCredential(found, password)
        return None

    def _key(self, service: str, username: str) -> str:
        return key_for(service, username, prefix=self.prefix)

    def _provider(self) -> SecretProvider:
        with _registry_lock.held():
            if self.registry is None:
                from strongroom.registry import SecretProviderRegistry

                self.registry = SecretProviderRegistry(self.spec, profile=self.profile)
            return self.registry


def _segment(name: str) -> str:
    if not name:
        return _EMPTY
    escaped = _ESCAPED.sub(_percent, name)
    if len(escaped) <= _MAX_SEGMENT:
        return escaped
    return _HASHED + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _name_of(segment: str) -> str | None:
    """Return the name that `segment` stands for, None if it stands for none."""
    if segment == _EMPTY:
        return ""
    try:
        name = unquote(segment, errors="surrogatepass")
    except UnicodeDecodeError:  # another program's key
        return None
    return name if _segment(name) == segment else None


def _keyring_error(error: StrongroomError) -> KeyringError:
    if isinstance(error, AuthenticationError | PermissionDeniedError):
        return KeyringLocked(str(error))
    if isinstance(error, ConfigurationError):
        return InitError(str(error))
    return KeyringError(str(error))
