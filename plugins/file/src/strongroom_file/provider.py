from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom.errors import (
    ConfigurationError,
    ConflictError,
    DecryptionError,
    SecretNotFoundError,
    SecretTooLargeError,
    TamperedError,
    show_key,
)
from strongroom.keys import check_key, check_prefix, check_value, is_reserved
from strongroom.providers import BaseProvider, SecretMetadata, SecretVersion, VersionState

from strongroom_file.keysource import key_source

if TYPE_CHECKING:
    from strongroom_file.change import Change
    from strongroom_file.session import Highest, Session, View

__all__ = ["MAX_VALUE_BYTES", "FileSecretProvider"]

MAX_VALUE_BYTES = 256 * 1024 * 1024
"""The longest value, in bytes of UTF-8."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REOPENINGS = 3

Result = TypeVar("Result")


def _now() -> datetime:
    return datetime.now(UTC)


def _time(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


class FileSecretProvider(BaseProvider):
    """Secrets in one encrypted file, for many threads and processes of one machine, with every capability.

    Args:
        file_path: The store. It is made by the first write, and so is the key file.
        encryption_key: Text of `generate_key`, 32 bytes, a Fernet key, or a passphrase.
        key_file: A file that holds one of these as text.
        max_versions: Versions kept of each secret, 1 to 1,000; current and pending ones are never dropped.
        timeout: Seconds that a write waits for the writes of others.
        clock: Gives the aware time now.

    Raises:
        ConfigurationError: There is no key, two, or one that is none; or an option is out of bounds.
    """

    type_name = "file"

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        encryption_key: str | bytes | None = None,
        *,
        key_file: str | os.PathLike[str] | None = None,
        max_versions: int = 100,
        timeout: float = 60.0,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        if not 1 <= max_versions <= 1000:  # noqa: PLR2004  # as documented
            raise ConfigurationError(
                f"max_versions must be between 1 and 1000, got {max_versions}", provider=self.type_name
            )
        if not timeout > 0:
            raise ConfigurationError(f"timeout must be above 0, got {timeout}", provider=self.type_name)
        self._path = Path(file_path)
        self._source = key_source(encryption_key, Path(key_file) if key_file is not None else None)
        self._max_versions = max_versions
        self._timeout = timeout
        self._clock = clock
        self._highest: Highest = {}
        self._session: Session | None = None
        self._opening = threading.Lock()
        _providers.add(self)

    # --- reading ---

    def get_secret(self, key: str) -> str:
        check_key(key)
        session = self._session
        if session is not None:
            with session.reading:
                value = session.recall(key) if session is self._session else None
            if value is not None:
                return value
        return self._read(lambda view: _get(view, key), key, lambda: _missing(key))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        asked = [check_key(key) for key in keys]

        def read(view: View) -> dict[str, str]:
            found: dict[str, str] = {}
            for key in asked:
                with _about(key):
                    value = _find(view, key)
                if value is not None:
                    found[key] = value
            return found

        return self._read(read, None, dict)

    def list_secrets(self, prefix: str = "") -> list[str]:
        start = check_prefix(prefix).encode()
        return self._read(lambda view: _list(view, start), None, list)

    def describe_secret(self, key: str) -> SecretMetadata:
        from strongroom_file.layout import version_id

        check_key(key)

        def read(view: View) -> SecretMetadata:
            entry = view.entry(key.encode())
            if entry is None or not entry.value:
                raise _not_found(key)
            version = version_id(entry.epoch, entry.value)
            return SecretMetadata(key, version, _time(entry.created), _time(entry.updated))

        return self._read(read, key, lambda: _missing(key))

    def list_versions(self, key: str) -> list[SecretVersion]:
        check_key(key)
        return self._read(lambda view: _versions(view, key), key, lambda: _missing(key))

    def get_secret_version(self, key: str, version: str) -> str:
        check_key(key)

        def read(view: View) -> str:
            from strongroom_file.change import find_version, no_such_version, read_history

            name = key.encode()
            entry = view.entry(name)
            if entry is None:
                raise _not_found(key)
            found = find_version(entry, read_history(view, name, entry), version)
            if found is None:
                raise no_such_version(key)
            return view.value(name, found.value, found.tag)

        return self._read(read, key, lambda: _missing(key))

    # --- writing ---

    def set_secret(self, key: str, value: str) -> None:
        data = _encoded(check_key(key), value)
        self._write(lambda change: change.write(key, data), key)

    def set_secrets(self, values: Mapping[str, str]) -> None:
        encoded = {check_key(key): _encoded(key, value) for key, value in values.items()}
        if not encoded:
            return

        def write(change: Change) -> None:
            for key, data in encoded.items():
                with _about(key):
                    change.write(key, data)

        self._write(write, None)

    def delete_secret(self, key: str) -> None:
        check_key(key)
        self._write(lambda change: change.delete(key), key, absent=lambda: _missing(key))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        data = _encoded(check_key(key), value)

        def write(change: Change) -> str:
            change.expect(key, change.entry(key.encode()), expected_version)
            return change.write(key, data)

        def absent() -> str:
            raise ConflictError(
                f"secret {show_key(key)} is not there",
                key=key,
                provider=self.type_name,
                hint="read it again and decide anew",
            )

        return self._write(write, key, absent=None if expected_version is None else absent)

    def stage_secret(self, key: str, value: str) -> str:
        data = _encoded(check_key(key), value)
        return self._write(lambda change: change.stage(key, data), key)

    def promote_version(self, key: str, version: str, *, expected_version: str | None) -> None:
        check_key(key)
        self._write(
            lambda change: change.promote(key, version, expected_version), key, absent=lambda: _missing(key)
        )

    def discard_version(self, key: str, version: str) -> None:
        check_key(key)
        self._write(lambda change: change.discard(key, version), key, absent=lambda: _missing(key))

    # --- the store itself ---

    def close(self) -> None:
        """Close the store; the last process to do so leaves a single file. Any call opens it again."""
        with self._opening:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self._path)!r}>"

    def _read(self, read: Callable[[View], Result], key: str | None, absent: Callable[[], Result]) -> Result:
        """Return what `read` makes of the store, or `absent` where there is no store."""

        def attempt(session: Session) -> Result:
            with session.reading, session.view() as view:
                return read(view)

        with _about(key):
            found = self._with_session(attempt)
        return absent() if found is None else found[0]

    def _write(
        self, write: Callable[[Change], Result], key: str | None, absent: Callable[[], Result] | None = None
    ) -> Result:
        """Change the store by `write` in one transaction. Where there is no store, make it or ask `absent`."""

        def attempt(session: Session) -> Result:
            from strongroom_file.change import Change
            from strongroom_file.maintenance import require_writable

            require_writable(session)
            with session.transaction() as (view, hand_over):
                now = (self._clock() - _EPOCH) // _MICROSECOND
                change = Change(view, self._max_versions, now)
                result = write(change)
                hand_over(change.seal(), change.keys)
            return result

        with _about(key):
            found = self._with_session(attempt)
            if found is None and absent is None:
                self._create()
                found = self._with_session(attempt)
        if found is not None:
            return found[0]
        if absent is not None:
            return absent()
        raise TamperedError(f"{self._path} vanished as soon as it was made", key=key, provider=self.type_name)

    def _with_session(self, attempt: Callable[[Session], Result]) -> tuple[Result] | None:
        """Return what `attempt` returns, opening the store anew where another one stands in its place."""
        from strongroom_file.session import StaleSessionError

        for _ in range(_REOPENINGS):
            session = self._session or self._open()
            if session is None:
                return None
            try:
                return (attempt(session),)
            except StaleSessionError:
                self._drop(session)
        raise ConflictError(
            f"{self._path} is being replaced again and again", provider=self.type_name, hint="try again"
        )

    def _open(self) -> Session | None:
        from strongroom_file import files
        from strongroom_file.session import Session

        with self._opening:
            if self._session is None:
                found = files.check_store(self._path)
                if found is None:
                    if self._highest:
                        raise TamperedError(
                            f"the store {self._path} is gone",
                            provider=self.type_name,
                            hint="restore a backup",
                        )
                    return None
                files.check_local(self._path, found.st_dev)
                self._session = Session(self._path, self._timeout, self._source, self._highest)
            return self._session

    def _create(self) -> None:
        from strongroom_file.creation import create_store, prepare_folder

        prepare_folder(self._path)
        create_store(self._path, self._source.create(), self._timeout)

    def _drop(self, session: Session) -> None:
        with self._opening:
            if self._session is session:
                self._session = None
        session.close()

    def _abandon(self) -> list[object]:
        """Forget the parent's connections and locks, after a fork; return them, for they must not be closed."""
        session, self._session = self._session, None
        self._opening = threading.Lock()
        return session.abandon() if session is not None else []


def _encoded(key: str, value: str) -> bytes:
    data = check_value(value, key).encode()
    if len(data) > MAX_VALUE_BYTES:
        raise SecretTooLargeError(
            key, f"the value for {show_key(key)} is longer than {MAX_VALUE_BYTES} bytes", provider="file"
        )
    return data


def _not_found(key: str) -> SecretNotFoundError:
    return SecretNotFoundError(key, provider=FileSecretProvider.type_name)


def _missing(key: str) -> Any:
    raise _not_found(key)


@contextmanager
def _about(key: str | None) -> Iterator[None]:
    """Let errors about the store's state name the key that was asked for."""
    try:
        yield
    except (DecryptionError, SecretTooLargeError) as error:
        if key is not None and not error.key:
            error.key = key
        raise


def _get(view: View, key: str) -> str:
    value = _find(view, key)
    if value is None:
        raise _not_found(key)
    return value


def _find(view: View, key: str) -> str | None:
    from strongroom_file.sealing import VALUE

    name = key.encode()
    entry = view.entry(name)
    if entry is None or not entry.value:
        return None
    value = view.value(name, entry.value, entry.tag)
    view.state.remember(key, (entry.value, entry.tag, view.sealer.bound(VALUE, entry.value, name)))
    return value


def _list(view: View, prefix: bytes) -> list[str]:
    from strongroom_file.layout import ENTRY

    found: list[str] = []
    for leaf in view.leaves(prefix):
        names = b"\0".join(leaf.names).decode().split("\0") if leaf.names else []
        start = prefix.decode()
        for name, entry in zip(names, ENTRY.iter_unpack(leaf.items), strict=True):
            if entry[1] and name.startswith(start) and not is_reserved(name):
                found.append(name)
    return found


def _versions(view: View, key: str) -> list[SecretVersion]:
    from strongroom_file import history
    from strongroom_file.change import read_history
    from strongroom_file.layout import STATES, StoredVersion, version_id

    name = key.encode()
    entry = view.entry(name)
    if entry is None:
        raise _not_found(key)
    kept = history.versions(read_history(view, name, entry))
    states: dict[int, VersionState] = {version.value: STATES[version.state] for version in kept}
    if entry.value:
        kept.append(StoredVersion(entry.epoch, entry.value, entry.tag, entry.made, 0))
        states[entry.value] = "current"
    return [
        SecretVersion(version_id(version.epoch, version.value), _time(version.made), states[version.value])
        for version in sorted(kept, key=lambda version: version.value, reverse=True)
    ]


_providers: weakref.WeakSet[FileSecretProvider] = weakref.WeakSet()


def _after_fork() -> None:
    """In a child: never close what the parent has open, for SQLite's locks are the parent's."""
    held = [connection for provider in _providers for connection in provider._abandon()]  # noqa: SLF001  # same module
    if held:
        import ctypes

        for connection in held:  # not even when the interpreter ends
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


os.register_at_fork(after_in_child=_after_fork)
